//! The faults drawn for one request. `faults` draws them, `settings` names the error among them,
//! and `exchange` applies them.

use std::time::Duration;

use tokio::sync::watch;

use crate::decision::Slowly;

/// The faults of one request: at most one disturbance; the rest may come together.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) disturbance: Disturbance,
    pub(crate) latency: Duration,
    /// The client gets 504, and the effect happens this much later.
    pub(crate) commit_late: Option<Duration>,
    pub(crate) drop_reply: bool,
    pub(crate) slowly: Slowly,
}

/// A fault that comes before the execution.
#[derive(Debug, Default)]
pub(crate) enum Disturbance {
    #[default]
    None,
    /// Waits for a change of the watched value, then goes on as if nothing had happened. Once the
    /// value is gone, the connection closes.
    Hang(watch::Receiver<()>),
    DropBefore,
    Overload {
        retry_after_s: u64,
    },
    KeyInUse,
    Error {
        status: u16,
    },
    /// A proxy answers, in HTML.
    Page {
        status: u16,
    },
    /// The error becomes the answer of the key, so nothing is executed.
    SaveError {
        status: u16,
    },
}
