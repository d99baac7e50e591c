//! The words a flow table is written in, and everything that is derived from a table.
//!
//! Nobody types a subject, a filter or a durable's name: all of them come from here, so that they
//! cannot disagree. [`Flow::check`](crate::flow::Flow::check) says what makes a table illegal.

mod check;
mod durable;
mod picture;
mod row;
mod services;
mod table;

pub use check::Illegal;
pub use durable::{Durable, Role};
pub use row::{opens, step};

use std::time::Duration;

use crate::SagaId;

/// One saga type: its stream, and its steps in flow order.
#[derive(Debug, Clone, Copy)]
pub struct Flow {
    /// Names the saga type in ids and keys: `order`.
    pub saga: &'static str,
    /// The stream that is the only source of truth.
    pub stream: &'static str,
    /// First token of every subject.
    pub subjects: &'static str,
    /// What starts a saga; any trusted client may write it.
    pub opens: Entry,
    /// The signal that turns the saga around.
    pub turns: Entry,
    /// The rows, in the order in which they happen.
    pub steps: &'static [Row],
}

/// A slot that belongs to no step, and its event.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    pub slot: &'static str,
    /// A CloudEvents type: `trip.requested.v1`.
    pub event: &'static str,
}

/// One row: what a worker reacts to, and everything that it may write.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Also the name of its package, binary and durable: `book-hotel`.
    pub worker: &'static str,
    /// The slot whose `done` event (or opening event) triggers `run`.
    pub on: &'static str,
    /// The slot of the decision.
    pub slot: &'static str,
    /// The type of the event that records success.
    pub done: &'static str,
    /// The type of the event that records a refusal; `None` if the step cannot refuse, such as the
    /// one that closes the saga.
    pub refused: Option<&'static str>,
    pub undo: Option<Undo>,
    /// The pivot, the point of no return, if it is right before this step.
    pub pivot: Option<Pivot>,
    /// The event that closes the saga if it was undone: `order.cancelled`.
    pub cancelled: Option<&'static str>,
    /// How a client asks that the saga be cancelled; of the row that closes it.
    pub cancels: Option<Cancels>,
    /// The default deadline. Of the row that closes the saga: from the opening until the saga
    /// passes its pivot. Of a step before the pivot: from its trigger until its decision.
    pub within: Option<Duration>,
    /// Outside services without which the step cannot run: while one is away, no message is pulled.
    pub requires: &'static [&'static str],
    /// Outside services that the step can do without: it runs on, with a fallback.
    pub prefers: &'static [&'static str],
    /// The stream in which the worker keeps data of its own; no other worker writes to it.
    pub keeps: Option<Keeps>,
}

/// A stream that belongs to one worker. It keeps the newest message of each subject, and accepts
/// several at once, all or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keeps {
    pub stream: &'static str,
    pub subjects: &'static [&'static str],
}

/// How a step's effect is taken back (*compensation*).
#[derive(Debug, Clone, Copy)]
pub struct Undo {
    pub slot: &'static str,
    /// The types that the slot may hold: each is one way in which the effect was taken back.
    pub events: &'static [&'static str],
}

/// The point of no return before a step: `go` or `stop`, and the first writer wins.
#[derive(Debug, Clone, Copy)]
pub struct Pivot {
    pub slot: &'static str,
    pub go: &'static str,
    pub stop: &'static str,
}

/// How a saga is cancelled from outside.
#[derive(Debug, Clone, Copy)]
pub struct Cancels {
    /// Any client may write it, and only that something is there counts.
    pub asked: Entry,
    /// Why it came too late, or for no saga.
    pub refused: Entry,
}

