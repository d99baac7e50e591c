//! An answer from an outside service, and what it means unless the adapter knows better.

use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{DATE, HeaderMap, RETRY_AFTER};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Error;
use crate::breaker::class::MAX_RETRY_AFTER;
use crate::ids::shown;
use crate::step::StepError;

/// What the request under way with the same key needs, where the service does not say.
const LOCKED: Duration = Duration::from_secs(1);

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

/// Longest code that is kept, in characters: services' own have up to about fifty.
const MAX_CODE: usize = 64;
/// Longest sentence of a service that is shown.
const MAX_MESSAGE: usize = 200;

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

    /// `error.code` of the body, how services commonly name what went wrong; empty if there is
    /// none.
    pub fn code(&self) -> String {
        self.error_field("code").unwrap_or_default()
    }

    /// A text in the `error` of the body, printable and at most 64 characters long; `None` if it is
    /// not there, or empty.
    pub fn error_field(&self, name: &str) -> Option<String> {
        field(&self.error()?, name, MAX_CODE)
    }

    /// Whether the body is the service's own, and not the page of an edge before it.
    pub fn is_the_services_own(&self) -> bool {
        self.error().is_some()
    }

    fn error(&self) -> Option<Value> {
        let mut body: Value = serde_json::from_slice(&self.body).ok()?;
        Some(body.get_mut("error")?.take()).filter(Value::is_object)
    }

    /// What the service says is wrong, in one line for an operator: its code, the parameter that
    /// it names, and its sentence.
    fn complaint(&self) -> String {
        let Some(error) = self.error() else { return String::new() };
        let [code, kind, param] =
            ["code", "type", "param"].map(|name| field(&error, name, MAX_CODE));
        let code = code.or(kind).unwrap_or_default();
        let param = param.map_or_else(String::new, |param| format!(" ({param})"));
        let message = field(&error, "message", MAX_MESSAGE);
        let message = message.map_or_else(String::new, |message| format!(": {message}"));
        format!("{code}{param}{message}")
    }

    /// What an answer means if the adapter gives it no meaning of its own.
    ///
    /// A request that can never succeed is a bad message. A service that asks for time (429, a 503
    /// that says how long), or that still works on a request with this key (409, 425), is busy.
    /// 401 and 403 are about our credentials. Everything else is no answer: 5xx, 3xx, a 404 or 405
    /// without `error.code`, because the URL or a proxy may be wrong, and whatever else comes
    /// without the service's own JSON, because an edge says so on its own account.
    pub fn failure(&self) -> StepError {
        let (status, after) = (self.status, self.retry_after);
        let failed = || Error::Failed(status);
        match status.as_u16() {
            401 | 403 => StepError::credentials(failed()),
            429 => StepError::busy(after, failed()),
            503 if after.is_some() => StepError::busy(after, failed()),
            409 | 425 => StepError::busy(after.or(Some(LOCKED)), failed()),
            404 | 405 if self.code().is_empty() => StepError::try_again(failed()),
            _ if !self.is_the_services_own() => StepError::try_again(failed()),
            400 | 404 | 405 | 410 | 413 | 415 | 422 => {
                StepError::BadMessage(format!("the service answers {status}: {}", self.complaint()))
            }
            _ => StepError::try_again(failed()),
        }
    }
}

fn field(error: &Value, name: &str, longest: usize) -> Option<String> {
    let text = shown(error[name].as_str()?, longest);
    Some(text).filter(|text| !text.is_empty())
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
    use crate::breaker::class::Class;

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
        let is_bad =
            |status, body| matches!(answer(status, &[], body).failure(), StepError::BadMessage(_));
        let own = "{\"error\":{\"type\":\"invalid_request_error\"}}";
        for status in [400, 410, 413, 415, 422] {
            assert!(is_bad(status, own), "{status}");
            for page in ["", "<html>413 Request Entity Too Large</html>", "{}", "[\"error\"]"] {
                assert!(!is_bad(status, page), "{status} {page}");
            }
        }
        for status in [301, 401, 403, 404, 405, 408, 409, 425, 429, 500, 502, 503, 504] {
            assert!(!is_bad(status, own), "{status}");
        }
        let known = answer(404, &[], "{\"error\":{\"code\":\"resource_missing\"}}").failure();
        assert!(matches!(known, StepError::BadMessage(_)));
    }

    #[test]
    fn only_a_service_that_asks_for_time_or_works_on_the_same_key_is_busy() {
        let class = |status, headers: &[_]| match answer(status, headers, "").failure() {
            StepError::TryAgain { class, .. } => class,
            other => panic!("{status}: {other:?}"),
        };
        let soon = ("retry-after", "7");
        let seven = Some(Duration::from_secs(7));
        assert_eq!(class(429, &[]), Class::Busy(None));
        assert_eq!(class(429, &[soon]), Class::Busy(seven));
        assert_eq!(class(503, &[soon]), Class::Busy(seven));
        assert_eq!(class(503, &[]), Class::Failed);
        assert_eq!(class(409, &[]), Class::Busy(Some(LOCKED)));
        assert_eq!(class(425, &[]), Class::Busy(Some(LOCKED)));
        for status in [401, 403] {
            assert_eq!(class(status, &[]), Class::Credentials);
        }
        for status in [301, 404, 405, 408, 500, 502, 504] {
            assert_eq!(class(status, &[]), Class::Failed, "{status}");
        }
    }

    #[test]
    fn a_bad_message_names_the_code_and_no_more_of_it_than_is_safe_to_show() {
        let why = |body| match answer(400, &[], body).failure() {
            StepError::BadMessage(why) => why,
            other => panic!("expected a bad message, got {other:?}"),
        };
        assert_eq!(
            why(
                "{\"error\":{\"code\":\"para\\nmeter\\u202e_missing\",\"param\":\"a\\u001b[31m\"}}"
            ),
            "the service answers 400 Bad Request: para meter _missing (a [31m)"
        );
        assert_eq!(
            why("{\"error\":{\"type\":\"invalid_request_error\",\"message\":\"Provide it.\"}}"),
            "the service answers 400 Bad Request: invalid_request_error: Provide it."
        );
        let long: &'static str =
            Box::leak(format!("{{\"error\":{{\"code\":\"{}\"}}}}", "x".repeat(100_000)).into());
        assert!(why(long).len() < 200);
    }
}
