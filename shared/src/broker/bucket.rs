//! What a decision of the whole fleet needs from the broker: keys that only one writer at a time
//! can change, readers that hear of every change, and a pause of a durable that ends by itself.
//!
//! A bucket is the broker's *key-value store*. It holds the newest entry of each key, and promises
//! less than a log: a lost bucket costs a pause, never an event.

use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use jiff::Timestamp;

use super::{Published, Unavailable, Unknown};

/// The current entry of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    /// At least 1, and higher than that of any earlier entry of the bucket.
    pub revision: u64,
    pub value: Bytes,
    /// By the broker's clock.
    pub written_at: Timestamp,
}

/// What a watch has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    Set(Entry),
    /// The key has no entry any longer: it was deleted, or its time is over. A reader may hear this
    /// of a key it never heard of before.
    Gone {
        key: String,
    },
    /// All that the bucket held when the watch began has been told. Comes exactly once.
    AllPresent,
}

/// Changes of the keys of a bucket.
pub trait Watch: Send {
    /// The next thing to tell: first the entries that exist, in the order of their revisions, then
    /// [`Seen::AllPresent`], then every change in order. Of two changes of a key that follow each
    /// other at once, only the later one may be told.
    ///
    /// Safe to cancel.
    ///
    /// # Errors
    /// When a change may have been missed: the connection was lost, or the broker has been silent
    /// for three seconds. That is the end of this watch; every further call says the same. Watch
    /// again: the new watch tells all that exists then.
    fn next(&mut self) -> BoxFuture<'_, Result<Seen, Unavailable>>;
}

/// Whether a durable delivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pause {
    /// It does.
    Off,
    /// It does not, and starts again by itself.
    On {
        /// By the broker's clock, exactly as it was asked for.
        until: Timestamp,
        /// From the time of the answer.
        remaining: Duration,
    },
}

impl Pause {
    /// Whether it is paused for longer than `until`, which is for longer than the caller has asked:
    /// another client paused it.
    pub fn is_longer_than(&self, until: Timestamp) -> bool {
        match self {
            Self::Off => false,
            Self::On { until: live, .. } => *live > until,
        }
    }
}

const NO_FLEET: &str = "this broker has no buckets, no pause and no service of many";

/// The answer of a broker that does not have what a fleet needs, such as the one of a test; a
/// breaker then decides alone.
pub(super) fn no_fleet<'a, T: Send + 'a>() -> BoxFuture<'a, Result<T, Unavailable>> {
    Box::pin(async { Err(Unavailable(NO_FLEET.to_owned())) })
}

/// As [`no_fleet`], for a write.
pub(super) fn no_change<'a>() -> BoxFuture<'a, Published> {
    Box::pin(async { Published::Unknown(Unknown::NoAnswer(NO_FLEET.to_owned())) })
}
