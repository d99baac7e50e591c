//! How a process reaches NATS, and how it learns that it no longer does.
//!
//! The client reconnects by itself, and never gives up. It cannot recover from the death of its own
//! task; the event callback is dropped with that task, and that is how we notice.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::{ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use tokio::sync::watch;

use super::NatsBroker;
use super::publish::Publisher;

/// Wait between two attempts to reconnect; the client's own default would double up to 4 s.
const RECONNECT_WAIT_MS: std::ops::RangeInclusive<u64> = 50..=500;

/// The client gives a silent connection up after three of these, so that a black hole costs
/// seconds.
const PING_INTERVAL: Duration = Duration::from_secs(3);

/// How to reach NATS, with at most one of the ways to authenticate.
#[derive(Clone, Default)]
pub struct NatsOptions {
    /// At least one: `nats://host:4222`, `tls://…`, or `host:port`.
    pub urls: Vec<String>,
    /// A `.creds` file (JWT and seed).
    pub credentials: Option<PathBuf>,
    /// An nkey seed: `SU…`.
    pub nkey: Option<String>,
    pub user: Option<String>,
    pub password: Option<String>,
    pub token: Option<String>,
    /// A PEM file with further root certificates.
    pub root_certificates: Option<PathBuf>,
    /// The prefix of subjects at which answers arrive: `_INBOX`, unless permissions demand another.
    pub inbox_prefix: Option<String>,
    /// The connection's name in the server's listings.
    pub name: Option<String>,
}

impl fmt::Debug for NatsOptions {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsOptions")
            .field("urls", &shown(&self.urls))
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("no NATS server is named; expected a URL such as nats://127.0.0.1:4222")]
    NoUrl,
    #[error("{url:?} is not the URL of a NATS server: expected nats://host:port")]
    BadUrl { url: String },
    #[error("the NATS credentials cannot be read from {}", path.display())]
    Credentials { path: PathBuf, source: std::io::Error },
    #[error("cannot connect to NATS at {urls}: {reason}")]
    Unreachable { urls: String, reason: String },
}

/// Connects once; afterwards the client reconnects by itself.
///
/// # Errors
/// When no server is named or reached, or when it refuses us.
pub async fn connect(options: &NatsOptions) -> Result<NatsBroker, ConnectError> {
    let addresses = addresses(&options.urls)?;
    let (disconnects, _) = watch::channel(0);
    let disconnects = Arc::new(disconnects);
    let (living, alive) = watch::channel(());
    let seen = Arc::clone(&disconnects);
    // The mutex only makes the sender shareable; it is never locked.
    let living = Arc::new(Mutex::new(living));
    let client = settings(options)
        .await?
        .event_callback(move |event| {
            let _kept_as_long_as_the_client = &living;
            log(&event);
            if event == Event::Disconnected {
                seen.send_modify(|count| *count += 1);
            }
            std::future::ready(())
        })
        .connect(addresses)
        .await
        .map_err(|error| ConnectError::Unreachable {
            urls: shown(&options.urls),
            reason: reason(&error),
        })?;
    Ok(NatsBroker { client, disconnects, alive, publisher: Arc::new(Publisher::new()) })
}

fn addresses(urls: &[String]) -> Result<Vec<ServerAddr>, ConnectError> {
    if urls.is_empty() {
        return Err(ConnectError::NoUrl);
    }
    let parse = |url: &String| {
        url.trim().parse().map_err(|_| ConnectError::BadUrl { url: without_secrets(url) })
    };
    urls.iter().map(parse).collect()
}

fn shown(urls: &[String]) -> String {
    let urls: Vec<_> = urls.iter().map(|url| without_secrets(url)).collect();
    urls.join(", ")
}

/// Hides the password that a URL may carry, because it must not reach a log.
fn without_secrets(url: &str) -> String {
    let start = url.find("://").map_or(0, |scheme| scheme + 3);
    match url.rfind('@') {
        Some(at) if start <= at => format!("{}…{}", &url[..start], &url[at..]),
        Some(_) | None => url.to_owned(),
    }
}

async fn settings(options: &NatsOptions) -> Result<ConnectOptions, ConnectError> {
    let mut settings =
        ConnectOptions::new().ping_interval(PING_INTERVAL).reconnect_delay_callback(|attempt| {
            if attempt <= 1 {
                Duration::ZERO
            } else {
                Duration::from_millis(fastrand::u64(RECONNECT_WAIT_MS))
            }
        });
    if let Some(path) = &options.credentials {
        settings = settings
            .credentials_file(path)
            .await
            .map_err(|source| ConnectError::Credentials { path: path.clone(), source })?;
    }
    if let Some(seed) = &options.nkey {
        settings = settings.nkey(seed.clone());
    }
    if let Some(user) = &options.user {
        let password = options.password.clone().unwrap_or_default();
        settings = settings.user_and_password(user.clone(), password);
    }
    if let Some(token) = &options.token {
        settings = settings.token(token.clone());
    }
    if let Some(path) = &options.root_certificates {
        settings = settings.add_root_certificates(path.clone());
    }
    if let Some(prefix) = &options.inbox_prefix {
        settings = settings.custom_inbox_prefix(prefix);
    }
    if let Some(name) = &options.name {
        settings = settings.name(name);
    }
    Ok(settings)
}

fn reason(error: &async_nats::ConnectError) -> String {
    let hint = match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            " (are the credentials right?)"
        }
        ConnectErrorKind::ServerParse
        | ConnectErrorKind::Dns
        | ConnectErrorKind::TimedOut
        | ConnectErrorKind::Tls
        | ConnectErrorKind::Io
        | ConnectErrorKind::MaxReconnects => "",
    };
    format!("{error}{hint}")
}

/// A denied publish has no other answer than such an event, so a refusal is logged as an error.
fn log(event: &Event) {
    match event {
        Event::Connected => tracing::info!("connected to NATS"),
        Event::Disconnected => tracing::warn!("lost the connection to NATS; reconnecting"),
        Event::LameDuckMode => tracing::warn!("the NATS server is about to stop"),
        Event::ServerError(error) => tracing::error!(%error, "the NATS server refuses something"),
        Event::ClientError(error) => tracing::warn!(%error, "the NATS client has a problem"),
        Event::SlowConsumer(subscription) => {
            tracing::warn!(subscription, "messages come faster than they are read");
        }
        Event::Draining | Event::Closed => tracing::info!(%event, "the NATS connection ends"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_url_is_named_without_its_password() {
        for (url, shown) in
            [("nats://me:secret@:::/", "nats://…@:::/"), ("me:secret@:::/", "…@:::/")]
        {
            let message = addresses(&[url.to_owned()]).unwrap_err().to_string();
            assert!(message.contains(shown) && !message.contains("secret"), "{message}");
        }
    }

    #[tokio::test]
    async fn nobody_listening_is_said_with_the_url() {
        let options =
            NatsOptions { urls: vec!["nats://me:secret@127.0.0.1:1".into()], ..Default::default() };
        let message = connect(&options).await.unwrap_err().to_string();
        let start = "cannot connect to NATS at nats://…@127.0.0.1:1: ";
        assert!(message.starts_with(start), "{message}");
        assert!(!format!("{options:?}").contains("secret"));
    }
}
