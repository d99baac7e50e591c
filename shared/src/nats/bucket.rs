//! Keys of a bucket, in the form that stock key-value tools read and write.
//!
//! The client's own key-value calls renew an entry without its life, and create one over an expired
//! entry without it too: such a lease never ends. So every write here sends its guard and its life
//! itself.

mod watch;

use std::time::Duration;

use async_nats::Client;
use bytes::Bytes;

use super::read::Read;
use super::{publish, read};
use crate::broker::{Entry, Published, Unavailable, Unknown};
use crate::topology::{STREAM_PREFIX, SUBJECT_PREFIX};

pub(super) use watch::BucketWatch;

/// Writes over what an ended entry left behind before we say that the broker is busy. Each further
/// one needs another writer, or an old leader, in between.
const WRITES: u32 = 3;

/// What the leader has for a key.
enum Last {
    Entry(Entry),
    /// Says that the entry ended; the server keeps it for a second, or for ever after a deletion.
    Marker {
        revision: u64,
    },
    Nothing,
}

pub(super) fn stream(bucket: &str) -> String {
    format!("{STREAM_PREFIX}{bucket}")
}

fn subject(bucket: &str, key: &str) -> String {
    format!("{SUBJECT_PREFIX}{bucket}.{key}")
}

/// So that no key is a wildcard, or more than one word of the protocol.
fn is_key(key: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_=/-".contains(c);
    key.split('.').all(|part| !part.is_empty() && part.chars().all(fits))
}

fn no_key(key: &str) -> String {
    format!("{key:?} is no key of a bucket")
}

pub(super) async fn entry(
    client: &Client,
    bucket: &str,
    key: &str,
) -> Result<Option<Entry>, Unavailable> {
    match last(client, bucket, key).await? {
        Last::Entry(entry) => Ok(Some(entry)),
        Last::Marker { .. } | Last::Nothing => Ok(None),
    }
}

async fn last(client: &Client, bucket: &str, key: &str) -> Result<Last, Unavailable> {
    if !is_key(key) {
        return Err(Unavailable(no_key(key)));
    }
    let subject = subject(bucket, key);
    let Some(read) = read::last_raw(client, &stream(bucket), &subject).await? else {
        return Ok(Last::Nothing);
    };
    let Read { stored, raw_headers } = read;
    if raw_headers.split(|&byte| byte == b'\n').any(is_marker_line) {
        return Ok(Last::Marker { revision: stored.sequence });
    }
    Ok(Last::Entry(Entry {
        key: key.to_owned(),
        revision: stored.sequence,
        value: stored.payload,
        written_at: stored.stored_at,
    }))
}

fn is_marker_line(line: &[u8]) -> bool {
    let Ok(line) = std::str::from_utf8(line) else { return false };
    line.split_once(':').is_some_and(|(name, value)| marks(name, value))
}

/// Whether a message with this header says that an entry ended: the server's word, or a client's
/// deletion.
fn marks(name: &str, value: &str) -> bool {
    match name {
        "Nats-Marker-Reason" => true,
        "KV-Operation" => matches!(value.trim(), "DEL" | "PURGE"),
        _ => false,
    }
}

pub(super) async fn compare_and_set(
    client: &Client,
    bucket: &str,
    key: &str,
    expected: u64,
    value: Bytes,
    time_to_live: Option<Duration>,
) -> Published {
    if !is_key(key) {
        return Published::Rejected { code: 0, description: no_key(key) };
    }
    let subject = subject(bucket, key);
    let mut guard = expected;
    for _ in 0..WRITES {
        let written =
            publish::compare_and_set(client, &subject, guard, value.clone(), time_to_live).await;
        if written != Published::Conflict || expected != 0 {
            return written;
        }
        guard = match last(client, bucket, key).await {
            Ok(Last::Entry(_)) => return Published::Conflict,
            Ok(Last::Marker { revision }) => revision,
            Ok(Last::Nothing) => 0,
            Err(Unavailable(why)) => return Published::Unknown(Unknown::NoAnswer(why)),
        };
    }
    Published::Unknown(Unknown::Busy)
}

/// Writes over the entry what says that it ended. That ends by itself too, so that the bucket does
/// not keep it for ever.
pub(super) async fn remove(client: &Client, bucket: &str, key: &str, expected: u64) -> Published {
    if !is_key(key) {
        return Published::Rejected { code: 0, description: no_key(key) };
    }
    publish::remove(client, &subject(bucket, key), expected).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_a_wildcard() {
        for key in ["payment-gateway", "payment-gateway.override", "charge-customer.17", "A=_/b"] {
            assert!(is_key(key), "{key}");
        }
        for key in ["", ".", "a.", ".a", "a..b", "*", "a.>", "a b", "a\r\n"] {
            assert!(!is_key(key), "{key}");
        }
    }

    #[test]
    fn an_ended_entry_is_told_from_a_live_one() {
        let ended = |raw: &str| raw.as_bytes().split(|&byte| byte == b'\n').any(is_marker_line);
        assert!(ended("NATS/1.0\r\nNats-Marker-Reason: MaxAge\r\nNats-TTL: 1s\r\n\r\n"));
        assert!(ended("NATS/1.0\r\nKV-Operation: DEL\r\n\r\n"));
        assert!(ended("NATS/1.0\r\nKV-Operation:PURGE\r\n\r\n"));
        assert!(!ended("NATS/1.0\r\nNats-TTL: 2s\r\n\r\n"));
        assert!(!ended("NATS/1.0\r\nKV-Operation: PUT\r\n\r\n"));
        assert!(!ended(""));
    }
}
