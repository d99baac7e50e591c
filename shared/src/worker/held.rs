//! What each replica says of its breakers and of the messages that it holds, as a service that
//! stock tools discover (`nats micro ls`). Every replica answers each request; nothing is written.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::breaker::FleetMode;
use crate::breaker::fleet::{Override, Phase};
use crate::broker::{Answers, Broker, ServiceError};
use crate::pipeline::retry;

/// Most messages of one answer.
pub const MOST: usize = 1_000;

/// Largest answer, in bytes: below the broker's usual `max_payload` of 1 MiB.
const ANSWER_BYTES: usize = 900 * 1024;

/// Between two answers, so that no flood of requests keeps the worker from its work.
const SPACE: Duration = Duration::from_millis(10);

const ENDPOINT: &str = "held";

fn prefix(worker: &str) -> String {
    format!("quadrille.{worker}")
}

/// Where each replica of a worker answers with a [`Report`], to an empty request or an [`Ask`].
pub fn subject(worker: &str) -> String {
    format!("{}.{ENDPOINT}", prefix(worker))
}

/// What a request may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ask {
    /// Most messages to name, 0 to [`MOST`]; all of them are counted.
    pub limit: usize,
}

impl Default for Ask {
    fn default() -> Self {
        Self { limit: MOST }
    }
}

/// One replica's answer. All times are the broker's, as far as the replica knows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The saga of the flow: several flows may have a worker of one name.
    pub saga: String,
    pub worker: String,
    /// Names the process among the replicas, and differs after a restart; `by` of a fleet's key.
    pub instance: String,
    /// In the order of the flow's row.
    pub breakers: Vec<Breaker>,
    /// In the order of the durables, then of the stream.
    pub held: Vec<Held>,
    /// All messages that it holds, named above or not.
    pub held_total: usize,
}

/// What a replica knows of one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breaker {
    pub dependency: String,
    /// The phase that this replica acts on.
    pub phase: Phase,
    /// Whether it takes messages, be it one at a time.
    pub gate_open: bool,
    /// Since when it has had no answers.
    pub doubting_since: Option<Timestamp>,
    /// Other replicas are answered while this one is not.
    pub cut_off: bool,
    /// Most calls at once, as learnt.
    pub limit: u32,
    /// Calls in flight.
    pub out: u32,
    /// Messages that wait for a call.
    pub held: usize,
    /// It is to decide with the others, and cannot read what they have decided.
    pub on_its_own: bool,
    pub fleet: FleetMode,
    /// The operator's word, as this replica heard it.
    #[serde(rename = "override")]
    pub forced: Option<Override>,
}

/// A message in hand that waits, or that has failed and is being tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    pub durable: String,
    pub saga: String,
    /// Of the message, in the flow's stream.
    pub sequence: u64,
    /// Attempts that this replica has made.
    pub attempt: u32,
    /// Failures that count against the message.
    pub charged: u32,
    /// In one line, at most 200 characters.
    pub last_error: Option<String>,
    pub since: Timestamp,
    /// Not before this; `None` while it is being tried.
    pub next_try: Option<Timestamp>,
}

/// Serves the endpoint for as long as the worker runs.
pub(super) async fn serve(
    broker: Arc<dyn Broker>,
    worker: &'static str,
    report: impl Fn(Ask) -> Report + Send,
) {
    let prefix = prefix(worker);
    let mut attempt = 0;
    let mut requests = loop {
        attempt += 1;
        match broker.serve(worker, &prefix, &[ENDPOINT], Answers::Each).await {
            Ok(requests) => break requests,
            Err(error) => tracing::debug!(%error, "the service `{ENDPOINT}` is not served yet"),
        }
        sleep(retry::BROKER.wait(attempt)).await;
    };
    while let Some(request) = requests.recv().await {
        let answer = answer(&request.payload, &report);
        request.respond(answer);
        sleep(SPACE).await;
    }
}

fn answer(request: &[u8], report: &impl Fn(Ask) -> Report) -> Result<Bytes, ServiceError> {
    let ask = match request {
        [] => Ask::default(),
        body => serde_json::from_slice(body).map_err(|error| bad(&error.to_string()))?,
    };
    if ask.limit > MOST {
        return Err(bad(&format!("`limit` must be 0 to {MOST}")));
    }
    let mut report = report(ask);
    loop {
        let text = serde_json::to_vec(&report).expect("words, numbers and times serialise");
        if text.len() <= ANSWER_BYTES {
            return Ok(text.into());
        }
        report.held.truncate(report.held.len() / 2);
    }
}

fn bad(why: &str) -> ServiceError {
    let message = format!("expected an empty request or {{\"limit\": 10}}: {why}");
    ServiceError { code: 400, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(sequence: u64, error: &str) -> Held {
        Held {
            durable: "charge-card".into(),
            saga: "T1".into(),
            sequence,
            attempt: 1,
            charged: 0,
            last_error: Some(error.to_owned()),
            since: Timestamp::UNIX_EPOCH,
            next_try: None,
        }
    }

    fn report(messages: usize, error: &str) -> Report {
        Report {
            saga: "trip".into(),
            worker: "charge-card".into(),
            instance: "charge-card-1".into(),
            breakers: Vec::new(),
            held: (1..).take(messages).map(|sequence| message(sequence, error)).collect(),
            held_total: messages,
        }
    }

    fn read(answer: Result<Bytes, ServiceError>) -> Report {
        serde_json::from_slice(&answer.expect("an answer")).expect("a report")
    }

    #[test]
    fn a_request_names_how_many_messages_it_wants() {
        let some = |ask: Ask| report(ask.limit.min(3), "");
        assert_eq!(read(answer(b"", &some)).held.len(), 3);
        assert_eq!(read(answer(b"{}", &some)).held.len(), 3);
        assert_eq!(read(answer(br#"{"limit":2}"#, &some)).held.len(), 2);
    }

    #[test]
    fn a_bad_request_is_told_what_is_expected() {
        for body in ["{", "[]x", "\0\u{1}", r#"{"limit":-1}"#, r#"{"limit":1001}"#, r#"{"no":1}"#] {
            let error = answer(body.as_bytes(), &|_| report(0, "")).expect_err(body);
            assert_eq!(error.code, 400, "{body}");
            assert!(error.message.contains("expected an empty request"), "{}", error.message);
        }
    }

    #[test]
    fn an_answer_always_fits_into_one_message_and_still_counts_all() {
        let worst = "\u{10348}".repeat(200);
        let answer = answer(b"", &|_| report(MOST, &worst)).expect("an answer");
        assert!(answer.len() <= ANSWER_BYTES, "{}", answer.len());
        let report: Report = serde_json::from_slice(&answer).expect("a report");
        assert_eq!(report.held_total, MOST);
        assert!(report.held.len() < MOST);
    }
}
