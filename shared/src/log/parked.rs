//! A message that was set aside (a *dead letter*), as the stream of parked messages holds it: one
//! type for the worker that writes it and for every reader.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::broker::Headers;
use crate::{Flow, SagaId};

/// Why a message was set aside, and where it is in the log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Parked {
    pub parked_at: Timestamp,
    /// The durable whose delivery it was.
    pub durable: String,
    /// A code, lower case with dashes: `invalid-field`.
    pub reason: String,
    /// RFC 6901, within the payload.
    pub pointer: String,
    /// For a human; quotes nothing of the payload.
    pub message: String,
    /// How often it was delivered, this time included.
    pub deliveries: u64,
    /// Of the message itself.
    pub subject: String,
    /// Of the message itself, in the log.
    pub sequence: u64,
}

/// What is stored: the same, with everything needed to try the message again.
#[derive(Debug, Serialize, Deserialize)]
pub struct Entry {
    #[serde(flatten)]
    pub parked: Parked,
    pub stored_at: Timestamp,
    /// As pairs in the body, because foreign text in real headers can crash a reader.
    pub headers: Headers,
    /// All header bytes of a message that no client can read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_headers_base64: Option<String>,
    /// The payload's bytes, whatever they are.
    pub payload_base64: String,
}

/// The subject of a parked message: `parked.<subjects>.<durable>.<saga id>`, and `-` in place of an
/// id that cannot be read.
pub fn subject(flow: &Flow, durable: &str, saga: Option<&SagaId>) -> String {
    let saga = saga.map_or("-", SagaId::as_str);
    format!("parked.{}.{durable}.{saga}", flow.subjects)
}

/// The filter that matches the parked messages of one saga, no matter which durable set them aside.
pub fn filter(flow: &Flow, saga: &SagaId) -> String {
    subject(flow, "*", Some(saga))
}
