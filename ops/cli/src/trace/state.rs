//! Where an order stands, and whose turn it is: derived from the flow table and the slots.

use jiff::Timestamp;
use quadrille::broker::Stored;
use quadrille::flow::Row;
use quadrille::log::slots;
use quadrille::log::slots::Entry;
use quadrille::log::slots::Record;
use quadrille::{Flow, SagaId};
use serde::Serialize;

use super::story::Parked;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct State {
    #[serde(rename = "state")]
    pub(crate) phase: Phase,
    /// Whose turn it is; nobody's at the end.
    pub(crate) waits_for: Option<Waits>,
    /// What turned the order around.
    pub(crate) turned_by: Option<Turn>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    Completed,
    /// Nothing is held, charged or owed.
    Cancelled,
    /// Refused or stopped, and not all is taken back yet.
    Cancelling,
    /// On its way.
    Open,
    /// On its way, and set aside for a human.
    Parked,
    /// Never placed here.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Waits {
    pub(crate) worker: String,
    /// The slot it has to write.
    pub(crate) slot: String,
    /// When the event that it reacts to was stored.
    pub(crate) since: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Turn {
    pub(crate) slot: String,
    pub(crate) by: String,
    pub(crate) reason: String,
}

/// The slots of one order.
struct Slots<'e> {
    flow: &'e Flow,
    saga: &'e SagaId,
    events: &'e [Stored],
}

pub(crate) fn state(flow: &Flow, saga: &SagaId, events: &[Stored], parked: &[Parked]) -> State {
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
    let set_aside = waits_for.as_ref().is_some_and(|waits| is_set_aside(&slots, waits, parked));
    let phase = match turned_by {
        Some(_) => Phase::Cancelling,
        None if set_aside => Phase::Parked,
        None => Phase::Open,
    };
    state(phase, waits_for)
}

/// Whether what the waiting worker would react to has been parked by it.
fn is_set_aside(slots: &Slots<'_>, waits: &Waits, parked: &[Parked]) -> bool {
    let trigger = slots.flow.row(&waits.worker).and_then(|step| slots.holds(step.on));
    trigger.is_some_and(|trigger| {
        parked.iter().any(|entry| {
            entry.sequence == trigger.sequence && entry.durable.starts_with(&waits.worker)
        })
    })
}

impl Slots<'_> {
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