impl Flow {
    /// The row of `worker`.
    pub fn row(&self, worker: &str) -> Option<&'static Row> {
        self.steps.iter().find(|step| step.worker == worker)
    }

    /// The row that decides `slot`.
    pub fn decides(&self, slot: &str) -> Option<&'static Row> {
        self.steps.iter().find(|step| step.slot == slot)
    }

    /// The row that closes the saga.
    ///
    /// # Panics
    /// When there is none, which [`Flow::check`] finds.
    pub fn closing(&self) -> &'static Row {
        self.steps.iter().find(|step| step.cancelled.is_some()).expect("a checked flow has one end")
    }

    /// How a client asks that a saga be cancelled; `None` if it cannot.
    pub fn cancels(&self) -> Option<Cancels> {
        self.steps.iter().find_map(|step| step.cancels)
    }

    /// The durable of those who ask: `confirm-trip-cancel`.
    ///
    /// # Panics
    /// As [`Flow::closing`].
    pub fn cancel_durable(&self) -> String {
        format!("{}-cancel", self.closing().worker)
    }

    /// Name of the stream of parked messages and of those that are tried again.
    pub fn parked_stream(&self) -> String {
        format!("{}_PARKED", self.stream)
    }

    /// The subject on which a message that `durable` parked comes back:
    /// `released.trips.book-hotel.T1`.
    pub fn released(&self, durable: &str, saga: &SagaId) -> String {
        format!("released.{}.{durable}.{saga}", self.subjects)
    }

    /// Steps that can be undone, in flow order.
    pub fn undoable(&self) -> impl DoubleEndedIterator<Item = &'static Row> + use<> {
        let steps: &'static [Row] = self.steps;
        steps.iter().filter(|step| step.undo.is_some())
    }

    /// The undoable step after `worker`: its undo comes before that of `worker`.
    pub fn undone_before(&self, worker: &str) -> Option<&'static Row> {
        self.undoable().skip_while(|step| step.worker != worker).nth(1)
    }

    /// The decisions from which a saga turns around: each step's slot, and the pivot's.
    pub fn refusable(&self) -> impl Iterator<Item = &'static str> + use<> {
        let steps: &'static [Row] = self.steps;
        steps.iter().flat_map(|step| {
            step.pivot.map(|pivot| pivot.slot).into_iter().chain(step.refused.map(|_| step.slot))
        })
    }

    /// Every slot of the table with each type it may hold, the opening first, then row by row.
    pub fn events(&self) -> Vec<(&'static str, &'static str)> {
        let mut events = vec![(self.opens.slot, self.opens.event)];
        for step in self.steps {
            if let Some(pivot) = step.pivot {
                events.extend([(pivot.slot, pivot.go), (pivot.slot, pivot.stop)]);
            }
            let decision = [Some(step.done), step.refused, step.cancelled].into_iter().flatten();
            events.extend(decision.map(|event| (step.slot, event)));
        }
        let cancels = self.steps.iter().filter_map(|step| step.cancels);
        for Cancels { asked, refused } in cancels {
            events.extend([(asked.slot, asked.event), (refused.slot, refused.event)]);
        }
        events.push((self.turns.slot, self.turns.event));
        for undo in self.undoable().rev().filter_map(|step| step.undo) {
            events.extend(undo.events.iter().map(|event| (undo.slot, *event)));
        }
        events
    }

    /// The slot `name` of one saga; there is no other way to a subject that is written with a
    /// guard. `name` must be one of the table's; this is not checked.
    pub fn slot(&'static self, name: &'static str, saga: &SagaId) -> Slot {
        // Not `format!`, which takes several times as long, because this is the hot path.
        let subject = [self.subjects, name, saga.as_str()].join(".");
        Slot { subject, name, saga: saga.clone() }
    }

    /// The filter that matches `slot` of every saga: `orders.payment.*`.
    pub fn filter(&self, slot: &str) -> String {
        format!("{}.{slot}.*", self.subjects)
    }

    /// The filter that matches every event of one saga: `orders.*.A123`.
    pub fn story(&self, saga: &SagaId) -> String {
        format!("{}.*.{saga}", self.subjects)
    }

    /// Slot name and saga of a subject of this flow, even if the table does not have the slot;
    /// `None` for anything else, wildcards included.
    pub fn parse_subject<'s>(&self, subject: &'s str) -> Option<(&'s str, SagaId)> {
        let rest = subject.strip_prefix(self.subjects)?.strip_prefix('.')?;
        let (slot, id) = rest.split_once('.')?;
        let name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if slot.is_empty() || !slot.bytes().all(name) {
            return None;
        }
        Some((slot, SagaId::parse(id).ok()?))
    }

    /// Durable and saga of a subject that [`Flow::released`] made.
    pub fn parse_released<'s>(&self, subject: &'s str) -> Option<(&'s str, SagaId)> {
        let rest = subject.strip_prefix("released.")?.strip_prefix(self.subjects)?;
        let (durable, id) = rest.strip_prefix('.')?.split_once('.')?;
        Some((durable, SagaId::parse(id).ok()?))
    }
}

/// One exact subject that holds one decision of one saga. It is written once, ever: the guard on it
/// is *optimistic concurrency*, because a write must find it empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Slot {
    subject: String,
    name: &'static str,
    saga: SagaId,
}

impl Slot {
    /// `orders.payment.A123`.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The slot's name in the flow table: `payment`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The saga whose decision it holds.
    pub fn saga(&self) -> &SagaId {
        &self.saga
    }
}
