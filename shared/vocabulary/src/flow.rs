//! The words a flow table is written in, and everything that is derived from a table.
//!
//! Nobody types a subject, a filter or a durable's name: all of them come from here, so that they
//! cannot disagree. [`Flow::check`](crate::flow::Flow::check) says what makes a table illegal.

mod check;
mod durable;
mod picture;
mod services;
mod table;

pub use check::Illegal;
pub use durable::{Durable, Role};

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

/// An entry of the table: a slot and the one event it holds.
pub const fn opens(slot: &'static str, event: &'static str) -> Entry {
    Entry { slot, event }
}

/// A row of the table; the methods below fill it in, in reading order.
pub const fn step(worker: &'static str) -> Row {
    Row {
        worker,
        on: "",
        slot: "",
        done: "",
        refused: None,
        undo: None,
        pivot: None,
        cancelled: None,
        requires: &[],
        prefers: &[],
        keeps: None,
    }
}

impl Row {
    /// The slot whose event triggers `run`: the slot of the row before, or the opening one.
    pub const fn on(self, slot: &'static str) -> Self {
        Self { on: slot, ..self }
    }

    /// The slot of the decision, and the types of a success and of a refusal.
    pub const fn writes(
        self,
        slot: &'static str,
        done: &'static str,
        refused: &'static str,
    ) -> Self {
        Self { slot, done, refused: Some(refused), ..self }
    }

    /// The slot of the decision of a step that never refuses, and the type of a success.
    pub const fn always_writes(self, slot: &'static str, done: &'static str) -> Self {
        Self { slot, done, ..self }
    }

    /// The slot and the types that record that the effect is taken back.
    pub const fn undone_by(self, slot: &'static str, events: &'static [&'static str]) -> Self {
        Self { undo: Some(Undo { slot, events }), ..self }
    }

    /// Before `run`, the step writes `go` into the pivot's slot, unless `stop` is there already.
    pub const fn after_pivot(
        self,
        slot: &'static str,
        go: &'static str,
        stop: &'static str,
    ) -> Self {
        Self { pivot: Some(Pivot { slot, go, stop }), ..self }
    }

    /// The slot and the types that close the saga: completed, or undone.
    pub const fn closes(
        self,
        slot: &'static str,
        completed: &'static str,
        cancelled: &'static str,
    ) -> Self {
        Self { slot, done: completed, cancelled: Some(cancelled), ..self }
    }

    /// Names of outside services, as in the configuration: `payment-gateway`.
    pub const fn requires(self, dependencies: &'static [&'static str]) -> Self {
        Self { requires: dependencies, ..self }
    }

    /// Names of outside services, as in the configuration: `quote-service`.
    pub const fn prefers(self, dependencies: &'static [&'static str]) -> Self {
        Self { prefers: dependencies, ..self }
    }

    /// The worker's own stream, and its subjects.
    pub const fn keeps(self, stream: &'static str, subjects: &'static [&'static str]) -> Self {
        Self { keeps: Some(Keeps { stream, subjects }), ..self }
    }
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
        events.push((self.turns.slot, self.turns.event));
        for undo in self.undoable().rev().filter_map(|step| step.undo) {
            events.extend(undo.events.iter().map(|event| (undo.slot, *event)));
        }
        events
    }

    /// The slot `name` of one saga; there is no other way to a subject that is written with a
    /// guard. `name` must be one of the table's; this is not checked.
    pub fn slot(&'static self, name: &'static str, saga: &SagaId) -> Slot {
        Slot { subject: format!("{}.{name}.{saga}", self.subjects), name, saga: saga.clone() }
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
