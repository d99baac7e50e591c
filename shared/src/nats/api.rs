//! JetStream's request and answer in JSON, with its error codes kept.

use std::time::Duration;

use async_nats::{Client, Request, RequestErrorKind};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep_until};

use super::ask::ask;
use crate::broker::Unavailable;

/// How long we wait for any answer; a publish that has none by then is `Unknown`.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(5);

/// `err_code` of an answer; the numbers are the server's, from its `errors.json`.
pub(super) mod code {
    pub(in crate::nats) const ACCOUNT_FULL: u64 = 10002;
    pub(in crate::nats) const NO_LEADER: u64 = 10008;
    pub(in crate::nats) const CONSUMER_NOT_FOUND: u64 = 10014;
    pub(in crate::nats) const MESSAGE_NOT_FOUND: u64 = 10037;
    pub(in crate::nats) const OVER_MESSAGE_SIZE: u64 = 10054;
    pub(in crate::nats) const STREAM_NOT_FOUND: u64 = 10059;
    pub(in crate::nats) const WRONG_LAST_SEQUENCE: u64 = 10071;
    pub(in crate::nats) const STORE_FAILED: u64 = 10077;
    pub(in crate::nats) const OVER_HEADER_SIZE: u64 = 10097;
    pub(in crate::nats) const ID_IN_PROCESS: u64 = 10158;
    pub(in crate::nats) const PROPOSAL_IN_FLIGHT: u64 = 10164;
    pub(in crate::nats) const BATCH_INCOMPLETE: u64 = 10176;
    pub(in crate::nats) const BATCH_REPEATS_ID: u64 = 10201;
    pub(in crate::nats) const TOO_MANY_BATCHES: u64 = 10210;
}

/// `error` of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct ApiError {
    /// As in HTTP.
    #[serde(default)]
    pub(super) code: u64,
    #[serde(default)]
    pub(super) err_code: u64,
    #[serde(default)]
    pub(super) description: String,
}

/// What a request to `$JS.API` came to.
#[derive(Debug)]
pub(super) enum Answer<T> {
    Ok(T),
    /// The server answered with an error.
    Error(ApiError),
    /// The server did not answer.
    None(Unavailable),
}

/// The form of every answer: an error, or the fields that were asked for.
#[derive(Deserialize)]
struct Outer {
    error: Option<ApiError>,
}

/// One request, one answer, within [`ANSWER_TIME`].
pub(super) async fn request<T: DeserializeOwned>(
    client: &Client,
    subject: String,
    body: impl Into<Bytes>,
) -> Answer<T> {
    let request = Request::new().payload(body.into());
    let message = match ask(client, &subject, request, ANSWER_TIME).await {
        None => return Answer::None(Unavailable(format!("{subject} timed out"))),
        Some(Err(error)) if error.kind() == RequestErrorKind::NoResponders => {
            return Answer::None(Unavailable(format!("nobody serves {subject}")));
        }
        Some(Err(error)) => return Answer::None(Unavailable(format!("{subject}: {error}"))),
        Some(Ok(message)) => message,
    };
    match serde_json::from_slice(&message.payload) {
        Ok(Outer { error: Some(error) }) => return Answer::Error(error),
        Ok(Outer { error: None }) => {}
        Err(error) => return Answer::None(Unavailable(format!("{subject}: {error}"))),
    }
    match serde_json::from_slice(&message.payload) {
        Ok(answer) => Answer::Ok(answer),
        Err(error) => Answer::None(Unavailable(format!("{subject}: {error}"))),
    }
}

/// A cluster that says that nobody serves a request may do so again a moment later.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Asks twice, because a cluster that has just come together loses an answer now and then, or
/// knows nobody who gives it. The second time is at least [`AGAIN_AFTER`] after the first one.
pub(super) async fn twice<T>(ask: impl AsyncFn() -> Answer<T>) -> Answer<T> {
    let again_at = Instant::now() + AGAIN_AFTER;
    match ask().await {
        Answer::None(_) => {
            sleep_until(again_at).await;
            ask().await
        }
        answer => answer,
    }
}

impl<T> Answer<T> {
    /// `None` if one of `codes` says that there is none; any other error counts as no answer.
    pub(super) fn found(self, codes: &[u64]) -> Result<Option<T>, Unavailable> {
        match self {
            Self::Ok(answer) => Ok(Some(answer)),
            Self::Error(error) if codes.contains(&error.err_code) => Ok(None),
            Self::Error(error) => Err(error.into()),
            Self::None(unavailable) => Err(unavailable),
        }
    }
}

impl From<ApiError> for Unavailable {
    fn from(error: ApiError) -> Self {
        Self(format!("{} ({})", error.description, error.err_code))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::time::sleep;

    use super::*;

    /// When each time was that it was asked, if an answer is lost after so long.
    async fn asked(lost_after: Duration) -> Vec<Duration> {
        let (began, times) = (Instant::now(), Mutex::new(Vec::new()));
        let answer = twice(async || {
            times.lock().unwrap().push(began.elapsed());
            sleep(lost_after).await;
            Answer::<()>::None(Unavailable("lost".to_owned()))
        });
        assert!(matches!(answer.await, Answer::None(_)));
        times.into_inner().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn who_serves_nobody_now_is_asked_again_a_moment_later() {
        assert_eq!(asked(Duration::ZERO).await, [Duration::ZERO, AGAIN_AFTER]);
        assert_eq!(asked(ANSWER_TIME).await, [Duration::ZERO, ANSWER_TIME], "it waited already");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_answered_is_asked_once() {
        let times = Mutex::new(0);
        let answer = twice(async || {
            *times.lock().unwrap() += 1;
            Answer::Ok(())
        });
        assert!(matches!(answer.await, Answer::Ok(())));
        assert_eq!(times.into_inner().unwrap(), 1);
    }
}
