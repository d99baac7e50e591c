//! What a look at the streams and durables says.

use std::time::Duration;

use jiff::Timestamp;

use super::Pause;
use crate::KeyNamespace;

/// One of the streams that have had this name, identified by its time of creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incarnation {
    pub stream: String,
    pub created: Timestamp,
}

impl std::fmt::Display for Incarnation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}", self.stream, self.created)
    }
}

/// How far a stream is, and how full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamState {
    pub incarnation: Incarnation,
    /// The broker's clock at about the time of the answer.
    pub server_time: Timestamp,
    /// Of the last message that was stored, 0 before the first.
    pub last_sequence: u64,
    pub bytes: u64,
    /// The size at which it refuses further messages; `None` if it has no limit.
    pub max_bytes: Option<u64>,
}

impl StreamState {
    /// Whether an operator should make room now: at 80 % of the limit or above.
    pub fn is_nearly_full(&self) -> bool {
        self.max_bytes.is_some_and(|limit| self.bytes / 4 >= limit / 5)
    }
}

/// How far a durable is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DurableState {
    /// Messages of its subjects that it has not delivered yet.
    pub pending: u64,
    /// Messages that it has delivered and that no worker has settled.
    pub in_hand: u64,
    /// Most of these, `max_ack_pending`; then it delivers no more.
    pub most_in_hand: u64,
    /// How many of these were delivered more than once.
    pub redelivered: u64,
    /// Pulls that wait for a message.
    pub pulls: u64,
    /// Sequence of the last message that it has delivered; it delivers none before that again,
    /// unless no worker has settled it.
    pub delivered: u64,
    /// Every message of its subjects up to this sequence is settled.
    pub settled: u64,
    /// How long it leaves a message in the hands of a replica that says nothing; then it delivers
    /// it again.
    pub ack_wait: Duration,
    pub pause: Pause,
}

/// What a look at the streams and durables found.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// The broker's clock at about the time of the answer.
    pub server_time: Timestamp,
    /// Of every permanent stream the worker relies on; the flow's comes first.
    pub incarnations: Vec<Incarnation>,
    /// Of the idempotency keys of the flow's log; `None` if the log has lost it.
    pub keys: Option<KeyNamespace>,
    /// The shortest one among the worker's durables: the broker delivers a message again that has
    /// been in hand for longer.
    pub ack_wait: Duration,
    /// One sentence per setting that is not what the flow demands.
    pub drift: Vec<String>,
    /// The same for the buckets, and one for a bucket that cannot be inspected. Warn of it; the
    /// worker goes on, because without its bucket a breaker only decides alone.
    pub bucket_drift: Vec<String>,
}
