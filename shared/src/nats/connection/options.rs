//! How to reach NATS and what to log in with, as its callers name it. What is secret is in no
//! `Debug` output, and in no error.

use std::fmt;
use std::path::{Path, PathBuf};

use super::ConnectError;
use super::address::shown;
use crate::nats::Names;

/// How to reach NATS, with at most one of the ways to log in: that of the URL, or a user, a token,
/// credentials or an nkey.
#[derive(Clone, Default)]
pub struct NatsOptions {
    /// At least one: `nats://host:4222`, `tls://…`, or `host:port`; with a login, percent-encoded,
    /// `nats://user:password@host` or `nats://token@host`.
    pub urls: Vec<String>,
    /// A `.creds` file (JWT and seed).
    pub credentials: Option<Given>,
    /// An nkey seed, `SU…`, or a file that holds one among comments.
    pub nkey: Option<Given>,
    pub user: Option<String>,
    pub password: Option<Given>,
    pub token: Option<Given>,
    /// A PEM file with the root certificates to trust instead of this machine's.
    pub root_certificates: Option<PathBuf>,
    /// A PEM file with the client's certificate, and one with its key.
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// The server expects TLS from the first byte on (`handshake_first`).
    pub tls_first: bool,
    /// The prefix of subjects at which answers arrive: `_INBOX`, unless permissions demand another.
    pub inbox_prefix: Option<String>,
    /// What the flow's streams and subjects are called on this broker.
    pub names: Names,
    /// The connection's name in the server's listings.
    pub name: Option<String>,
}

/// A secret, or the file that holds it.
#[derive(Clone)]
pub enum Given {
    Text(String),
    /// White space at its end does not count.
    File(PathBuf),
}

impl NatsOptions {
    /// The URLs as they may be shown: without a login.
    pub fn shown(&self) -> String {
        shown(&self.urls)
    }

    /// Whether any way to log in is named beside the URLs.
    pub fn names_a_login(&self) -> bool {
        self.user.is_some()
            || [&self.credentials, &self.nkey, &self.password, &self.token]
                .iter()
                .any(|given| given.is_some())
    }
}

impl Given {
    /// # Errors
    /// When the file cannot be read; `what` says which it was.
    pub(super) fn read(&self, what: &'static str) -> Result<String, ConnectError> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::File(path) => {
                let unreadable =
                    |source| ConnectError::Unreadable { what, path: path.clone(), source };
                let text = std::fs::read_to_string(path).map_err(unreadable)?;
                Ok(text.trim_end().to_owned())
            }
        }
    }

    /// The file that holds it, if it is in one.
    pub(super) fn file(&self) -> Option<&Path> {
        match self {
            Self::Text(_) => None,
            Self::File(path) => Some(path),
        }
    }
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.file() {
            Some(path) => write!(f, "{path:?}"),
            None => f.write_str("[redacted]"),
        }
    }
}

impl fmt::Debug for NatsOptions {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsOptions")
            .field("urls", &self.shown())
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
