//! Where a saga stands, and whose turn it is: derived from the flow table and the slots.

use jiff::Timestamp;
use serde::Serialize;

use super::{Fact, Kind};
use crate::Flow;
use crate::flow::Row;
use crate::log::parked::Parked;

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
    facts: &'e [Fact],
}

impl State {
    /// The state of a saga of which these facts are known, in any order, at most one a slot. What
    /// was set aside is not looked at, so no state is [`Phase::Parked`].
    pub fn of(flow: &Flow, facts: &[Fact]) -> Self {
        state(flow, facts, &[])
    }
}

pub(super) fn state(flow: &Flow, facts: &[Fact], parked: &[Parked]) -> State {
    let slots = Slots { flow, facts };
    let turned_by = slots.turn();
    let state = |phase, waits_for| State { phase, waits_for, turned_by: turned_by.clone() };
    match slots.kind(flow.closing().slot) {
        Some(Kind::Forward) => return state(Phase::Completed, None),
        Some(Kind::Undo) => return state(Phase::Cancelled, None),
        Some(Kind::Refusal | Kind::Alien) | None => {}
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

    fn holds(&self, slot: &str) -> Option<&Fact> {
        self.facts.iter().find(|fact| fact.slot == slot)
    }

    fn kind(&self, slot: &str) -> Option<Kind> {
        self.holds(slot).map(|fact| fact.kind)
    }

    fn undone(&self, step: &Row) -> bool {
        step.undo.and_then(|undo| self.kind(undo.slot)) == Some(Kind::Undo)
    }

    /// The first refusal or stop, in flow order.
    fn turn(&self) -> Option<Turn> {
        let refusal = |slot: &str| {
            let fact = self.holds(slot).filter(|fact| fact.kind == Kind::Refusal)?;
            Some(Turn {
                slot: slot.to_owned(),
                by: fact.source.to_string(),
                reason: fact.reason.to_string(),
            })
        };
        let refusable = self.flow.steps.iter().filter(|step| step.refused.is_some());
        refusable
            .flat_map(|step| step.pivot.map(|pivot| pivot.slot).into_iter().chain([step.slot]))
            .find_map(refusal)
    }

    fn whose_turn(&self, turn: Option<&Turn>) -> Option<Waits> {
        match turn {
            None => self.forward(),
            Some(turn) => self.backward(turn),
        }
    }

    /// The first step without a decision.
    fn forward(&self) -> Option<Waits> {
        let done = |step: &&Row| self.kind(step.slot) == Some(Kind::Forward);
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
        let place = |slot: &str| {
            let is_it =
                |step: &Row| step.slot == slot || step.pivot.is_some_and(|it| it.slot == slot);
            flow.steps.iter().position(is_it)
        };
        for step in flow.undoable().rev() {
            // Steps after the one that was refused never began, whatever is in their slots.
            let began = self.holds(step.slot).is_some() && place(step.slot) <= place(&turn.slot);
            let Some(undo) = step.undo.filter(|_| began) else { continue };
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
