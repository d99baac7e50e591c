//! Where a saga stands, and whose turn it is: derived from the flow table and the slots.

use jiff::Timestamp;
use serde::Serialize;

use crate::broker::Stored;
use crate::flow::Row;
use crate::log::parked::Parked;
use crate::log::slots::{self, Entry, Record};
use crate::{Flow, SagaId};

/// Where a saga stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct State {
    #[serde(rename = "state")]
    pub phase: Phase,
    /// Whose turn it is; `None` at the end, and where the event that it would react to is not in
    /// the log.
    pub waits_for: Option<Waits>,
    /// What turned the saga around.
    pub turned_by: Option<Turn>,
}

/// How far a saga is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    Completed,
    /// Everything that was done is taken back.
    Cancelled,
    /// Refused or stopped, and not everything is taken back yet.
    Cancelling,
    /// On its way.
    Open,
    /// On its way, and the message that comes next was set aside for a human.
    Parked,
    /// Not in this log, or not opened: what is there counts for nothing.
    Unknown,
}

/// A worker whose turn it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Waits {
    /// `book-hotel`.
    pub worker: String,
    /// The slot it has to write: `hotel`.
    pub slot: String,
    /// When the broker stored the event that the worker reacts to.
    pub since: Timestamp,
}

/// The refusal or the stop that turned a saga around: the first in flow order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Turn {
    /// Where it is: `payment`.
    pub slot: String,
    /// The worker that wrote it.
    pub by: String,
    /// A short code: `out-of-stock`.
    pub reason: String,
}

/// The slots of one saga.
struct Slots<'e> {
    flow: &'e Flow,
    saga: &'e SagaId,
    events: &'e [Stored],
}

pub(super) fn state(flow: &Flow, saga: &SagaId, events: &[Stored], parked: &[Parked]) -> State {
    let slots = Slots { flow, saga, events };
    let turned_by = slots.turn();
    let state = |phase, waits_for| State { phase, waits_for, turned_by: turned_by.clone() };
    match slots.decision(flow.closing()) {
        Some(Entry::Done(_)) => return state(Phase::Completed, None),
        Some(Entry::Refused(_)) => return state(Phase::Cancelled, None),
        Some(Entry::Alien) | None => {}
    }
    if slots.holds(flow.opens.slot).is_none() {
        return state(Phase::Unknown, None);
    }
    let waits_for = slots.whose_turn(turned_by.as_ref());
    let set_aside = waits_for.as_ref().is_some_and(|waits| slots.trigger_is_parked(waits, parked));
    let phase = match turned_by {
        Some(_) => Phase::Cancelling,
        None if set_aside => Phase::Parked,
        None => Phase::Open,
    };
    state(phase, waits_for)
}

impl Slots<'_> {
    /// Whether the waiting worker has set aside what it would react to.
    fn trigger_is_parked(&self, waits: &Waits, parked: &[Parked]) -> bool {
        let trigger = self.flow.row(&waits.worker).and_then(|step| self.holds(step.on));
        trigger.is_some_and(|trigger| {
            parked.iter().any(|entry| {
                entry.sequence == trigger.sequence && entry.durable.starts_with(&waits.worker)
            })
        })
    }

    fn holds(&self, slot: &str) -> Option<&Stored> {
        let is = |event: &&Stored| {
            self.flow.parse_subject(&event.subject).is_some_and(|(name, _)| name == slot)
        };
        self.events.iter().find(is)
    }

    fn decision(&self, step: &Row) -> Option<Entry> {
        self.holds(step.slot).map(|stored| slots::decision(self.flow, step, self.saga, stored))
    }

    fn undone(&self, step: &Row) -> bool {
        let stored = step.undo.and_then(|undo| self.holds(undo.slot));
        let entry = stored.map(|stored| slots::undone(self.flow, step, self.saga, stored));
        matches!(entry, Some(Entry::Done(_)))
    }

    /// The first refusal or stop, in flow order.
    fn turn(&self) -> Option<Turn> {
        let turn = |slot: &str, record: Record| Turn {
            slot: slot.to_owned(),
            by: record.source,
            reason: record.reason,
        };
        for step in self.flow.steps.iter().filter(|step| step.refused.is_some()) {
            let stop = step.pivot.and_then(|pivot| {
                let stored = self.holds(pivot.slot)?;
                match slots::pivot(self.flow, step, self.saga, stored) {
                    Entry::Refused(record) => Some(turn(pivot.slot, record)),
                    Entry::Done(_) | Entry::Alien => None,
                }
            });
            if stop.is_some() {
                return stop;
            }
            if let Some(Entry::Refused(record)) = self.decision(step) {
                return Some(turn(step.slot, record));
            }
        }
        None
    }

    fn whose_turn(&self, turn: Option<&Turn>) -> Option<Waits> {
        match turn {
            None => self.forward(),
            Some(turn) => self.backward(turn),
        }
    }

    /// The first step without a decision.
    fn forward(&self) -> Option<Waits> {
        let done = |step: &&Row| matches!(self.decision(step), Some(Entry::Done(_)));
        let next = self.flow.steps.iter().find(|step| !done(step))?;
        self.waits(next.worker, next.slot, next.on)
    }

    /// The signal, then each undo in reverse order from the step that was refused, then the end.
    fn backward(&self, turn: &Turn) -> Option<Waits> {
        let flow = self.flow;
        if self.holds(flow.turns.slot).is_none() {
            return self.waits(&turn.by, flow.turns.slot, &turn.slot);
        }
        let mut woken_by = flow.turns.slot;
        for step in flow.undoable().rev() {
            // Steps after the one that was refused never began.
            let Some(undo) = step.undo.filter(|_| self.decision(step).is_some()) else { continue };
            if !self.undone(step) {
                return self.waits(step.worker, undo.slot, woken_by);
            }
            woken_by = undo.slot;
        }
        let closing = flow.closing();
        self.waits(closing.worker, closing.slot, woken_by)
    }

    fn waits(&self, worker: &str, slot: &str, since: &str) -> Option<Waits> {
        let since = self.holds(since)?.stored_at;
        Some(Waits { worker: worker.to_owned(), slot: slot.to_owned(), since })
    }
}
