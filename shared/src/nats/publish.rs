//! Writes, and distinguishes every answer of the server by error code and, if one code has two
//! meanings, by its description.
//!
//! The client maps only one of these codes, so we read the answers here. The guard (*optimistic
//! concurrency*) always names an exact subject, because on a cluster a guard with a wildcard lets
//! racing writers through.

use std::time::Duration;

use async_nats::{Client, HeaderMap, Message, Request, RequestError, RequestErrorKind};
use bytes::Bytes;
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::api::{ApiError, code};
use super::ask::ask;
use crate::broker::{BatchMessage, Published, Unknown};
use crate::log::envelope::CONTENT_TYPE;
use crate::topology::{EVENT_BYTES, PARKED_BYTES};

const EXPECTED_LAST: &str = "Nats-Expected-Last-Subject-Sequence";
const TIME_TO_LIVE: &str = "Nats-TTL";
const BATCH_ID: &str = "Nats-Batch-Id";
const BATCH_SEQUENCE: &str = "Nats-Batch-Sequence";
const BATCH_COMMIT: &str = "Nats-Batch-Commit";

/// How long we wait for an acknowledgement. A leader that steps down forgets to answer, so its
/// publishers stall this long; publishing again with the same guard costs the server little.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(2);

/// The server's limit on messages of one batch.
const BATCH_MESSAGES: usize = 1_000;

/// Open batches of this process; the server allows 50 per stream, for all replicas together.
const OPEN_BATCHES: usize = 16;

/// The answer to a publish: `{"stream", "seq"}`, or `{"error"}` beside them.
#[derive(Deserialize)]
struct Acknowledgement {
    #[serde(default)]
    seq: u64,
    error: Option<ApiError>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Single,
    Batch,
}

/// What all publishes of a connection share.
#[derive(Debug)]
pub(super) struct Publisher {
    /// Headers of a slot's event; built once, because this is the hot path.
    once: HeaderMap,
    batches: Semaphore,
}

impl Publisher {
    pub(super) fn new() -> Self {
        let mut once = HeaderMap::new();
        once.insert(EXPECTED_LAST, "0");
        once.insert("Content-Type", CONTENT_TYPE);
        Self { once, batches: Semaphore::new(OPEN_BATCHES) }
    }

    pub(super) async fn publish_once(
        &self,
        client: &Client,
        subject: &str,
        payload: Bytes,
    ) -> Published {
        if payload.len() > EVENT_BYTES {
            return Published::TooLarge;
        }
        let request = Request::new().payload(payload).headers(self.once.clone());
        send(client, subject, request, Kind::Single).await
    }

    pub(super) async fn publish(
        &self,
        client: &Client,
        subject: &str,
        payload: Bytes,
    ) -> Published {
        if payload.len() > PARKED_BYTES {
            return Published::TooLarge;
        }
        send(client, subject, Request::new().payload(payload), Kind::Single).await
    }

    pub(super) async fn publish_batch(
        &self,
        client: &Client,
        mut messages: Vec<BatchMessage>,
    ) -> Published {
        let Some(last) = messages.pop() else { return bad_batch("an empty batch") };
        if messages.len() + 1 > BATCH_MESSAGES {
            return bad_batch("a batch of more than 1,000 messages");
        }
        let _open = self.batches.acquire().await.expect("it is never closed");
        let id = uuid::Uuid::new_v4().simple().to_string();
        let count = messages.len() + 1;
        for (at, message) in messages.into_iter().enumerate() {
            let headers = batch_headers(&id, at + 1, message.expected_last);
            let sent = client.publish_with_headers(message.subject, headers, message.payload);
            match tokio::time::timeout(ACKNOWLEDGED_WITHIN, sent).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return not_sent(error.kind(), &error),
                Err(_) => return no_answer("the connection takes no messages"),
            }
        }
        let mut headers = batch_headers(&id, count, last.expected_last);
        headers.insert(BATCH_COMMIT, "1");
        let request = Request::new().payload(last.payload).headers(headers);
        send(client, &last.subject, request, Kind::Batch).await
    }
}

fn batch_headers(id: &str, at: usize, expected_last: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(BATCH_ID, id);
    headers.insert(BATCH_SEQUENCE, at.to_string());
    headers.insert(EXPECTED_LAST, expected_last.to_string());
    headers
}

/// Writes a subject whose last message must be `expected_last`; 0 when it must have none. Sends
/// guard and life together, because a message that replaces another does not inherit its life.
pub(super) async fn compare_and_set(
    client: &Client,
    subject: &str,
    expected_last: u64,
    payload: Bytes,
    time_to_live: Option<Duration>,
) -> Published {
    if payload.len() > EVENT_BYTES {
        return Published::TooLarge;
    }
    let mut headers = HeaderMap::new();
    headers.insert(EXPECTED_LAST, expected_last.to_string());
    if let Some(life) = time_to_live {
        headers.insert(TIME_TO_LIVE, format!("{}s", whole_seconds(life)));
    }
    send(client, subject, Request::new().payload(payload).headers(headers), Kind::Single).await
}

/// As [`compare_and_set`], of a key that ends.
pub(super) async fn remove(client: &Client, subject: &str, expected_last: u64) -> Published {
    let mut headers = HeaderMap::new();
    headers.insert(EXPECTED_LAST, expected_last.to_string());
    headers.insert("KV-Operation", "DEL");
    headers.insert(TIME_TO_LIVE, "1s");
    send(client, subject, Request::new().headers(headers), Kind::Single).await
}

/// Rounded up; the server knows no shorter life than one second.
fn whole_seconds(life: Duration) -> u64 {
    (life.as_secs() + u64::from(life.subsec_nanos() > 0)).max(1)
}

