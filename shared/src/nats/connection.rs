//! How a process reaches NATS, and how it learns that it no longer does.
//!
//! The client reconnects by itself, and never gives up. It cannot recover from the death of its own
//! task; the event callback is dropped with that task, and that is how we notice.

mod options;

mod address;
mod login;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::{ConnectErrorKind, ConnectOptions, Event};
use tokio::sync::watch;

use super::NatsBroker;
use super::publish::Publisher;
use address::{Login, addresses};
use login::{with_login, with_tls};

pub use options::{Given, NatsOptions};

/// Wait between two attempts to reconnect; the client's own default would double up to 4 s.
const RECONNECT_WAIT_MS: std::ops::RangeInclusive<u64> = 50..=500;

/// The client gives a silent connection up after three of these, so that a black hole costs
/// seconds.
const PING_INTERVAL: Duration = Duration::from_secs(3);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("no NATS server is named; expected a URL such as nats://127.0.0.1:4222")]
    NoUrl,
    #[error("{url:?} is not the URL of a NATS server: expected nats://host:port{hint}")]
    BadUrl { url: String, hint: &'static str },
    #[error("the URLs name different logins; servers of one cluster share one")]
    TwoLogins,
    #[error("the URL names a login, and the settings name another: keep one of them")]
    LoginTwice,
    #[error("a password is given, but no user")]
    NoUser,
    #[error("a client certificate needs its key, and the key its certificate: give both")]
    HalfACertificate,
    #[error("the {what} cannot be read from {}", path.display())]
    Unreadable { what: &'static str, path: PathBuf, source: std::io::Error },
    #[error("no {form} in the {what}{}", of_file(path.as_deref()))]
    Lacks { what: &'static str, path: Option<PathBuf>, form: &'static str },
    #[error("cannot connect to NATS at {urls}: {reason}")]
    Unreachable { urls: String, reason: String },
}

/// Connects once; afterwards the client reconnects by itself.
///
/// # Errors
/// When no server is named or reached, or when it refuses us.
pub async fn connect(options: &NatsOptions) -> Result<NatsBroker, ConnectError> {
    let (addresses, login) = addresses(&options.urls)?;
    let logs_in = login.is_some() || options.names_a_login();
    let (disconnects, _) = watch::channel(0);
    let disconnects = Arc::new(disconnects);
    let (living, alive) = watch::channel(());
    let seen = Arc::clone(&disconnects);
    // The mutex only makes the sender shareable; it is never locked.
    let living = Arc::new(Mutex::new(living));
    let client = settings(options, login)?
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
            urls: options.shown(),
            reason: reason(&error, logs_in, options.tls_first),
        })?;
    let (names, publisher) = (options.names.clone(), Arc::new(Publisher::new()));
    Ok(NatsBroker { client, names, disconnects, alive, publisher })
}

fn settings(options: &NatsOptions, login: Option<Login>) -> Result<ConnectOptions, ConnectError> {
    let mut settings =
        ConnectOptions::new().ping_interval(PING_INTERVAL).reconnect_delay_callback(|attempt| {
            if attempt <= 1 {
                Duration::ZERO
            } else {
                Duration::from_millis(fastrand::u64(RECONNECT_WAIT_MS))
            }
        });
    settings = with_login(settings, options, login)?;
    settings = with_tls(settings, options)?;
    if let Some(prefix) = &options.inbox_prefix {
        settings = settings.custom_inbox_prefix(prefix);
    }
    if let Some(name) = &options.name {
        settings = settings.name(name);
    }
    Ok(settings)
}

fn of_file(path: Option<&Path>) -> String {
    path.map_or_else(String::new, |path| format!(" of {}", path.display()))
}

fn reason(error: &async_nats::ConnectError, logs_in: bool, tls_first: bool) -> String {
    let text = error.to_string();
    let hint = match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication if logs_in => {
            " (are the credentials right?)"
        }
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            " (no login was given)"
        }
        ConnectErrorKind::Tls | ConnectErrorKind::Io if tls_first => {
            " (does the server expect TLS first, and is its CA trusted?)"
        }
        ConnectErrorKind::Io if text.contains("expected INFO") => {
            " (does the server expect TLS first?)"
        }
        ConnectErrorKind::Tls | ConnectErrorKind::Io if text.contains("ertificate") => {
            " (a private CA must be named)"
        }
        ConnectErrorKind::ServerParse
        | ConnectErrorKind::Dns
        | ConnectErrorKind::TimedOut
        | ConnectErrorKind::Tls
        | ConnectErrorKind::Io
        | ConnectErrorKind::MaxReconnects => "",
    };
    format!("{text}{hint}")
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
