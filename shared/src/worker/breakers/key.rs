//! The keys of the fleet as JSON: `<service>` is what the replicas agreed on, `<service>.override`
//! an operator's word.
//!
//! What is not ours or not JSON counts as nothing agreed; the next transition replaces it.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;

use crate::breaker::fleet::{Entry, Override};
use crate::broker;

/// The key of the override of a service.
pub(super) fn of_override(dependency: &str) -> String {
    format!("{dependency}.override")
}

pub(super) fn write(entry: &Entry) -> Bytes {
    serde_json::to_vec(entry).expect("words and numbers always serialise").into()
}

/// What is stored, and its revision.
pub(super) fn read(stored: &broker::Entry) -> (Entry, u64) {
    let entry = serde_json::from_slice(&stored.value).unwrap_or_else(|error| {
        let (key, error) = (&stored.key, error.to_string());
        tracing::warn!(key, error, "not a breaker's entry; the next transition replaces it");
        Entry::default()
    });
    (entry, stored.revision)
}

/// An override and the time that it has left; `None` when its time is over.
pub(super) fn read_override(
    stored: &broker::Entry,
    now: Timestamp,
) -> Option<(Override, Duration)> {
    let forced: Override = match serde_json::from_slice(&stored.value) {
        Ok(forced) => forced,
        Err(error) => {
            let (key, error) = (&stored.key, error.to_string());
            tracing::warn!(key, error, "not an override; it is ignored");
            return None;
        }
    };
    let left = forced.until_ms.checked_sub(milliseconds(now)).filter(|left| *left > 0)?;
    Some((forced, Duration::from_millis(left)))
}

/// Of the Unix epoch.
pub(super) fn milliseconds(time: Timestamp) -> u64 {
    u64::try_from(time.as_millisecond()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaker::fleet::{Mode, Phase, Reason};

    fn stored(value: &str) -> broker::Entry {
        let value = Bytes::copy_from_slice(value.as_bytes());
        broker::Entry { key: "bank".into(), revision: 7, value, written_at: Timestamp::UNIX_EPOCH }
    }

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        let entry = Entry {
            phase: Phase::Paused,
            by: "charge-card-1".into(),
            reason: Reason::NoAnswer,
            wait_ms: 2_000,
            k: 1,
            pauses: [("charge-card".to_owned(), 5)].into(),
            ..Entry::default()
        };
        let text = String::from_utf8(write(&entry).to_vec()).expect("JSON");
        assert!(text.contains(r#""phase":"paused""#), "{text}");
        assert_eq!(read(&stored(&text)), (entry, 7));
    }

    #[test]
    fn what_is_no_entry_counts_as_nothing_agreed_under_its_revision() {
        for junk in ["", "{", "[]", r#"{"phase":"sleeping"}"#] {
            assert_eq!(read(&stored(junk)), (Entry::default(), 7), "{junk}");
        }
    }

    #[test]
    fn an_override_lives_until_its_time() {
        let text = r#"{"mode":"paused","by":"ann","reason":"bank closed","until_ms":60000}"#;
        let at = |second| Timestamp::from_second(second).expect("a time");
        let (forced, left) = read_override(&stored(text), at(0)).expect("it lives");
        assert_eq!((forced.mode, left), (Mode::Paused, Duration::from_secs(60)));
        assert_eq!(read_override(&stored(text), at(60)), None);
        assert_eq!(read_override(&stored("{}"), at(0)), None);
    }
}
