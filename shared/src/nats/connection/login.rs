//! What the client is given to log in with, and to trust the server.

use std::path::Path;

use async_nats::ConnectOptions;

use super::ConnectError;
use super::address::Login;
use super::options::NatsOptions;

pub(super) fn with_login(
    settings: ConnectOptions,
    options: &NatsOptions,
    of_url: Option<Login>,
) -> Result<ConnectOptions, ConnectError> {
    let mut settings = settings;
    if of_url.is_some() && options.names_a_login() {
        return Err(ConnectError::LoginTwice);
    }
    match of_url {
        Some(Login::User { name, password }) => {
            settings = settings.user_and_password(name, password)
        }
        Some(Login::Token(token)) => settings = settings.token(token),
        None => {}
    }
    if let Some(given) = &options.credentials {
        let text = given.read("credentials")?;
        // The client's own error may show a part of the text.
        let taken = settings.credentials(&text).map_err(|_| ConnectError::Lacks {
            what: "credentials",
            path: given.file().map(Path::to_owned),
            form: "JWT and seed",
        });
        settings = taken?;
    }
    if let Some(given) = &options.nkey {
        let text = given.read("nkey")?;
        let seed = text.lines().map(str::trim).find(|line| line.starts_with("SU"));
        let seed = seed.ok_or_else(|| ConnectError::Lacks {
            what: "nkey",
            path: given.file().map(Path::to_owned),
            form: "user seed (SU…)",
        })?;
        settings = settings.nkey(seed.to_owned());
    }
    match (&options.user, &options.password) {
        (None, Some(_)) => return Err(ConnectError::NoUser),
        (None, None) => {}
        (Some(user), given) => {
            let password = given.as_ref().map(|given| given.read("password")).transpose()?;
            settings = settings.user_and_password(user.clone(), password.unwrap_or_default());
        }
    }
    if let Some(given) = &options.token {
        settings = settings.token(given.read("token")?);
    }
    Ok(settings)
}

/// Asks for TLS where certificates are named, even if the server would do without.
pub(super) fn with_tls(
    settings: ConnectOptions,
    options: &NatsOptions,
) -> Result<ConnectOptions, ConnectError> {
    let mut settings = settings;
    if let Some(path) = &options.root_certificates {
        readable("CA certificate", path)?;
        settings = settings.add_root_certificates(path.clone()).require_tls(true);
    }
    match (&options.certificate, &options.key) {
        (None, None) => {}
        (Some(certificate), Some(key)) => {
            readable("client certificate", certificate)?;
            readable("client key", key)?;
            settings =
                settings.add_client_certificate(certificate.clone(), key.clone()).require_tls(true);
        }
        (Some(_), None) | (None, Some(_)) => return Err(ConnectError::HalfACertificate),
    }
    if options.tls_first {
        settings = settings.tls_first();
    }
    Ok(settings)
}

/// The client reads these files only once the server asks for TLS.
fn readable(what: &'static str, path: &Path) -> Result<(), ConnectError> {
    let opened = std::fs::File::open(path);
    opened.map(drop).map_err(|source| ConnectError::Unreadable {
        what,
        path: path.to_owned(),
        source,
    })
}
