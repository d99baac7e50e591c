//! Slots that a worker has to write, and that hold what no worker wrote. A slot is written once, so
//! what it would say can never be recorded.

use super::{Kind, Line, Phase, Story};
use crate::Flow;
use crate::flow::Row;
use crate::log::slots::may_write;

/// Where the way out for a saga that is open is told, as a reader of the repository finds it.
const RUNBOOK: &str = "Quadrille's ops/runbooks/occupied-slot.md";

/// What is in the way of a saga, in words for every tool that tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occupied {
    pub kind: Obstacle,
    /// Each such slot, `payment`, and the sequence of the message in it: the one that is in the way
    /// now, and then the others, because each may be in the way later.
    taken: Vec<(String, u64)>,
}

/// What a saga with an occupied slot can still do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// The log has no opening of it, and what is opened could not end.
    Spent,
    /// The same, because workers' events are there: mostly, they outlived the opening.
    Leftover,
    /// It is open, and can be taken back, because the slot of its pivot is free.
    Stoppable,
    /// It is open, and nothing can end it.
    Barred,
}

impl Line {
    /// Whether a worker that may not write its slot wrote it. What names one that may can be of a
    /// newer version than is known here.
    pub fn is_foreign(&self, flow: &Flow) -> bool {
        self.kind == Kind::Alien && !may_write(flow, &self.slot, &self.source)
    }
}

/// The slots that are written for the steps.
pub(crate) fn workers_slots(flow: &Flow) -> impl Iterator<Item = &'static str> {
    let of_a_step = |row: &Row| {
        [row.pivot.map(|pivot| pivot.slot), Some(row.slot), row.undo.map(|undo| undo.slot)]
    };
    flow.steps.iter().flat_map(of_a_step).flatten()
}

impl Story {
    /// What occupies the slot that is to be written next; where the log has no opening, any slot
    /// that a worker would write, the last one too, because no worker writes before the opening.
    pub fn occupied(&self, flow: &Flow) -> Option<Occupied> {
        let workers: Vec<_> = workers_slots(flow).collect();
        let is_a_workers = |line: &&Line| workers.contains(&&*line.slot);
        let (foreign, own): (Vec<_>, Vec<_>) =
            self.events.iter().filter(is_a_workers).partition(|line| line.is_foreign(flow));
        let by = |kind, lines: &[&Line]| Occupied {
            kind,
            taken: lines.iter().map(|line| (line.slot.clone(), line.sequence)).collect(),
        };
        let is_free = |slot: &str| self.events.iter().all(|line| line.slot != slot);
        if is_free(flow.opens.slot) {
            return match (own.is_empty(), foreign.is_empty()) {
                (false, _) => Some(by(Obstacle::Leftover, &own)),
                (true, false) => Some(by(Obstacle::Spent, &foreign)),
                (true, true) => None,
            };
        }
        match self.state.phase {
            Phase::Completed | Phase::Cancelled | Phase::Unknown => None,
            Phase::Open | Phase::Parked | Phase::Cancelling => {
                let next = self.next_slots(flow);
                let now =
                    next.iter().find_map(|next| foreign.iter().find(|it| it.slot == *next))?;
                let others: Vec<_> = foreign.iter().filter(|it| it.slot != now.slot).collect();
                // What would record that it is taken back must be free, too.
                let kind = match next[..] {
                    [pivot, _] if is_free(pivot) && others.is_empty() => Obstacle::Stoppable,
                    _ => Obstacle::Barred,
                };
                let all: Vec<_> = [now].into_iter().chain(others).copied().collect();
                Some(by(kind, &all))
            }
        }
    }

    /// What keeps a saga that is open from ever ending, so that no wish to cancel it can be
    /// granted.
    pub fn barred(&self, flow: &Flow) -> Option<Occupied> {
        self.occupied(flow).filter(|occupied| occupied.kind == Obstacle::Barred)
    }

    /// The slots that are to be written next: that of a pivot, if it comes first, and the step's.
    pub(crate) fn next_slots(&self, flow: &Flow) -> Vec<&str> {
        let next = self.state.waits_for.as_ref().map(|waits| &*waits.slot);
        let pivot = next.and_then(|slot| flow.decides(slot)?.pivot).map(|pivot| pivot.slot);
        pivot.into_iter().chain(next).collect()
    }
}

impl Occupied {
    /// Whether the saga was opened all the same.
    pub fn is_opened(&self) -> bool {
        matches!(self.kind, Obstacle::Stoppable | Obstacle::Barred)
    }

    /// The sequence of the message that is in the way now.
    pub fn sequence(&self) -> u64 {
        self.taken[0].1
    }

    /// What it is; of a saga that was never opened, what to do, too.
    pub fn what(&self) -> String {
        let slots = listed(self.taken.iter().map(|(slot, _)| slot.clone()));
        let (slot, is) = if self.taken.len() > 1 { ("slots", "are") } else { ("slot", "is") };
        let taken = format!("its {slot} {slots} {is} taken by {}", self.messages());
        match self.kind {
            Obstacle::Spent => {
                format!("this id is spent: {taken}, which no worker wrote; take another id")
            }
            Obstacle::Leftover => format!(
                "this id is spent: {taken}, though there is no opening of it in the log; take \
                 another id"
            ),
            Obstacle::Stoppable | Obstacle::Barred => format!("{taken}, which no worker wrote"),
        }
    }

    /// What lets a saga that is open go on.
    pub fn way_out(&self) -> String {
        format!("the way out is to take {} out of the log, as {RUNBOOK} says", self.messages())
    }

    /// What it is, and the way out if it needs one.
    pub fn sentence(&self) -> String {
        match self.is_opened() {
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
