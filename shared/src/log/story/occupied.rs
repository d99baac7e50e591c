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
    pub kind: Obstacle,
    /// Each such slot, `payment`, and the sequence of the message in it: the one that is in the way
    /// now, and then the others, because each may be in the way later.
    taken: Vec<(String, u64)>,
}

/// What a saga with an occupied slot can still do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// It was never opened, and could not end.
    Spent,
    /// The same, because its workers' events outlived the message that opened it.
    Leftover,
    /// It is open, and can be taken back, because the slot of its pivot is free.
    Stoppable,
    /// It is open, and nothing can end it.
    Barred,
}

impl Line {
    /// Whether neither worker that may write its slot wrote it. What names one of them may be of a
    /// newer version than is known here.
    pub fn is_foreign(&self, flow: &Flow) -> bool {
        let row = flow.steps.iter().find(|row| slots(row).contains(&Some(&*self.slot)));
        let may_write = row.is_some_and(|row| self.source == row.worker)
            || self.source == flow.closing().worker;
        self.kind == Kind::Alien && !may_write
    }
}

/// Those that are written for a step.
fn slots(row: &Row) -> [Option<&'static str>; 3] {
    [row.pivot.map(|pivot| pivot.slot), Some(row.slot), row.undo.map(|undo| undo.slot)]
}

impl Story {
    /// What occupies the slot that is to be written next; of a saga that was never opened, any slot
    /// that a worker would write, because no worker writes before the opening.
    pub fn occupied(&self, flow: &Flow) -> Option<Occupied> {
        let workers: Vec<_> = flow.steps.iter().flat_map(slots).flatten().collect();
        let is_a_workers = |line: &&Line| workers.contains(&&*line.slot);
        let (foreign, own): (Vec<_>, Vec<_>) =
            self.events.iter().filter(is_a_workers).partition(|line| line.is_foreign(flow));
        let taken = |lines: &[&Line]| {
            lines.iter().map(|line| (line.slot.clone(), line.sequence)).collect::<Vec<_>>()
        };
        match self.state.phase {
            Phase::Completed | Phase::Cancelled => None,
            Phase::Unknown if !own.is_empty() => {
                Some(Occupied { kind: Obstacle::Leftover, taken: taken(&own) })
            }
            Phase::Unknown => (!foreign.is_empty())
                .then(|| Occupied { kind: Obstacle::Spent, taken: taken(&foreign) }),
            Phase::Open | Phase::Parked | Phase::Cancelling => {
                let next = self.next_slots(flow);
                let now =
                    next.iter().find_map(|next| foreign.iter().find(|it| it.slot == *next))?;
                let others: Vec<_> = foreign.iter().filter(|it| it.slot != now.slot).collect();
                let is_free = |slot: &str| self.events.iter().all(|line| line.slot != slot);
                // What would record that it is taken back must be free, too.
                let kind = match next[..] {
                    [pivot, _] if is_free(pivot) && others.is_empty() => Obstacle::Stoppable,
                    _ => Obstacle::Barred,
                };
                let all: Vec<_> = [now].into_iter().chain(others).copied().collect();
                Some(Occupied { kind, taken: taken(&all) })
            }
        }
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
                "this id is spent: {taken}, though what opened it is not in the log any more; take \
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
