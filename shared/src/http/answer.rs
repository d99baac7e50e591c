//! An answer from an outside service, and what it means unless the adapter knows better.

use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{DATE, HeaderMap, RETRY_AFTER};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Error;
use crate::step::StepError;

/// Longest wait a service may ask for; a longer one is cut to this.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// A whole answer, of any status.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    /// How long the service asks to be left alone: at most 5 minutes.
    pub retry_after: Option<Duration>,
    /// The service says that this was its answer to an earlier request with the key.
    pub replayed: bool,
    pub body: Bytes,
}

/// `error.code` of an answer: how services commonly name what went wrong.
#[derive(Debug, Default, Deserialize)]
struct Failure {
    error: FailureCode,
}

#[derive(Debug, Default, Deserialize)]
struct FailureCode {
    #[serde(default)]
    code: String,
}

impl Answer {
    pub(super) fn new(status: StatusCode, headers: &HeaderMap, body: Bytes) -> Self {
        let replayed = headers.get("idempotent-replayed").is_some_and(|yes| yes == "true");
        Self { status, retry_after: retry_after(headers), replayed, body }
    }

    /// # Errors
    /// [`Error::Unreadable`] when the body is not the JSON of a `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|bad| Error::Unreadable(self.status, bad.into()))
    }

    /// `error.code` of the body; empty if there is none.
    pub fn code(&self) -> String {
        serde_json::from_slice::<Failure>(&self.body).unwrap_or_default().error.code
    }

    /// What an answer means if the adapter gives it no meaning of its own. A request that can never
    /// succeed is a bad message; everything else may be tried again, at the time the service says.
    /// A 404 or 405 without `error.code` is tried again, because the URL or a proxy may be wrong.
    pub fn failure(&self) -> StepError {
        let status = self.status;
        let code: String = self.code().chars().filter(char::is_ascii_graphic).collect();
        match status.as_u16() {
            404 | 405 if code.is_empty() => self.try_again(),
            400 | 404 | 405 | 409 | 410 | 413 | 415 | 422 => {
                StepError::BadMessage(format!("the service answers {status}: {code:.64}"))
            }
            _ => self.try_again(),
        }
    }

    fn try_again(&self) -> StepError {
        StepError::TryAgain { after: self.retry_after, source: Error::Failed(self.status).into() }
    }
}

/// Seconds, or an HTTP date. The date counts from the answer's own `date`, because this machine's
/// clock may be wrong; a value that cannot be read counts as absent (RFC 9110, 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let wanted = text(RETRY_AFTER)?;
    let wait = match wanted.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = |text| jiff::fmt::rfc2822::parse(text).ok();
            let wait = date(wanted)?.timestamp().duration_since(date(text(DATE)?)?.timestamp());
            Duration::try_from(wait).unwrap_or_default()
        }
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &'static str) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        let pairs = headers.iter().map(|(name, value)| {
            (name.parse().unwrap(), hyper::header::HeaderValue::from_static(value))
        });
        Answer::new(status, &pairs.collect(), Bytes::from_static(body.as_bytes()))
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date_of_the_services_own_clock() {
        let seconds = answer(429, &[("retry-after", "7")], "");
        assert_eq!(seconds.retry_after, Some(Duration::from_secs(7)));

        let now = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        let date = answer(503, &[now, ("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT")], "");
        assert_eq!(date.retry_after, Some(Duration::from_secs(30)));
        let past = answer(503, &[now, ("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT")], "");
        assert_eq!(past.retry_after, Some(Duration::ZERO));
    }

    #[test]
    fn an_unreadable_retry_after_is_absent_and_a_long_one_is_cut() {
        assert_eq!(answer(429, &[("retry-after", "soon")], "").retry_after, None);
        assert_eq!(answer(429, &[("retry-after", "-1")], "").retry_after, None);
        let day = answer(429, &[("retry-after", "86400")], "");
        assert_eq!(day.retry_after, Some(MAX_RETRY_AFTER));
    }

    #[test]
    fn only_a_request_that_can_never_succeed_is_a_bad_message() {
        let bad = |status| matches!(answer(status, &[], "").failure(), StepError::BadMessage(_));
        for status in [400, 409, 410, 413, 415, 422] {
            assert!(bad(status), "{status}");
        }
        for status in [301, 401, 403, 404, 405, 408, 425, 429, 500, 502, 503, 504] {
            assert!(!bad(status), "{status}");
        }
        let known = answer(404, &[], "{\"error\":{\"code\":\"resource_missing\"}}").failure();
        assert!(matches!(known, StepError::BadMessage(_)));
    }

    #[test]
    fn a_bad_message_names_the_code_and_no_more_of_it_than_is_safe_to_show() {
        let body = "{\"error\":{\"code\":\"para\\nmeter\\u202e_missing\"}}";
        let StepError::BadMessage(why) = answer(400, &[], body).failure() else {
            panic!("expected a bad message");
        };
        assert_eq!(why, "the service answers 400 Bad Request: parameter_missing");
    }
}
