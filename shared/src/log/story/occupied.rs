//! Slots that a worker has to write, and that hold what no worker wrote. A slot is written once, so
//! what it would say can never be recorded.

use super::{Kind, Line, Phase, Story};
use crate::Flow;
use crate::flow::Row;

/// Where the way out for a saga that is open is told, as a reader of the repository finds it.
const RUNBOOK: &str = "Quadrille's ops/runbooks/occupied-slot.md";

/// What is in the way of a saga, in words for every tool that tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occupied {
    /// Each such slot, `payment`, and the sequence of the message in it. The first is in the way
    /// now; all of them are named, because each may be in the way later.
    taken: Vec<(String, u64)>,
    /// Whether the saga was opened all the same.
    pub is_opened: bool,
    /// Whether it can be taken back all the same, because the slot of its pivot is free.
    pub can_be_stopped: bool,
}

impl Line {
    /// Whether no worker wrote it. What names a worker of the flow as its source may be of a newer
    /// version than is known here.
    pub fn is_foreign(&self, flow: &Flow) -> bool {
        self.kind == Kind::Alien && flow.row(&self.source).is_none()
    }
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
        let slots = |step: &Row| {
            [step.pivot.map(|pivot| pivot.slot), Some(step.slot), step.undo.map(|undo| undo.slot)]
        };
        let slots: Vec<_> = flow.steps.iter().flat_map(slots).flatten().collect();
        let is_a_workers = |line: &&Line| slots.contains(&&*line.slot);
        let (mut foreign, own): (Vec<_>, Vec<_>) =
            self.events.iter().filter(is_a_workers).partition(|line| line.is_foreign(flow));
        let mut can_be_stopped = false;
        if is_opened {
            let next = self.next_slots(flow);
            let first = next.iter().find_map(|next| foreign.iter().position(|it| it.slot == *next));
            foreign[..=first?].rotate_right(1);
            let is_free = |slot: &str| self.events.iter().all(|line| line.slot != slot);
            can_be_stopped = next.len() > 1 && is_free(next[0]);
        } else if !own.is_empty() {
            // Its opening was taken out of the log.
            return None;
        }
        let taken: Vec<_> = foreign.iter().map(|it| (it.slot.clone(), it.sequence)).collect();
        (!taken.is_empty()).then_some(Occupied { taken, is_opened, can_be_stopped })
    }

    /// The slots that are to be written next: that of a pivot, if it comes first, and the step's.
    pub(crate) fn next_slots(&self, flow: &Flow) -> Vec<&str> {
        let next = self.state.waits_for.as_ref().map(|waits| &*waits.slot);
        let pivot = next.and_then(|slot| flow.decides(slot)?.pivot).map(|pivot| pivot.slot);
        pivot.into_iter().chain(next).collect()
    }
}

impl Occupied {
    /// Whether no wish to cancel the saga can be granted.
    pub fn bars_cancelling(&self) -> bool {
        self.is_opened && !self.can_be_stopped
    }

    /// The sequence of the message that is in the way now.
    pub fn sequence(&self) -> u64 {
        self.taken[0].1
    }

    /// What it is; of a saga that was never opened, what to do, too.
    pub fn what(&self) -> String {
        let taken = match &self.taken[..] {
            [(slot, sequence)] => format!("its slot {slot} is taken by message {sequence}"),
            all => format!(
                "its slots {} are taken by {}",
                listed(all.iter().map(|(slot, _)| slot.clone())),
                self.messages()
            ),
        };
        match self.is_opened {
            true => format!("{taken}, which no worker wrote"),
            false => format!("this id is spent: {taken}, which no worker wrote; take another id"),
        }
    }

    /// What lets a saga that is open go on.
    pub fn way_out(&self) -> String {
        format!("the way out is to take {} out of the log, as {RUNBOOK} says", self.messages())
    }

    /// What it is, and the way out if it needs one.
    pub fn sentence(&self) -> String {
        match self.is_opened {
            true => format!("{}; {}", self.what(), self.way_out()),
            false => self.what(),
        }
    }

    fn messages(&self) -> String {
        let several = if self.taken.len() > 1 { "messages" } else { "message" };
        format!("{several} {}", listed(self.taken.iter().map(|(_, at)| at.to_string())))
    }
}

/// `a, b and c`.
fn listed(all: impl Iterator<Item = String>) -> String {
    let mut all: Vec<_> = all.collect();
    let last = all.pop().unwrap_or_default();
    if all.is_empty() { last } else { format!("{} and {last}", all.join(", ")) }
}
