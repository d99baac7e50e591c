//! CloudEvents 1.0 around every event: three forms come in, one goes out.
//!
//! In: structured (`application/cloudevents+json`, or an object with `specversion`), binary (`ce-*`
//! headers) and bare JSON, as a stock client sends it. Out: structured.

mod outgoing;

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::event::text;
use crate::ids::event_id;
use crate::{BadData, Event, Flow, Reason, SagaId};

pub use outgoing::{Occasion, Outgoing, Work, trace};

use crate::broker::Stored;

/// The content type of the structured form.
pub const CONTENT_TYPE: &str = "application/cloudevents+json";
/// Longest id of an event, in bytes. It is limited because every event caused by it repeats it.
pub const MAX_ID: usize = 256;
/// The `source` of a message that names none.
pub const CLIENT: &str = "client";

/// What caused an event: the id and stream sequence of the message that the worker reacted to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    pub id: String,
    pub sequence: u64,
}

/// A message of the log, read only as far as is needed to know what it is.
#[derive(Debug, Clone)]
pub struct Envelope<'m> {
    pub id: String,
    pub event_type: Cow<'m, str>,
    pub source: Cow<'m, str>,
    pub cause: Option<Cause>,
    pub traceparent: Option<Cow<'m, str>>,
    /// When its writer says that it wrote it; only a worker's is by the broker's clock.
    pub time: Option<Timestamp>,
    /// See [`Occasion::seal`].
    pub seal: Option<Uuid>,
    /// The JSON of the event's `data`.
    pub data: &'m str,
    /// The JSON pointer of `data` within the payload: empty for bare and binary messages.
    at: &'static str,
}

#[derive(Deserialize)]
struct Structured<'m> {
    #[serde(borrow)]
    specversion: Cow<'m, str>,
    #[serde(borrow)]
    id: Cow<'m, str>,
    #[serde(borrow, rename = "type")]
    event_type: Cow<'m, str>,
    #[serde(borrow)]
    source: Cow<'m, str>,
    #[serde(borrow, default)]
    subject: Option<Cow<'m, str>>,
    #[serde(borrow, default)]
    time: Option<&'m RawValue>,
    #[serde(borrow, default)]
    causationid: Option<Cow<'m, str>>,
    #[serde(default)]
    causationseq: Option<u64>,
    #[serde(borrow, default)]
    causationseal: Option<&'m RawValue>,
    #[serde(borrow, default)]
    traceparent: Option<Cow<'m, str>>,
    #[serde(borrow, default)]
    data: Option<&'m RawValue>,
}

/// Enough of a document to tell an envelope from a bare opening.
#[derive(Deserialize)]
struct Probe {
    specversion: Option<serde::de::IgnoredAny>,
}

impl<'m> Envelope<'m> {
    /// Reads a message of `slot`; a bare message is read as the type `expected`.
    ///
    /// # Errors
    /// [`BadData`] when it is no JSON, no CloudEvent, has an id over [`MAX_ID`], or names a saga
    /// other than its subject's.
    pub fn read(
        flow: &Flow,
        slot: &str,
        saga: &SagaId,
        expected: &str,
        message: &'m Stored,
    ) -> Result<Self, BadData> {
        // Files from Excel, PowerShell and .NET begin with a byte order mark, which it takes.
        let payload =
            text::of(&message.payload).map_err(|what| BadData::new(Reason::NotJson, "", what))?;
        let header = |name: &str| {
            message.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
        };
        if header("content-type").is_some_and(|value| value.starts_with(CONTENT_TYPE)) {
            return Self::structured(payload, saga);
        }
        if let Some(event_type) = header("ce-type") {
            let subject = header("ce-subject");
            same_saga(subject, saga, "")?;
            is_short(header("ce-id").unwrap_or_default(), "")?;
            let source = header("ce-source").unwrap_or(CLIENT);
            let derived = || event_id(flow.saga, saga, slot, event_type, source).to_string();
            return Ok(Self {
                id: header("ce-id").map_or_else(derived, str::to_owned),
                event_type: Cow::Borrowed(event_type),
                source: Cow::Borrowed(source),
                cause: cause(header("ce-causationid"), header("ce-causationseq")),
                traceparent: header("traceparent").map(Cow::Borrowed),
                time: None,
                seal: None,
                data: payload,
                at: "",
            });
        }
        if serde_json::from_str(payload).is_ok_and(|probe: Probe| probe.specversion.is_some()) {
            return Self::structured(payload, saga);
        }
        Ok(Self {
            id: event_id(flow.saga, saga, slot, expected, CLIENT).to_string(),
            event_type: Cow::Owned(expected.to_owned()),
            source: Cow::Borrowed(CLIENT),
            cause: None,
            traceparent: header("traceparent").map(Cow::Borrowed),
            time: None,
            seal: None,
            data: payload,
            at: "",
        })
    }

