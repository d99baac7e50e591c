//! A slot that a worker has to write, and that holds what no worker wrote. A slot is written once,
//! so what it would say can never be recorded.

use super::{Kind, Line, Phase, Story};
use crate::Flow;

/// The one way out for a saga that is open, as a reader of the repository finds it.
const RUNBOOK: &str = "ops/runbooks/occupied-slot.md";

/// What is in the way of a saga, in words for every tool that tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occupied {
    /// `payment`.
    pub slot: String,
    /// Of the message that occupies it.
    pub sequence: u64,
    /// Whether the saga was opened all the same.
    pub is_opened: bool,
}

impl Story {
    /// What occupies the slot that is to be written next; of a saga that was never opened, any slot
    /// that a worker would write, because no worker writes before the opening.
    pub fn occupied(&self, flow: &Flow) -> Option<Occupied> {
        let is_opened = match self.state.phase {
            Phase::Completed | Phase::Cancelled => return None,
            Phase::Open | Phase::Parked | Phase::Cancelling => true,
            Phase::Unknown => false,
        };
        let all = flow.steps.iter().flat_map(|step| {
            let (pivot, undo) = (step.pivot.map(|one| one.slot), step.undo.map(|one| one.slot));
            [Some(step.slot), pivot, undo].into_iter().flatten().map(|slot| (slot, step.worker))
        });
        let next = self.state.waits_for.as_ref().map(|waits| &*waits.slot);
        let pivot = next.and_then(|slot| flow.decides(slot)?.pivot).map(|pivot| pivot.slot);
        let is_next = |slot: &str| next.is_none() || next == Some(slot) || pivot == Some(slot);
        let slots: Vec<_> = all.filter(|(slot, _)| is_next(slot)).collect();
        // A newer version of its own worker may have written what this one does not know.
        let own =
            |line: &Line| line.kind != Kind::Alien || slots.contains(&(&*line.slot, &*line.source));
        let in_slot = |line: &&Line| slots.iter().any(|(slot, _)| *slot == line.slot);
        let line = self.events.iter().filter(in_slot).find(|line| !is_opened || !own(line))?;
        Some(Occupied { slot: line.slot.clone(), sequence: line.sequence, is_opened })
    }
}

impl Occupied {
    /// What it is; of a saga that was never opened, what to do, too.
    pub fn what(&self) -> String {
        let Self { slot, sequence, is_opened } = self;
        let taken =
            format!("its slot {slot} is taken by message {sequence}, which no worker wrote");
        match is_opened {
            true => taken,
            false => format!("this id is spent: {taken}; take another id"),
        }
    }

    /// What ends a saga that is open.
    pub fn way_out(&self) -> String {
        format!("{RUNBOOK} has the one way out: it takes message {} out of the log", self.sequence)
    }
}
