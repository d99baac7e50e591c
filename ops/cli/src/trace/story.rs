//! From stored messages to a story: pure, so that it can be tested without a broker.

use jiff::Timestamp;
use quadrille::broker::Stored;
use quadrille::log::envelope::Envelope;
use quadrille::log::slots;
use quadrille::log::slots::Entry;
use quadrille::{Flow, SagaId};
use serde::{Deserialize, Serialize};

use super::state::{self, Phase, State};

/// All that the log holds of one order.
#[derive(Debug, Serialize)]
pub(crate) struct Story {
    pub(crate) id: SagaId,
    #[serde(flatten)]
    pub(crate) state: State,
    /// From the order until its end, or its newest event so far.
    pub(crate) took_ms: Option<f64>,
    /// In the order in which they were stored.
    pub(crate) events: Vec<Line>,
    pub(crate) parked: Vec<Parked>,
}

/// One event.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) sequence: u64,
    pub(crate) slot: String,
    pub(crate) kind: Kind,
    #[serde(rename = "type")]
    pub(crate) event_type: String,
    /// The worker, or `client`.
    pub(crate) source: String,
    /// Of a refusal or a stop.
    pub(crate) reason: Option<String>,
    /// By the broker's clock.
    pub(crate) stored_at: Timestamp,
    pub(crate) since_placed_ms: Option<f64>,
    /// What was reacted to.
    pub(crate) cause: Option<Cause>,
    pub(crate) attempt: Option<u64>,
    pub(crate) wait_ms: Option<f64>,
    pub(crate) work_ms: Option<f64>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Cause {
    pub(crate) sequence: u64,
    /// Its slot, where it is one of this order's.
    pub(crate) slot: Option<String>,
}

/// What an event means for the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Forward,
    /// A step said no, or the saga was stopped or turned around.
    Refusal,
    /// Something is taken back, or the end of that.
    Undo,
    /// Unreadable, or written by somebody who may not write this slot: it counts for nothing.
    Alien,
}

/// A message of this order that was set aside.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Parked {
    pub(crate) parked_at: Timestamp,
    pub(crate) durable: String,
    pub(crate) reason: String,
    pub(crate) pointer: String,
    pub(crate) message: String,
    pub(crate) deliveries: u64,
    /// Of the message itself.
    pub(crate) subject: String,
    pub(crate) sequence: u64,
}

/// Attributes that only a reader of the story wants.
#[derive(Debug, Default, Deserialize)]
struct Marks {
    attempt: Option<u64>,
    startedat: Option<Timestamp>,
}

impl Story {
    pub(crate) fn phase(&self) -> Phase {
        self.state.phase
    }
}

/// Tells the story; `events` are in stream order.
pub(crate) fn tell(flow: &Flow, saga: &SagaId, events: &[Stored], parked: &[Stored]) -> Story {
    let placed_at = at(flow, events, flow.opens.slot);
    let lines: Vec<_> = events.iter().map(|event| line(flow, saga, events, event)).collect();
    let parked: Vec<Parked> =
        parked.iter().filter_map(|stored| serde_json::from_slice(&stored.payload).ok()).collect();
    let last = at(flow, events, flow.closing().slot)
        .or_else(|| events.iter().map(|event| event.stored_at).max());
    Story {
        id: saga.clone(),
        state: state::state(flow, saga, events, &parked),
        took_ms: placed_at.zip(last).map(|(from, to)| milliseconds(from, to)),
        events: lines,
        parked,
    }
}

/// When the broker stored what `slot` holds.
fn at(flow: &Flow, events: &[Stored], slot: &str) -> Option<Timestamp> {
    let is = |event: &&Stored| flow.parse_subject(&event.subject).is_some_and(|(s, _)| s == slot);
    events.iter().find(is).map(|event| event.stored_at)
}

fn slot_of<'e>(flow: &Flow, event: &'e Stored) -> &'e str {
    flow.parse_subject(&event.subject).map_or("", |(slot, _)| slot)
}

fn line(flow: &Flow, saga: &SagaId, events: &[Stored], event: &Stored) -> Line {
    let slot = slot_of(flow, event);
    let record = slots::record(flow, slot, saga, event);
    let expected = if slot == flow.opens.slot { flow.opens.event } else { "" };
    let envelope = Envelope::read(flow, slot, saga, expected, event).ok();
    let cause = envelope.and_then(|envelope| envelope.cause);
    let caused_by = |sequence| events.iter().find(|event| event.sequence == sequence);
    let before = cause.as_ref().and_then(|cause| caused_by(cause.sequence));
    let marks: Marks = serde_json::from_slice(&event.payload).unwrap_or_default();
    // An estimate of the broker's clock may be a few milliseconds off; nobody began before the
    // cause was there, and wait and work are to add up.
    let began = marks.startedat.map(|began| {
        let earliest = before.map_or(began, |cause| cause.stored_at).min(event.stored_at);
        began.clamp(earliest, event.stored_at)
    });
    let wait = before.zip(began);
    Line {
        sequence: event.sequence,
        slot: slot.to_owned(),
        kind: kind(flow, saga, slot, event),
        event_type: record.as_ref().map_or_else(String::new, |record| record.event_type.clone()),
        source: record.as_ref().map_or_else(String::new, |record| record.source.clone()),
        reason: record.map(|record| record.reason).filter(|reason| !reason.is_empty()),
        stored_at: event.stored_at,
        since_placed_ms: at(flow, events, flow.opens.slot)
            .map(|placed| milliseconds(placed, event.stored_at)),
        attempt: marks.attempt,
        wait_ms: wait.map(|(cause, began)| milliseconds(cause.stored_at, began)),
        work_ms: began.map(|began| milliseconds(began, event.stored_at)),
        cause: cause.map(|cause| Cause {
            sequence: cause.sequence,
            slot: before.map(|event| slot_of(flow, event).to_owned()),
        }),
    }
}

fn kind(flow: &Flow, saga: &SagaId, slot: &str, event: &Stored) -> Kind {
    if slot == flow.opens.slot {
        let readable = slots::record(flow, slot, saga, event).is_some();
        return if readable { Kind::Forward } else { Kind::Alien };
    }
    if slot == flow.turns.slot {
        return Kind::Refusal;
    }
    for step in flow.steps {
        let pivot = step.pivot.is_some_and(|pivot| pivot.slot == slot);
        let undo = step.undo.is_some_and(|undo| undo.slot == slot);
        let entry = match slot {
            _ if slot == step.slot => slots::decision(flow, step, saga, event),
            _ if pivot => slots::pivot(flow, step, saga, event),
            _ if undo => slots::undone(flow, step, saga, event),
            _ => continue,
        };
        return match entry {
            Entry::Alien => Kind::Alien,
            Entry::Done(_) if undo => Kind::Undo,
            Entry::Done(_) => Kind::Forward,
            Entry::Refused(_) if step.cancelled.is_some() => Kind::Undo,
            Entry::Refused(_) => Kind::Refusal,
        };
    }
    // A slot of a newer flow, or of a client's wish: shown, and judged by nobody here.
    Kind::Forward
}

/// From one time of the broker to another.
pub(crate) fn milliseconds(from: Timestamp, to: Timestamp) -> f64 {
    // Rounded to microseconds, so that JSON shows no noise.
    (to.duration_since(from).as_secs_f64() * 1e6).round() / 1e3
}
