//! The keys of the fleet as JSON: `<service>` is what the replicas agreed on, `<service>.override`
//! an operator's word.
//!
//! What is not ours or not JSON counts as nothing agreed; the next transition replaces it.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;

use crate::breaker::fleet::{Entry, Override};
use crate::broker;

pub(super) fn write(entry: &Entry) -> Bytes {
    serde_json::to_vec(entry).expect("words and numbers always serialise").into()
}

/// What is stored; `Err` where it is nobody's entry.
pub(super) fn read(stored: &broker::Entry) -> Result<Entry, serde_json::Error> {
    serde_json::from_slice(&stored.value)
}

/// An override and the time that it has left; `Ok(None)` when its time is over.
pub(super) fn read_override(
    stored: &broker::Entry,
    now: Timestamp,
) -> Result<Option<(Override, Duration)>, serde_json::Error> {
    let forced: Override = serde_json::from_slice(&stored.value)?;
    let left = forced.until_ms.checked_sub(milliseconds(now)).filter(|left| *left > 0);
    Ok(left.map(|left| (forced, Duration::from_millis(left))))
}

/// Of milliseconds since the Unix epoch.
pub(super) fn moment(milliseconds: u64) -> Timestamp {
    let milliseconds = i64::try_from(milliseconds).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::MAX)
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
        assert_eq!(read(&stored(&text)).expect("an entry"), entry);
    }

    #[test]
    fn what_is_no_entry_is_told_apart() {
        for junk in ["", "{", "[]", r#"{"phase":"sleeping"}"#] {
            assert!(read(&stored(junk)).is_err(), "{junk}");
        }
    }

    #[test]
    fn an_override_lives_until_its_time() {
        let text = r#"{"mode":"paused","by":"ann","reason":"bank closed","until_ms":60000}"#;
        let at = |second| Timestamp::from_second(second).expect("a time");
        let read = |text, second| read_override(&stored(text), at(second));
        let (forced, left) = read(text, 0).expect("an override").expect("it lives");
        assert_eq!((forced.mode, left), (Mode::Paused, Duration::from_secs(60)));
        assert_eq!(read(text, 60).expect("an override"), None);
        assert!(read("{}", 0).is_err());
    }
}
