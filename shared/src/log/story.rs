//! The story of a saga: from the messages that the log holds of it to what happened, why it
//! happened, and whose turn it is.
//!
//! Pure: a reader that has the messages can tell the story, without a broker and without a
//! projection. It prints nothing; a reader that shows a story decides how it looks.

mod aside;
mod fact;
mod occupied;
mod state;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::envelope::Envelope;
use super::parked::Parked;
use crate::broker::Stored;
use crate::{Flow, SagaId};

pub use aside::{Became, Coming, nearest_slot};
pub use fact::{Fact, Marks};
pub(crate) use occupied::workers_slots;
pub use occupied::{Obstacle, Occupied};
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
    /// Of a refusal, a stop or a wish; a short code.
    pub reason: Option<String>,
    pub stored_at: Timestamp,
    /// From the opening until this event was stored; `None` for what was stored before it, too. Its
    /// name in JSON is the order saga's, and stays, because scripts read it.
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
    /// Its slot, where it is one of this saga's events.
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
    retell(flow, saga, lines(flow, saga, events), parked)
}

/// The events of a story, each as far as itself and its cause tell it: [`retell`] adds the rest.
pub fn lines(flow: &Flow, saga: &SagaId, events: &[Stored]) -> Vec<Line> {
    events.iter().map(|event| Line::of(flow, saga, events, event)).collect()
}

/// The same, for a reader that has kept the [`lines`] of the events, in stream order. What follows
/// from other events, [`Line::since_opened_ms`] and [`Cause::slot`], need not have been kept.
pub fn retell(flow: &Flow, saga: &SagaId, mut events: Vec<Line>, parked: &[Stored]) -> Story {
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
            Some(&&Stored { sequence, stored_at, ref payload, .. }) => {
                let release = serde_json::from_slice(payload).unwrap_or_default();
                coming.push(Coming { parked: entry, sequence, stored_at, release });
            }
            None => waits.push(entry),
        }
    }
    let facts: Vec<_> = events.iter().map(|line| line.fact()).collect();
    let opened_at = events.iter().find(|line| line.slot == flow.opens.slot);
    let opened_at = opened_at.map(|line| line.stored_at);
    let closing = flow.closing().slot;
    let end = events.iter().find(|line| line.slot == closing && line.kind != Kind::Alien);
    let newest = events.iter().map(|line| line.stored_at).max();
    let last = end.map(|line| line.stored_at).or(newest);
    let slots: Vec<_> = events.iter().map(|line| (line.sequence, line.slot.clone())).collect();
    for line in &mut events {
        let opened_at = opened_at.filter(|opened| *opened <= line.stored_at);
        line.since_opened_ms = opened_at.map(|opened| milliseconds(opened, line.stored_at));
        if let Some(cause) = &mut line.cause {
            let known = slots.iter().find(|(sequence, _)| *sequence == cause.sequence);
            cause.slot = known.map(|(_, slot)| slot.clone());
        }
    }
    Story {
        id: saga.clone(),
        state: state::state(flow, &facts, &waits),
        took_ms: opened_at.zip(last).map(|(from, to)| milliseconds(from, to)),
        events,
        parked,
        coming,
    }
}

/// From one time of the broker to another; negative where `to` is the earlier one.
pub fn milliseconds(from: Timestamp, to: Timestamp) -> f64 {
    // To the microsecond, so that JSON shows no noise, and a reader that keeps no more tells the
    // same.
    (to.as_microsecond() - from.as_microsecond()) as f64 / 1e3
}

impl Line {
    /// `events` are all of the saga's.
    fn of(flow: &Flow, saga: &SagaId, events: &[Stored], event: &Stored) -> Self {
        // As it is, even where no slot may be called so.
        let slot = flow
            .parse_subject(&event.subject)
            .map_or_else(|| event.subject.rsplit('.').nth(1).unwrap_or_default(), |(slot, _)| slot);
        let expected = fact::expected(flow, slot);
        let envelope = Envelope::read(flow, slot, saga, expected, event).ok();
        let fact = Fact::from_envelope(flow, slot, envelope.as_ref(), event);
        let cause = envelope.as_ref().and_then(|envelope| envelope.cause.as_ref());
        let cause = cause.map(|cause| cause.sequence);
        // An event that names a later one was not written by us.
        let before = cause.filter(|cause| *cause < event.sequence);
        let before = before.and_then(|cause| events.iter().find(|event| event.sequence == cause));
        let cause_at = before.map(|cause| cause.stored_at);
        let marks: Marks = serde_json::from_slice(&event.payload).unwrap_or_default();
        let began = marks.began(cause_at, event.stored_at);
        Self {
            sequence: event.sequence,
            slot: slot.to_owned(),
            kind: fact.kind,
            event_type: envelope.map_or_else(String::new, |it| it.event_type.into_owned()),
            source: fact.source.into_owned(),
            reason: Some(fact.reason.into_owned()).filter(|reason| !reason.is_empty()),
            stored_at: event.stored_at,
            since_opened_ms: None,
            attempt: marks.attempt,
            wait_ms: cause_at.zip(began).map(|(cause_at, began)| milliseconds(cause_at, began)),
            work_ms: began.map(|began| milliseconds(began, event.stored_at)),
            cause: cause.map(|sequence| Cause { sequence, slot: None }),
        }
    }

    fn fact(&self) -> Fact {
        Fact {
            slot: self.slot.clone().into(),
            kind: self.kind,
            source: self.source.clone().into(),
            reason: self.reason.clone().unwrap_or_default().into(),
            sequence: self.sequence,
            stored_at: self.stored_at,
        }
    }
}

#[cfg(test)]
mod tests;
