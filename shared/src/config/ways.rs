//! How a setting is given, for an operator who is told that it is missing.

use super::PREFIX;

/// The ways to set `key`, one a line, each with an example of its value.
pub(crate) fn ways(key: &str, example: &str) -> String {
    let variable = key.replacen('.', "__", 1).replace('.', "__").replace('-', "_");
    let variable = variable.to_ascii_uppercase();
    format!(
        "set it in one of these ways:\n  \
         --set {key}={example}\n  \
         {PREFIX}{variable}={example} in the environment\n  \
         {key} = \"{example}\" in the file of --config"
    )
}

#[cfg(test)]
mod tests {
    use schemas::order_fulfilment::FLOW;
    use serde::Deserialize;

    use super::super::Sources;
    use super::*;

    #[derive(Deserialize)]
    struct Own {
        url: String,
    }

    /// Each way is taken out of the text, and followed.
    #[test]
    fn each_way_that_is_told_works() {
        let text = ways("charge-customer.url", "https://host/path");
        let lines: Vec<_> = text.lines().skip(1).map(str::trim).collect();
        let flag = lines[0].strip_prefix("--set ").unwrap().to_owned();
        let (variable, value) = lines[1].split_once('=').unwrap();
        let value = value.strip_suffix(" in the environment").unwrap();
        let file =
            std::env::temp_dir().join(format!("quadrille-config-ways-{}", std::process::id()));
        std::fs::write(&file, lines[2].strip_suffix(" in the file of --config").unwrap()).unwrap();
        let none = || std::iter::empty();
        let variables = [(variable.to_owned(), value.to_owned())].into_iter();
        let all = [
            Sources::read(&FLOW, "charge-customer", None, none(), &[flag]),
            Sources::read(&FLOW, "charge-customer", None, variables, &[]),
            Sources::read(&FLOW, "charge-customer", Some(&file), none(), &[]),
        ];
        std::fs::remove_file(&file).unwrap();
        for sources in all {
            let own: Own = sources.unwrap().section("charge-customer").unwrap();
            assert_eq!(own.url, "https://host/path");
        }
    }
}
