//! Saved contexts of the `nats` command, so that its users need no second file of credentials.
//!
//! A setting that changes which broker a command talks to, and that it cannot honour, is an error:
//! it is never ignored.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use quadrille::nats::NatsOptions;
use serde::Deserialize;

/// `~/.config/nats/context/NAME.json`; empty texts mean "not set".
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Saved {
    url: String,
    token: String,
    user: String,
    password: String,
    creds: String,
    nkey: String,
    ca: String,
    inbox_prefix: String,
    cert: String,
    key: String,
    nsc: String,
    user_jwt: String,
    user_seed: String,
    socks_proxy: String,
    jetstream_domain: String,
    jetstream_api_prefix: String,
}

/// Reads the context `name` from below `config_home`, or `~/.config`.
pub(super) fn read(name: &str, config_home: Option<&Path>) -> anyhow::Result<NatsOptions> {
    if name.contains(['/', '\\']) || name.starts_with('.') {
        bail!("{name:?} cannot be the name of a context; `nats context ls` lists them");
    }
    let home = || std::env::home_dir().map(|home| home.join(".config"));
    let folder =
        config_home.map(Path::to_owned).or_else(home).context("there is no home folder")?;
    let path = folder.join("nats/context").join(format!("{name}.json"));
    let text = std::fs::read(&path).with_context(|| {
        format!("there is no context {name} at {}; `nats context ls` lists them", path.display())
    })?;
    let saved = serde_json::from_slice(&text)
        .with_context(|| format!("{} is not a context of the nats command", path.display()))?;
    options(saved).with_context(|| format!("the context {name} cannot be used"))
}

fn options(saved: Saved) -> anyhow::Result<NatsOptions> {
    let unsupported = [
        ("cert", &saved.cert),
        ("key", &saved.key),
        ("nsc", &saved.nsc),
        ("user_jwt", &saved.user_jwt),
        ("user_seed", &saved.user_seed),
        ("socks_proxy", &saved.socks_proxy),
        ("jetstream_domain", &saved.jetstream_domain),
        ("jetstream_api_prefix", &saved.jetstream_api_prefix),
    ];
    if let Some((key, _)) = unsupported.iter().find(|(_, value)| !value.is_empty()) {
        bail!("it sets {key}, which this command does not support; use --nats and --creds instead");
    }
    let given = |text: String| (!text.is_empty()).then_some(text);
    let path = |text: String| given(text).map(|text| expand(&text));
    let nkey = path(saved.nkey).map(|path| seed(&path)).transpose()?;
    let url = given(saved.url).unwrap_or_else(|| super::LOCAL.to_owned());
    Ok(NatsOptions {
        urls: url.split(',').map(|url| url.trim().to_owned()).collect(),
        credentials: path(saved.creds),
        nkey,
        user: given(saved.user),
        password: given(saved.password),
        token: given(saved.token),
        root_certificates: path(saved.ca),
        inbox_prefix: given(saved.inbox_prefix),
        name: None,
    })
}

fn expand(text: &str) -> PathBuf {
    match (text.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(text),
    }
}

/// The seed in an nkey file, which may hold comments and headings around it.
fn seed(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("the nkey cannot be read from {}", path.display()))?;
    let seed = text.lines().map(str::trim).find(|line| line.starts_with("SU"));
    seed.map(str::to_owned).with_context(|| format!("{} holds no user seed", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> anyhow::Result<NatsOptions> {
        options(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn a_context_names_servers_and_a_login() {
        let options = parse(
            r#"{"description":"x","url":"nats://a:1, nats://b:2","user":"me","password":"",
                "token":"","creds":"/c.creds","color_scheme":""}"#,
        )
        .unwrap();
        assert_eq!(options.urls, ["nats://a:1", "nats://b:2"]);
        assert_eq!(options.credentials, Some(PathBuf::from("/c.creds")));
        assert_eq!((options.user.as_deref(), options.password), (Some("me"), None));
    }

    #[test]
    fn a_setting_that_cannot_be_honoured_is_named() {
        let error = parse(r#"{"url":"nats://a:1","jetstream_domain":"hub"}"#).unwrap_err();
        assert!(error.to_string().contains("jetstream_domain"), "{error}");
    }
}
