//! The story of a saga: from the messages that the log holds of it to what happened, why it
//! happened, and whose turn it is.
//!
//! Pure: a reader that has the messages can tell the story, without a broker and without a
//! projection. It prints nothing; a reader that shows a story decides how it looks.

mod fact;
mod state;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::envelope::Envelope;
use super::parked::Parked;
use super::slots;
use crate::broker::Stored;
use crate::{Flow, SagaId};

pub use fact::{Fact, Marks};
pub use state::{Phase, State, Turn, Waits};

/// All that the log holds of one saga. Times are the broker's; `_ms` are milliseconds, with
/// microseconds behind the point.
#[derive(Debug, Serialize)]
pub struct Story {
    pub id: SagaId,
    #[serde(flatten)]
    pub state: State,
    /// From the opening until the end, or until the newest event so far; `None` where the opening
    /// is not in the log.
    pub took_ms: Option<f64>,
    /// In the order in which they were stored; empty for a saga that the log does not have.
    pub events: Vec<Line>,
    /// In the order in which they were set aside; one that has been released since is still here.
    pub parked: Vec<Parked>,
    /// What brings back a parked message that was not set aside again since.
    #[serde(skip)]
    pub(crate) coming: Vec<Coming>,
}

/// A parked message on its way back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Coming {
    /// The parked message.
    pub(crate) parked: Parked,
    /// The release's, on the stream of parked messages.
    pub(crate) sequence: u64,
    /// When the release was stored.
    pub(crate) stored_at: Timestamp,
}

/// One event.
#[derive(Debug, Serialize)]
pub struct Line {
    /// Of the message in the log.
    pub sequence: u64,
    /// `payment`; a slot that the flow table does not have is shown as it is.
    pub slot: String,
    pub kind: Kind,
    /// `payment.charged.v1`; empty where the message cannot be read.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The worker, or `client`; empty where the message cannot be read.
    pub source: String,
    /// Of a refusal or a stop.
    pub reason: Option<String>,
    pub stored_at: Timestamp,
    /// From the opening until this event was stored. Its name in JSON is the order saga's, and
    /// stays, because scripts read it.
    #[serde(rename = "since_placed_ms")]
    pub since_opened_ms: Option<f64>,
    /// What was reacted to.
    pub cause: Option<Cause>,
    /// The one that succeeded, of those of one process at one delivery; 1 for the first.
    pub attempt: Option<u64>,
    /// From the cause being stored until the worker began, by the worker's estimate of the
    /// broker's clock.
    pub wait_ms: Option<f64>,
    /// From then until the event was stored.
    pub work_ms: Option<f64>,
}

/// The message that an event reacted to.
#[derive(Debug, Serialize)]
pub struct Cause {
    pub sequence: u64,
    /// Its slot, where it is one of this saga's.
    pub slot: Option<String>,
}

/// What an event means for the saga.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Forward,
    /// A step said no, or the saga was stopped or turned around.
    Refusal,
    /// Something is taken back, or the end of that.
    Undo,
    /// Unreadable, or written by a worker that may not write this slot: it counts for nothing.
    Alien,
}

impl Story {
    /// Whether it is too late to cancel the saga: it went past its pivot, or is completed.
    pub fn is_past_its_pivot(&self, flow: &Flow) -> bool {
        let pivot = flow.steps.iter().find_map(|step| step.pivot);
        let went = |slot: &str| {
            self.events.iter().any(|line| line.slot == slot && line.kind == Kind::Forward)
        };
        let passed =
            self.state.phase == Phase::Completed || pivot.is_some_and(|pivot| went(pivot.slot));
        passed && self.state.turned_by.is_none()
    }
}

