//! How a process reaches NATS, and how it learns that it no longer does.
//!
//! The client reconnects by itself, and never gives up. It cannot recover from the death of its own
//! task; the event callback is dropped with that task, and that is how we notice.
//!
//! The server stores and passes on any header bytes, and some of them end the connection of a
//! client, or its task. So what other clients wrote arrives on connections of its own ([`Reading`],
//! [`Link`]), which are opened again, and never on the one that everything depends on.

mod options;

mod address;
mod login;
mod nowhere;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event};
use tokio::sync::watch;

use super::NatsBroker;
use super::publish::Publisher;
use crate::broker::Unavailable;
use crate::telemetry::Repeats;
use address::{Login, addresses};
use login::{with_login, with_tls};

pub(crate) use nowhere::nowhere;
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
    let Link { client, alive, .. } = Link::open(options, "").await?;
    Ok(broker(client, alive, options.clone()))
}

fn broker(client: Client, alive: watch::Receiver<()>, options: NatsOptions) -> NatsBroker {
    let options = Arc::new(options);
    NatsBroker {
        client,
        names: options.names.clone(),
        alive,
        looking: Arc::new(Reading::new(options.clone(), "looks")),
        options,
        publisher: Arc::new(Publisher::new()),
    }
}

/// One connection to NATS; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) client: Client,
    /// How often the connection was lost.
    pub(super) disconnects: Arc<watch::Sender<u64>>,
    /// Its sender lives in the client's task, so it closes when that task ends, no matter how.
    pub(super) alive: watch::Receiver<()>,
}

impl Link {
    /// `purpose` tells it from the other connections of its process, in the server's listings.
    pub(super) async fn open(options: &NatsOptions, purpose: &str) -> Result<Self, ConnectError> {
        let (addresses, login) = addresses(&options.urls)?;
        let logs_in = login.is_some() || options.names_a_login();
        let (disconnects, _) = watch::channel(0);
        let disconnects = Arc::new(disconnects);
        let (living, alive) = watch::channel(());
        let seen = Arc::clone(&disconnects);
        // The mutex only makes the sender shareable; it is never locked.
        let living = Arc::new(Mutex::new(living));
        let is_main = purpose.is_empty();
        let mut settings = settings(options, login)?;
        if let (false, Some(name)) = (is_main, &options.name) {
            settings = settings.name(format!("{name} ({purpose})"));
        }
        let problems = Repeats::none();
        let client = settings
            .event_callback(move |event| {
                let _kept_as_long_as_the_client = &living;
                log(&event, is_main, &problems);
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
        Ok(Self { client, disconnects, alive })
    }

    /// Whether the client's task still runs; a link that is not alive never works again.
    pub(super) fn is_alive(&self) -> bool {
        self.alive.has_changed().is_ok()
    }

    /// Resolves once the client's task is dead.
    pub(super) async fn ended(&self) {
        let mut alive = self.alive.clone();
        while alive.changed().await.is_ok() {}
    }
}

/// A connection for what other clients wrote. A message that no client can read may end it for
/// good; then whoever needs it next opens it again.
#[derive(Debug)]
pub(super) struct Reading {
    options: Arc<NatsOptions>,
    purpose: String,
    link: tokio::sync::Mutex<Option<Link>>,
}

impl Reading {
    pub(super) fn new(options: Arc<NatsOptions>, purpose: impl Into<String>) -> Self {
        Self { options, purpose: purpose.into(), link: tokio::sync::Mutex::default() }
    }

    pub(super) async fn link(&self) -> Result<Link, Unavailable> {
        let mut link = self.link.lock().await;
        if let Some(link) = link.as_ref().filter(|link| link.is_alive()) {
            return Ok(link.clone());
        }
        let opened = Link::open(&self.options, &self.purpose).await;
        let opened = opened.map_err(|error| Unavailable(error.to_string()))?;
        Ok(link.insert(opened).clone())
    }
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

/// A denied publish has no other answer than such an event, so a refusal is logged as an error. Of
/// the connections beside the main one nothing else is said above DEBUG: an outage of the server
/// ends all of them, and what a message does to one of them is said where it is read again. A
/// server that is away is a problem several times a second.
fn log(event: &Event, is_main: bool, problems: &Repeats) {
    match event {
        Event::ServerError(error) => tracing::error!(%error, "the NATS server refuses something"),
        event if !is_main => tracing::debug!(%event, "a connection beside the main one"),
        Event::Connected => match problems.over() {
            Some(failed) => tracing::info!(failed, "connected to NATS"),
            None => tracing::info!("connected to NATS"),
        },
        Event::Disconnected => tracing::warn!("lost the connection to NATS; reconnecting"),
        Event::LameDuckMode => tracing::warn!("the NATS server is about to stop"),
        Event::ClientError(error) => {
            if let Some(times) = problems.again() {
                tracing::warn!(%error, times, "the NATS client has a problem");
            }
        }
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

    /// What was said, as bytes.
    #[derive(Clone, Default)]
    struct Said(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Said {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_server_that_is_away_is_said_ever_less_often() {
        let (said, problems) = (Said::default(), Repeats::none());
        let writer = said.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            let away = Event::ClientError(async_nats::ClientError::Other("away".to_owned()));
            (0..100).for_each(|_| log(&away, true, &problems));
            log(&Event::Connected, true, &problems);
            log(&away, true, &problems);
        });
        let said = String::from_utf8(said.0.lock().unwrap().clone()).unwrap();
        let count = |text: &str| said.matches(text).count();
        assert_eq!(
            count("has a problem"),
            8,
            "1, 2, 4 to 64, and the first one after that: {said}"
        );
        assert_eq!(count("times=64"), 1, "{said}");
        assert_eq!(count("connected to NATS failed=100"), 1, "{said}");
    }
}