async fn send(client: &Client, subject: &str, request: Request, kind: Kind) -> Published {
    match ask(client, subject, request, ACKNOWLEDGED_WITHIN).await {
        Some(Ok(answer)) => published(&answer, kind),
        Some(Err(error)) => no_request(&error),
        None => no_answer("no acknowledgement in time"),
    }
}

fn no_request(error: &RequestError) -> Published {
    match error.kind() {
        RequestErrorKind::InvalidSubject => rejected(0, error),
        RequestErrorKind::MaxPayloadExceeded => Published::TooLarge,
        RequestErrorKind::NoResponders => no_answer("no stream, or no leader, takes this subject"),
        RequestErrorKind::TimedOut | RequestErrorKind::Other => no_answer(error),
    }
}

fn not_sent(kind: async_nats::PublishErrorKind, error: &impl std::fmt::Display) -> Published {
    match kind {
        async_nats::PublishErrorKind::MaxPayloadExceeded => Published::TooLarge,
        async_nats::PublishErrorKind::InvalidSubject => rejected(0, error),
        async_nats::PublishErrorKind::Send => no_answer(error),
    }
}

fn published(answer: &Message, kind: Kind) -> Published {
    match serde_json::from_slice(&answer.payload) {
        Ok(Acknowledgement { error: Some(error), .. }) => refused(&error, kind),
        Ok(Acknowledgement { seq: 0, .. }) => no_answer("an acknowledgement without a sequence"),
        Ok(Acknowledgement { seq, .. }) => Published::Stored { sequence: seq },
        Err(error) => no_answer(error),
    }
}

/// What a refusal means. Anything that the server may accept later is `Unknown`: one write too many
/// costs a round trip, a write given up wrongly costs a saga.
fn refused(error: &ApiError, kind: Kind) -> Published {
    match error.err_code {
        code::WRONG_LAST_SEQUENCE => Published::Conflict,
        // In a batch it means that one subject is guarded twice.
        code::PROPOSAL_IN_FLIGHT if kind == Kind::Batch => rejected(error.err_code, error),
        code::PROPOSAL_IN_FLIGHT
        | code::ID_IN_PROCESS
        | code::BATCH_INCOMPLETE
        | code::BATCH_REPEATS_ID
        | code::TOO_MANY_BATCHES => Published::Unknown(Unknown::Busy),
        // One code for a taken slot and for a full log.
        code::STORE_FAILED if error.description.contains("per subject") => Published::Conflict,
        code::STORE_FAILED if error.description.contains("maximum") => {
            Published::Unknown(Unknown::Full)
        }
        // Another stream of the account may have taken the room.
        code::ACCOUNT_FULL => Published::Unknown(Unknown::Full),
        code::STORE_FAILED | code::NO_LEADER => no_answer(error),
        code::OVER_MESSAGE_SIZE | code::OVER_HEADER_SIZE => Published::TooLarge,
        _ if error.code == 429 => Published::Unknown(Unknown::Busy),
        _ if error.code >= 500 => no_answer(error),
        code => rejected(code, error),
    }
}

fn bad_batch(what: &str) -> Published {
    rejected(0, &what)
}

fn rejected(code: u64, why: &impl ToString) -> Published {
    Published::Rejected { code, description: why.to_string() }
}

fn no_answer(why: impl ToString) -> Published {
    Published::Unknown(Unknown::NoAnswer(why.to_string()))
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.description, self.err_code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: u64, err_code: u64, description: &str, kind: Kind) -> Published {
        refused(&ApiError { code, err_code, description: description.to_owned() }, kind)
    }

    #[test]
    fn a_taken_slot_and_a_full_log_share_a_code() {
        let taken = answer(503, 10077, "maximum messages per subject exceeded", Kind::Single);
        let full = answer(503, 10077, "maximum bytes exceeded", Kind::Single);
        assert_eq!((taken, full), (Published::Conflict, Published::Unknown(Unknown::Full)));
        let account = answer(400, 10002, "resource limits exceeded for account", Kind::Single);
        assert_eq!(account, Published::Unknown(Unknown::Full));
    }

    #[test]
    fn a_proposal_in_flight_is_no_conflict() {
        let single = answer(400, 10164, "wrong last sequence", Kind::Single);
        assert_eq!(single, Published::Unknown(Unknown::Busy));
        let batch = answer(400, 10164, "wrong last sequence", Kind::Batch);
        assert!(matches!(batch, Published::Rejected { code: 10164, .. }));
    }

    #[test]
    fn a_life_is_never_shorter_than_asked() {
        let asked = [0, 1, 1_000, 1_001, 15_000].map(Duration::from_millis);
        assert_eq!(asked.map(whole_seconds), [1, 1, 1, 2, 15]);
    }

    #[test]
    fn what_the_server_may_think_better_of_is_tried_again() {
        for (code, err_code) in [(503, 10008), (503, 10023), (500, 10047), (503, 99999)] {
            let answer = answer(code, err_code, "not now", Kind::Single);
            assert!(matches!(answer, Published::Unknown(Unknown::NoAnswer(_))), "{answer:?}");
        }
        assert_eq!(answer(429, 10210, "", Kind::Batch), Published::Unknown(Unknown::Busy));
    }

    #[test]
    fn wrong_configuration_is_not_tried_again() {
        for err_code in [10199, 10174, 10177, 10188, 10111, 10166, 10165, 10060] {
            let answer = answer(400, err_code, "", Kind::Single);
            assert!(matches!(answer, Published::Rejected { .. }), "{answer:?}");
        }
    }
}