    fn structured(payload: &'m str, saga: &SagaId) -> Result<Self, BadData> {
        // Serde would accept a list, too.
        if payload.trim_ascii_start().as_bytes().first().is_some_and(|first| *first == b'[') {
            return Err(BadData::new(Reason::InvalidField, "", "not a CloudEvent"));
        }
        let read: Structured<'m> = match serde_json::from_str(payload) {
            Ok(read) => read,
            // Without the place of the mistake: `Structured` borrows, so `parse`, which finds it,
            // cannot read it.
            Err(error) if error.is_data() => {
                return Err(BadData::new(Reason::InvalidField, "", "not a CloudEvent"));
            }
            Err(_) => return Err(BadData::new(Reason::NotJson, "", "not JSON")),
        };
        if read.specversion != "1.0" {
            let what = "only CloudEvents 1.0 is read";
            return Err(BadData::new(Reason::InvalidField, "/specversion", what));
        }
        same_saga(read.subject.as_deref(), saga, "/subject")?;
        is_short(&read.id, "/id")?;
        let Some(data) = read.data else {
            return Err(BadData::new(Reason::InvalidField, "/data", "an event has data"));
        };
        let cause = match (read.causationid, read.causationseq) {
            (Some(id), Some(sequence)) => Some(Cause { id: id.into_owned(), sequence }),
            (Some(_), None) | (None, Some(_)) | (None, None) => None,
        };
        Ok(Self {
            id: read.id.into_owned(),
            event_type: read.event_type,
            source: read.source,
            cause,
            traceparent: read.traceparent,
            time: read.time.and_then(|time| serde_json::from_str(time.get()).ok()),
            seal: read.causationseal.and_then(|seal| serde_json::from_str(seal.get()).ok()),
            data: data.get(),
            at: "/data",
        })
    }

    /// The event inside, checked.
    ///
    /// # Errors
    /// [`Reason::UnknownVersion`] or [`Reason::UnknownType`] when it is not one of `E`'s types, and
    /// what [`Event::from_data`] finds, or every mistake that [`Event::mistakes`] tells; the
    /// pointer is that within the payload.
    pub fn event<E: Event>(&self, saga: &SagaId) -> Result<E, BadData> {
        if !E::TYPES.contains(&self.event_type.as_ref()) {
            return Err(BadData::new(
                unknown(&self.event_type, E::TYPES),
                "/type",
                "cannot be read",
            ));
        }
        let event = E::from_data(&self.event_type, self.data).map_err(|bad| {
            let bad = bad.told_with(&E::mistakes(self.data));
            BadData { pointer: format!("{}{}", self.at, bad.pointer), ..bad }
        })?;
        match event.named_saga() {
            Some((field, named)) if named != saga => {
                let place = format!("{}{field}", self.at);
                Err(BadData::new(Reason::IdMismatch, place, "another id than the subject's"))
            }
            Some(_) | None => Ok(event),
        }
    }
}

/// Another version of a type we know, or no type we know.
fn unknown(event_type: &str, known: &[&str]) -> Reason {
    let name = |text: &str| text.rsplit_once(".v").map(|(name, _)| name.to_owned());
    let versioned = name(event_type);
    if versioned.is_some() && known.iter().any(|known| name(known) == versioned) {
        Reason::UnknownVersion
    } else {
        Reason::UnknownType
    }
}

fn same_saga(subject: Option<&str>, saga: &SagaId, at: &str) -> Result<(), BadData> {
    match subject {
        Some(subject) if subject != saga.as_str() => {
            Err(BadData::new(Reason::IdMismatch, at, "another id than the subject's"))
        }
        Some(_) | None => Ok(()),
    }
}

fn is_short(id: &str, at: &str) -> Result<(), BadData> {
    if id.len() <= MAX_ID {
        return Ok(());
    }
    Err(BadData::new(Reason::InvalidField, at, "an id is at most 256 bytes"))
}

fn cause(id: Option<&str>, sequence: Option<&str>) -> Option<Cause> {
    Some(Cause { id: id?.to_owned(), sequence: sequence?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use schemas::order_fulfilment::FLOW;
    use schemas::order_fulfilment::events::OrderPlaced;

    use super::*;

    fn placed(payload: &'static [u8]) -> Stored {
        Stored {
            subject: "orders.placed.A1".into(),
            sequence: 1,
            stored_at: Timestamp::UNIX_EPOCH,
            headers: Vec::new(),
            payload: payload.into(),
        }
    }

    /// What the command worker would have answered to the same order.
    #[test]
    fn what_is_wrong_is_told_in_the_words_of_its_fields() {
        let saga = SagaId::parse("A1").unwrap();
        let stored = placed(br#"{"customer":7,"payment_method":"pm_1","lines":[]}"#);
        let read = Envelope::read(&FLOW, "placed", &saga, "order.placed.v1", &stored).unwrap();
        let bad = read.event::<OrderPlaced>(&saga).unwrap_err();
        assert_eq!((bad.reason, bad.pointer.as_str()), (Reason::InvalidField, "/customer"));
        assert!(bad.message.starts_with("must be a reference"), "{}", bad.message);
        for other in ["; and 2 more: /", "/ship_to is missing: ", "; /lines an order has at least"]
        {
            assert!(bad.message.contains(other), "{}", bad.message);
        }
    }

    /// A stock client sends what a file holds, whatever that is.
    #[test]
    fn what_is_no_text_is_named() {
        let saga = SagaId::parse("A1").unwrap();
        let said = |payload: &'static [u8]| {
            let stored = placed(payload);
            let read = Envelope::read(&FLOW, "placed", &saga, "order.placed.v1", &stored);
            read.map(|read| read.data.to_owned())
        };
        let bad = |what: &str| Err(BadData::new(Reason::NotJson, "", what));
        assert_eq!(said(b"\x1f\x8b\x08\0"), bad("gzip and not JSON: unpack it first (gunzip)"));
        assert!(said(b"\xff\xfe{\0").unwrap_err().message.contains("iconv"));
        assert_eq!(said(b"{\xe4}"), bad("not UTF-8"));
        assert_eq!(said("\u{feff}{}".as_bytes()), Ok("{}".to_owned()));
    }
}
