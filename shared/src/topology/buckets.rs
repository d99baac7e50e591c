//! The buckets of a breaker. All flows of an account share them, so nothing in them depends on a
//! flow: otherwise each flow's `topology apply` would undo the other's.
//!
//! A breaker works without them, each replica for itself. So a bucket may forget, and no worker
//! stops because one is missing or different.

use std::time::Duration;

use super::{EVENT_BYTES, Keeps, StreamSpec};

/// The bucket of what the fleet has decided about each dependency, and of operators' overrides.
pub const BREAKERS: &str = "breakers";

/// The key of an operator's override, beside `<service>`, the key of what the replicas decided.
pub fn override_key(service: &str) -> String {
    format!("{service}.override")
}

/// The bucket of the attempts at messages that were given back to the broker.
pub const ATTEMPTS: &str = "attempts";

/// What stock tools put before a bucket's name to name its stream.
pub(crate) const STREAM_PREFIX: &str = "KV_";

/// What stock tools put before `<bucket>.<key>` to name the subject of a key.
pub(crate) const SUBJECT_PREFIX: &str = "$KV.";

/// How long an attempt counts: longer than any outage, so that no poisonous message starts again
/// from zero.
const ATTEMPTS_LIVE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How long the entries of a bucket live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lives {
    /// As long as its writer says, or for ever. Its end is told to all who watch, by a marker that
    /// the broker keeps for one second.
    AsWritten,
    /// All of them this long. Their end is not told.
    For(Duration),
}

pub(super) fn specs(replicas: u64) -> Vec<StreamSpec> {
    const MIB: u64 = 1 << 20;
    vec![
        // A few entries for each dependency.
        StreamSpec { replicas, ..bucket(BREAKERS, Lives::AsWritten, 4 * MIB) },
        // About 200 bytes for each message given back within a week.
        StreamSpec { replicas, ..bucket(ATTEMPTS, Lives::For(ATTEMPTS_LIVE), 64 * MIB) },
    ]
}

fn bucket(name: &str, lives: Lives, max_bytes: u64) -> StreamSpec {
    StreamSpec {
        name: format!("{STREAM_PREFIX}{name}"),
        subjects: vec![format!("{SUBJECT_PREFIX}{name}.>")],
        owner: None,
        // With a history, the entry before would be current again when the newest one expires.
        keeps: Keeps::Newest,
        permanent: false,
        lives: Some(lives),
        atomic_publish: false,
        max_message_bytes: EVENT_BYTES,
        max_bytes,
        replicas: 1,
    }
}
