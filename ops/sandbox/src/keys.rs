//! Idempotency keys of one service: what is executing, and what was answered.
//!
//! Looking a key up and marking it as executing is one call under the caller's lock, so two
//! requests with one key can never both begin. An expired key is forgotten when it is next seen.

use std::collections::HashMap;
use std::time::Duration;

use axum::http::HeaderMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::answer::Answer;
use crate::operation::Service;

/// How long the payment service remembers a key, unless the fault `key_lifetime_ms` says less:
/// 24 hours, the least that Stripe promises. The carrier's keys live for ever.
pub const KEY_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// An answer as it is kept under its key, across restarts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SavedAnswer {
    pub(crate) service: Service,
    pub(crate) key: String,
    /// Path and parameters in one text: another text under this key is another request.
    pub(crate) request: String,
    pub(crate) order: Option<String>,
    pub(crate) answer: Answer,
    pub(crate) saved_at: Timestamp,
    /// `None`: for ever.
    pub(crate) lifetime_ms: Option<u64>,
}

#[derive(Debug)]
enum Entry {
    Executing { request: String },
    Answered(SavedAnswer),
}

/// What to do with a request, depending on its key.
#[derive(Debug)]
pub(crate) enum Begin {
    /// The key was free and is now marked as executing.
    Begun,
    Replay(Answer),
    InUse,
    OtherRequest,
}

#[derive(Debug, Default)]
pub(crate) struct Keys {
    entries: HashMap<String, Entry>,
}

impl Keys {
    /// Looks the key up and, if it is free, marks it. `lifetime_ms` is the setting now: an answer
    /// is gone once it is older than that, or than the setting it was saved under.
    pub(crate) fn begin(
        &mut self,
        key: &str,
        request: &str,
        now: Timestamp,
        lifetime_ms: Option<u64>,
    ) -> Begin {
        match self.entries.get(key) {
            Some(Entry::Executing { request: executing }) if executing == request => Begin::InUse,
            Some(Entry::Executing { .. }) => Begin::OtherRequest,
            Some(Entry::Answered(saved)) if !saved.has_expired(now, lifetime_ms) => {
                if saved.request == request {
                    Begin::Replay(saved.answer.clone())
                } else {
                    Begin::OtherRequest
                }
            }
            Some(Entry::Answered(_)) | None => {
                let executing = Entry::Executing { request: request.to_owned() };
                self.entries.insert(key.to_owned(), executing);
                Begin::Begun
            }
        }
    }

    pub(crate) fn save(&mut self, saved: SavedAnswer) {
        self.entries.insert(saved.key.clone(), Entry::Answered(saved));
    }

    /// The execution ended with nothing worth keeping: the key is free again.
    pub(crate) fn forget(&mut self, key: &str) {
        self.entries.remove(key);
    }

    /// Whether a request with this key is being executed right now.
    pub(crate) fn is_executing(&self, key: &str) -> bool {
        matches!(self.entries.get(key), Some(Entry::Executing { .. }))
    }

    /// The answer saved under this key, if there is one. Never expires: only the carrier asks.
    pub(crate) fn saved(&self, key: &str) -> Option<&SavedAnswer> {
        match self.entries.get(key) {
            Some(Entry::Answered(saved)) => Some(saved),
            Some(Entry::Executing { .. }) | None => None,
        }
    }
}

impl SavedAnswer {
    fn has_expired(&self, now: Timestamp, lifetime_ms: Option<u64>) -> bool {
        let lifetime_ms = match (self.lifetime_ms, lifetime_ms) {
            (Some(then), Some(now)) => Some(then.min(now)),
            (then, now) => then.or(now),
        };
        let age_ms = now.as_millisecond().saturating_sub(self.saved_at.as_millisecond());
        lifetime_ms.is_some_and(|lifetime_ms| age_ms.max(0).cast_unsigned() >= lifetime_ms)
    }
}

/// The `Idempotency-Key` of a request: 1 to 255 visible ASCII characters.
///
/// # Errors
///
/// What is wrong with it, in words.
pub(crate) fn key_of(headers: &HeaderMap) -> Result<String, &'static str> {
    let key = headers.get("idempotency-key").ok_or("the Idempotency-Key header is missing")?;
    match key.to_str() {
        Ok(key) if (1..=255).contains(&key.len()) => Ok(key.to_owned()),
        Ok(_) | Err(_) => Err("the Idempotency-Key header is not 1 to 255 ASCII characters"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DAY_MS: u64 = 24 * 60 * 60 * 1000;

    fn keys_saved_at_zero(lifetime_ms: Option<u64>) -> Keys {
        let mut keys = Keys::default();
        keys.save(SavedAnswer {
            service: Service::Payment,
            key: "key".to_owned(),
            request: "request".to_owned(),
            order: None,
            answer: Answer::new(200, &json!({})),
            saved_at: Timestamp::UNIX_EPOCH,
            lifetime_ms,
        });
        keys
    }

    fn is_replayed(saved_ms: Option<u64>, today_ms: Option<u64>, age_ms: i64) -> bool {
        let now = Timestamp::from_millisecond(age_ms).expect("a small number");
        let begin = keys_saved_at_zero(saved_ms).begin("key", "request", now, today_ms);
        matches!(begin, Begin::Replay(_))
    }

    #[test]
    fn an_answer_is_replayed_until_the_shorter_lifetime_is_over() {
        let day = i64::try_from(DAY_MS).expect("a day fits");
        assert!(is_replayed(Some(DAY_MS), Some(DAY_MS), day - 1));
        assert!(!is_replayed(Some(DAY_MS), Some(DAY_MS), day));
        assert!(!is_replayed(Some(DAY_MS), Some(2_000), 2_000));
        assert!(!is_replayed(Some(2_000), Some(DAY_MS), 2_000));
        assert!(is_replayed(Some(2_000), Some(DAY_MS), 1_999));
    }

    #[test]
    fn an_answer_without_a_lifetime_is_replayed_for_ever() {
        assert!(is_replayed(None, None, 100 * i64::try_from(DAY_MS).expect("a day fits")));
    }

    #[test]
    fn a_clock_that_goes_back_forgets_nothing() {
        assert!(is_replayed(Some(2_000), Some(2_000), -5_000));
    }

    #[test]
    fn a_key_begins_once_and_again_after_it_is_forgotten() {
        let (mut keys, now) = (Keys::default(), Timestamp::UNIX_EPOCH);
        assert!(matches!(keys.begin("key", "request", now, None), Begin::Begun));
        assert!(matches!(keys.begin("key", "request", now, None), Begin::InUse));
        assert!(matches!(keys.begin("key", "other", now, None), Begin::OtherRequest));
        keys.forget("key");
        assert!(matches!(keys.begin("key", "other", now, None), Begin::Begun));
    }
}