/// Tells the story of `saga`.
///
/// `events` are all messages of [`Flow::story`] in stream order, at most one a slot; `parked` are
/// those of [`parked::filters`](super::parked::filters). It never fails: an event that cannot be
/// read is [`Kind::Alien`], and a parked message that cannot be read is left out.
pub fn tell(flow: &Flow, saga: &SagaId, events: &[Stored], parked: &[Stored]) -> Story {
    let (releases, entries): (Vec<_>, Vec<_>) =
        parked.iter().partition(|stored| flow.parse_released(&stored.subject).is_some());
    let comes_by = |stored: &Stored| {
        let released = stored.subject.replacen("parked.", "released.", 1);
        let mut later = releases.iter().filter(|release| release.sequence > stored.sequence);
        later.find(|release| release.subject == released)
    };
    let (mut parked, mut waits, mut coming) = (Vec::new(), Vec::new(), Vec::new());
    for stored in entries {
        let Ok(entry) = serde_json::from_slice::<Parked>(&stored.payload) else { continue };
        parked.push(entry.clone());
        match comes_by(stored) {
            Some(&&Stored { sequence, stored_at, .. }) => {
                coming.push(Coming { parked: entry, sequence, stored_at });
            }
            None => waits.push(entry),
        }
    }
    let log = Log { flow, saga, events };
    let opened_at = log.stored_at(flow.opens.slot);
    let newest = || events.iter().map(|event| event.stored_at).max();
    let facts: Vec<Fact> = events.iter().filter_map(|event| Fact::of(flow, saga, event)).collect();
    let last = log.stored_at(flow.closing().slot).or_else(newest);
    Story {
        id: saga.clone(),
        state: state::state(flow, &facts, &waits),
        took_ms: opened_at.zip(last).map(|(from, to)| milliseconds(from, to)),
        events: events.iter().map(|event| log.line(event)).collect(),
        parked,
        coming,
    }
}

/// From one time of the broker to another; negative where `to` is the earlier one.
pub fn milliseconds(from: Timestamp, to: Timestamp) -> f64 {
    // Rounded to microseconds, so that JSON shows no noise.
    (to.duration_since(from).as_secs_f64() * 1e6).round() / 1e3
}

/// The messages of one saga.
struct Log<'e> {
    flow: &'e Flow,
    saga: &'e SagaId,
    events: &'e [Stored],
}

impl<'e> Log<'e> {
    fn line(&self, event: &'e Stored) -> Line {
        let Self { flow, saga, .. } = *self;
        let slot = self.slot_of(event);
        let record = slots::record(flow, slot, saga, event);
        let expected = if slot == flow.opens.slot { flow.opens.event } else { "" };
        let envelope = Envelope::read(flow, slot, saga, expected, event).ok();
        let cause = envelope.and_then(|envelope| envelope.cause);
        let before = cause.as_ref().and_then(|cause| self.with_sequence(cause.sequence));
        let marks: Marks = serde_json::from_slice(&event.payload).unwrap_or_default();
        let began = marks.began(before.map(|cause| cause.stored_at), event.stored_at);
        let wait = before.zip(began);
        let opened_at = self.stored_at(flow.opens.slot);
        Line {
            sequence: event.sequence,
            slot: slot.to_owned(),
            kind: fact::kind_of(flow, saga, slot, event),
            event_type: record.as_ref().map_or_else(String::new, |it| it.event_type.clone()),
            source: record.as_ref().map_or_else(String::new, |it| it.source.clone()),
            reason: record.map(|record| record.reason).filter(|reason| !reason.is_empty()),
            stored_at: event.stored_at,
            since_opened_ms: opened_at.map(|opened| milliseconds(opened, event.stored_at)),
            attempt: marks.attempt,
            wait_ms: wait.map(|(cause, began)| milliseconds(cause.stored_at, began)),
            work_ms: began.map(|began| milliseconds(began, event.stored_at)),
            cause: cause.map(|cause| Cause {
                sequence: cause.sequence,
                slot: before.map(|event| self.slot_of(event).to_owned()),
            }),
        }
    }

    /// When the broker stored what `slot` holds.
    fn stored_at(&self, slot: &str) -> Option<Timestamp> {
        self.events.iter().find(|event| self.slot_of(event) == slot).map(|event| event.stored_at)
    }

    fn with_sequence(&self, sequence: u64) -> Option<&'e Stored> {
        self.events.iter().find(|event| event.sequence == sequence)
    }

    fn slot_of<'s>(&self, event: &'s Stored) -> &'s str {
        self.flow.parse_subject(&event.subject).map_or("", |(slot, _)| slot)
    }
}

#[cfg(test)]
mod tests;
