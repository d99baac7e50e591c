//! The error of a call that never left this machine, which costs its message no attempt.

use super::BoxedError;

/// Nothing was sent to an outside service, so nothing can have happened there: the name was not
/// found, the connection was refused, TLS failed, or no time was left. An adapter puts it into the
/// chain of its error's sources.
#[derive(Debug, thiserror::Error)]
#[error("nothing was sent to {host}")]
pub struct NotSent {
    /// Host and port, as far as they are known.
    host: String,
    #[source]
    cause: BoxedError,
}

impl NotSent {
    /// `host` is that of the service: `payments.example:443`.
    pub fn new(host: impl Into<String>, cause: impl Into<BoxedError>) -> Self {
        Self { host: host.into(), cause: cause.into() }
    }
}
