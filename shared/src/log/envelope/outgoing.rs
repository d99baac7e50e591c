//! The way out: the structured form. The id is derived from saga, slot, type and source, so that
//! two replicas that decide the same write an event of the same id.

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::Cause;
use crate::ids::event_id;
use crate::{Flow, SagaId, Slot};

/// Room for what stands around the data of an event, in bytes, so that its text seldom moves.
const ENVELOPE: usize = 768;

/// An event on its way into a slot.
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub slot: Slot,
    pub payload: Bytes,
}

#[derive(Serialize)]
struct Wire<'e> {
    specversion: &'static str,
    id: Uuid,
    #[serde(rename = "type")]
    event_type: &'static str,
    source: &'static str,
    subject: &'e str,
    time: Timestamp,
    datacontenttype: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    causationid: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    causationseq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    causationseal: Option<Uuid>,
    traceparent: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    startedat: Option<Timestamp>,
    data: &'e RawValue,
}

/// Why an event is written, and when.
#[derive(Debug, Clone)]
pub struct Occasion {
    pub cause: Option<Cause>,
    /// Of the causing message; a new trace begins if it has none.
    pub traceparent: Option<String>,
    pub time: Timestamp,
    /// Says that the cause was delivered from the log, if its writer says so
    /// ([`KeyNamespace::seal`](crate::KeyNamespace::seal)).
    pub seal: Option<Uuid>,
    /// Of a step's run or undo.
    pub work: Option<Work>,
}

/// How the work behind an event went, for readers of the saga's story; it decides nothing.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    /// The attempt that succeeded, counted from 1 within one process and one delivery.
    pub attempt: u32,
    /// When the first attempt began, by the worker's estimate of the broker's clock.
    pub started: Timestamp,
}

impl Outgoing {
    /// The structured form of an event for `slot`, by `source`.
    pub fn new(
        flow: &Flow,
        slot: Slot,
        source: &'static str,
        (event_type, data): (&'static str, &RawValue),
        occasion: &Occasion,
    ) -> Self {
        let id = event_id(flow.saga, slot.saga(), slot.name(), event_type, source);
        let wire = Wire {
            specversion: "1.0",
            id,
            event_type,
            source,
            subject: slot.saga().as_str(),
            time: occasion.time,
            datacontenttype: "application/json",
            causationid: occasion.cause.as_ref().map(|cause| cause.id.as_str()),
            causationseq: occasion.cause.as_ref().map(|cause| cause.sequence),
            causationseal: occasion.seal,
            traceparent: traceparent(occasion.traceparent.as_deref(), flow, slot.saga(), id),
            attempt: occasion.work.map(|work| work.attempt),
            startedat: occasion.work.map(|work| work.started),
            data,
        };
        let mut payload = Vec::with_capacity(ENVELOPE + data.get().len());
        serde_json::to_writer(&mut payload, &wire).expect("strings and numbers always serialise");
        Self { slot, payload: payload.into() }
    }
}

/// W3C trace context: the trace of the cause; the span is the event.
fn traceparent(cause: Option<&str>, flow: &Flow, saga: &SagaId, id: Uuid) -> String {
    format!("00-{}-{:016x}-01", trace(cause, flow, saga), id.as_u64_pair().0)
}

/// The trace that a `traceparent` names, in 32 hexadecimal digits, or one derived from the saga
/// where there is none: so all events of a saga that its client did not trace have one trace.
pub fn trace(traceparent: Option<&str>, flow: &Flow, saga: &SagaId) -> String {
    let given = traceparent
        .and_then(|text| text.get(3..35))
        .filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()) && hex.bytes().any(|b| b != b'0'));
    let derived = || event_id(flow.saga, saga, "", "trace", "").simple().to_string();
    given.map_or_else(derived, str::to_owned)
}
