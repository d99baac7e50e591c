//! Saved contexts of the `nats` command, so that its users need no second file of credentials.
//!
//! A setting that changes which broker a command talks to, and that it cannot honour, is an error:
//! it is never ignored.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quadrille::nats::{Given, NatsOptions};
use serde::Deserialize;

/// `~/.config/nats/context/NAME.json`; empty texts mean "not set".
#[derive(Default, Deserialize)]
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
    tls_first: bool,
    user_jwt: String,
    user_seed: String,
    nsc: String,
    socks_proxy: String,
    jetstream_domain: String,
    jetstream_api_prefix: String,
    windows_cert_store: String,
    windows_cert_match: String,
    windows_ca_certs_match: Vec<String>,
}

/// The context that the `nats` command uses when none is named.
pub(super) fn selected(config_home: Option<&Path>) -> Option<String> {
    let text = std::fs::read_to_string(folder(config_home)?.join("nats/context.txt")).ok()?;
    let name = text.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

fn folder(config_home: Option<&Path>) -> Option<PathBuf> {
    let home = || std::env::home_dir().map(|home| home.join(".config"));
    config_home.map(Path::to_owned).or_else(home)
}

/// Reads the context `name` from below `config_home`, or `~/.config`.
pub(super) fn read(name: &str, config_home: Option<&Path>) -> anyhow::Result<NatsOptions> {
    if name.contains(['/', '\\']) || name.starts_with('.') {
        bail!("{name:?} cannot be the name of a context; `nats context ls` lists them");
    }
    let folder = folder(config_home).context("there is no home folder")?;
    let path = folder.join("nats/context").join(format!("{name}.json"));
    let text = std::fs::read(&path).with_context(|| {
        format!("there is no context {name} at {}; `nats context ls` lists them", path.display())
    })?;
    // The parser's own error may show a value.
    let saved = serde_json::from_slice(&text)
        .map_err(|_| anyhow!("{} is not a context of the nats command", path.display()))?;
    options(saved).with_context(|| format!("the context {name} cannot be used"))
}

fn options(saved: Saved) -> anyhow::Result<NatsOptions> {
    let windows = saved.windows_ca_certs_match.join("");
    let unsupported = [
        ("nsc", &saved.nsc),
        ("socks_proxy", &saved.socks_proxy),
        ("jetstream_domain", &saved.jetstream_domain),
        ("jetstream_api_prefix", &saved.jetstream_api_prefix),
        ("windows_cert_store", &saved.windows_cert_store),
        ("windows_cert_match", &saved.windows_cert_match),
        ("windows_ca_certs_match", &windows),
    ];
    if let Some((key, _)) = unsupported.iter().find(|(_, value)| !value.is_empty()) {
        bail!("it sets {key}, which this command does not support; use --nats and --creds instead");
    }
    let given = |text: String| (!text.is_empty()).then_some(text);
    let url = given(saved.url).unwrap_or_else(|| super::LOCAL.to_owned());
    let jwt = saved_text("user_jwt", &saved.user_jwt)?;
    let seed = saved_text("user_seed", &saved.user_seed)?;
    let credentials = match (saved_file("creds", &saved.creds)?, jwt, seed) {
        (None, Some(jwt), Some(seed)) => Some(Given::Text(credentials(&jwt, &seed))),
        (None, Some(_), None) => {
            bail!("it sets user_jwt without user_seed, which is not supported")
        }
        (creds, _, _) => creds,
    };
    Ok(NatsOptions {
        urls: url.split(',').map(|url| url.trim().to_owned()).collect(),
        credentials,
        nkey: saved_file("nkey", &saved.nkey)?,
        user: given(saved.user),
        password: saved_text("password", &saved.password)?.map(Given::Text),
        token: saved_text("token", &saved.token)?.map(Given::Text),
        root_certificates: saved_path("ca", &saved.ca)?,
        certificate: saved_path("cert", &saved.cert)?,
        key: saved_path("key", &saved.key)?,
        tls_first: saved.tls_first,
        inbox_prefix: given(saved.inbox_prefix),
        ..NatsOptions::default()
    })
}

/// What a saved text refers to.
enum Refers<'s> {
    Nothing,
    /// The text itself, or a path, as the field has it.
    Plain(&'s str),
    Path(&'s str),
    Variable(&'s str),
    /// Encoded within the text.
    Within(&'s str),
}

/// Schemes as in today's `nats`: `file://`, `env://NAME` and `data:;base64,…`. The text itself is
/// in no error, because it may hold the secret.
fn refers<'s>(field: &str, text: &'s str) -> anyhow::Result<Refers<'s>> {
    let is_scheme = |scheme: &&str| {
        scheme.len() >= 2
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
    };
    let scheme = text.split_once(':').map(|(scheme, _)| scheme).filter(is_scheme);
    let rest = |scheme: &str| text[scheme.len() + 1..].trim_start_matches("//");
    Ok(match scheme.map(|scheme| (scheme, scheme.to_ascii_lowercase())) {
        None if text.is_empty() => Refers::Nothing,
        None => Refers::Plain(text),
        Some((scheme, lower)) => match lower.as_str() {
            "file" => Refers::Path(rest(scheme)),
            "env" => Refers::Variable(rest(scheme)),
            "data" => Refers::Within(&text[scheme.len() + 1..]),
            "op" | "nsc" | "vault" => bail!("its {field} is in {lower}://, which is not supported"),
            _ if text[scheme.len()..].starts_with("://") => {
                bail!("its {field} has a scheme that is not supported: {lower}://")
            }
            _ => Refers::Plain(text),
        },
    })
}

/// A secret that is there itself, if it does not refer to another place.
fn saved_text(field: &str, text: &str) -> anyhow::Result<Option<String>> {
    Ok(match refers(field, text)? {
        Refers::Nothing => None,
        Refers::Plain(text) => Some(text.to_owned()),
        Refers::Path(path) => {
            let path = expand(path);
            let text = std::fs::read_to_string(&path);
            let text = text.with_context(|| format!("its {field}: {}", path.display()))?;
            Some(text.trim_end().to_owned())
        }
        Refers::Variable(name) => Some(variable(field, name)?),
        Refers::Within(data) => Some(decoded(field, data)?),
    })
}

/// A secret in a file, if it does not refer to another place.
fn saved_file(field: &str, text: &str) -> anyhow::Result<Option<Given>> {
    Ok(match refers(field, text)? {
        Refers::Nothing => None,
        Refers::Plain(path) | Refers::Path(path) => Some(Given::File(expand(path))),
        Refers::Variable(name) => Some(Given::Text(variable(field, name)?)),
        Refers::Within(data) => Some(Given::Text(decoded(field, data)?)),
    })
}

/// A certificate, which is only ever in a file.
fn saved_path(field: &str, text: &str) -> anyhow::Result<Option<PathBuf>> {
    match refers(field, text)? {
        Refers::Nothing => Ok(None),
        Refers::Plain(path) | Refers::Path(path) => Ok(Some(expand(path))),
        Refers::Variable(_) | Refers::Within(_) => bail!("its {field} must be the path of a file"),
    }
}

#[expect(clippy::disallowed_methods, reason = "the context names the variable")]
fn variable(field: &str, name: &str) -> anyhow::Result<String> {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty());
    value.with_context(|| format!("its {field} is in the variable {name}, which is not set"))
}

fn decoded(field: &str, data: &str) -> anyhow::Result<String> {
    let wrong = || anyhow!("its {field} is embedded, but not as data:;base64,…");
    let (header, payload) = data.split_once(',').ok_or_else(wrong)?;
    if !header.split(';').any(|part| part.trim() == "base64") {
        return Err(wrong());
    }
    let bytes = STANDARD.decode(payload.trim()).map_err(|_| wrong())?;
    String::from_utf8(bytes).map_err(|_| wrong())
}

/// In the form of a `.creds` file.
fn credentials(jwt: &str, seed: &str) -> String {
    format!(
        "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\
         -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
        jwt.trim(),
        seed.trim()
    )
}

pub(super) fn expand(text: &str) -> PathBuf {
    match (text.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(text),
    }
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
        assert!(
            matches!(options.credentials, Some(Given::File(path)) if path == Path::new("/c.creds"))
        );
        assert_eq!(options.user.as_deref(), Some("me"));
        assert!(options.password.is_none());
    }

    #[test]
    fn what_is_embedded_is_used_and_never_shown() {
        let options = parse(
            r#"{"creds":"data:application/octet-stream;base64,czNjcjN0","token":"env://PATH",
                "tls_first":true,"user_jwt":"","password":"not:a:scheme"}"#,
        )
        .unwrap();
        let text = |given: Option<Given>| match given {
            Some(Given::Text(text)) => text,
            Some(Given::File(path)) => panic!("{path:?}"),
            None => String::new(),
        };
        assert!(!format!("{options:?}").contains("s3cr3t"));
        assert!(options.tls_first);
        assert!(text(options.token).contains("bin"));
        assert_eq!(text(options.password), "not:a:scheme");
        assert_eq!(text(options.credentials), "s3cr3t");
        let options = parse(r#"{"user_jwt":"ey","user_seed":"SU"}"#).unwrap();
        assert!(text(options.credentials).contains("BEGIN USER NKEY SEED-----\nSU\n"));
    }

    #[test]
    fn a_setting_that_cannot_be_honoured_is_named_and_its_value_is_not() {
        for (saved, named) in [
            (r#"{"jetstream_domain":"s3cr3t"}"#, "jetstream_domain"),
            (r#"{"creds":"op://s3cr3t/x"}"#, "creds is in op://"),
            (r#"{"creds":"nsc://s3cr3t/x"}"#, "creds is in nsc://"),
            (r#"{"token":"other://s3cr3t/x"}"#, "token has a scheme that is not supported: other"),
            (r#"{"creds":"data:,s3cr3t"}"#, "creds is embedded, but not as"),
            (r#"{"creds":"data:;base64,s3cr3t!"}"#, "creds is embedded, but not as"),
            (r#"{"token":"env://QUADRILLE_NO_SUCH"}"#, "QUADRILLE_NO_SUCH, which is not set"),
            (r#"{"ca":"env://PATH"}"#, "ca must be the path of a file"),
            (r#"{"user_jwt":"s3cr3t"}"#, "user_jwt without user_seed"),
            (r#"{"windows_cert_store":"user"}"#, "windows_cert_store"),
        ] {
            let error = parse(saved).unwrap_err().to_string();
            assert!(error.contains(named) && !error.contains("s3cr3t"), "{error}");
        }
    }
}
