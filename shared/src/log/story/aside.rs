//! What a message that was set aside, or is in a slot that no flow has, means for its saga.

use jiff::Timestamp;

use super::{Line, Story};
use crate::flow::Row;
use crate::log::parked::{Parked, Release};
use crate::{Flow, Reason};

/// A parked message on its way back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coming {
    /// The parked message.
    pub(crate) parked: Parked,
    /// The release's, on the stream of parked messages.
    pub(crate) sequence: u64,
    /// When the release was stored.
    pub stored_at: Timestamp,
    /// What it says.
    pub release: Release,
}

/// What became of a message after it was set aside.
#[derive(Debug, PartialEq, Eq)]
pub enum Became<'s> {
    /// It waits for a human.
    Waits,
    /// It is tried again, or was, and nothing says how that went.
    Comes(&'s Coming),
    /// Its step, or the whole saga, came to a decision since; perhaps after it was tried again.
    Settled(Option<&'s Coming>),
}

impl Story {
    /// What became of one of [`Story::parked`], by what the log says now.
    pub fn became(&self, flow: &Flow, entry: &Parked) -> Became<'_> {
        let comes = self.coming.iter().find(|coming| coming.parked == *entry);
        let row = flow.row(&entry.durable);
        let decided =
            row.is_some_and(|row| self.decides(flow, row) || self.decides(flow, flow.closing()));
        // Of an effect that no slot records, the decision is the cause and not the end.
        let is_orphan = entry.reason == Reason::OrphanEffect.code();
        match comes {
            None if decided && !is_orphan => Became::Settled(None),
            None => Became::Waits,
            Some(coming) if decided => Became::Settled(Some(coming)),
            Some(coming) => Became::Comes(coming),
        }
    }

    /// What the worker whose turn it is has set aside of what it would react to: where the saga is
    /// [`Phase::Parked`](super::Phase::Parked), the reason why.
    pub fn waits_at(&self, flow: &Flow) -> Option<&Parked> {
        let waits = self.state.waits_for.as_ref()?;
        let step = flow.row(&waits.worker)?;
        let trigger = self.events.iter().find(|line| line.slot == step.on)?;
        let is_it = |entry: &&Parked| {
            entry.sequence == trigger.sequence && entry.durable.starts_with(&waits.worker)
        };
        self.parked.iter().rev().find(is_it)
    }

    /// Whether its opening was last set aside as of a type, or a version of one, that no worker
    /// knows, and nothing is decided since, be it that it is tried again. Such a saga can be taken
    /// back only as far as that it never runs: whether a worker that knew the type has run on it,
    /// only that one can tell.
    pub fn is_of_unknown_opening(&self, flow: &Flow) -> bool {
        let opening = self.events.iter().find(|line| line.slot == flow.opens.slot);
        let entry = opening.and_then(|opening| {
            self.parked.iter().rev().find(|entry| entry.sequence == opening.sequence)
        });
        entry.is_some_and(|entry| {
            let is_settled = matches!(self.became(flow, entry), Became::Settled(_));
            let unknown = [Reason::UnknownType, Reason::UnknownVersion].map(Reason::code);
            unknown.contains(&&*entry.reason) && !is_settled
        })
    }

    /// Whether the slot of this step holds its decision, be it of a version that is not known here:
    /// what no worker wrote decides nothing.
    fn decides(&self, flow: &Flow, row: &Row) -> bool {
        self.events.iter().any(|line| line.slot == row.slot && !line.is_foreign(flow))
    }

    /// Its messages in slots that the flow table does not have: nobody reads them.
    pub fn strays(&self, flow: &Flow) -> impl Iterator<Item = &Line> {
        let slots: Vec<_> = flow.events().into_iter().map(|(slot, _)| slot).collect();
        self.events.iter().filter(move |line| !slots.contains(&line.slot.as_str()))
    }
}

/// The slot of the flow that is most like `name`, as a typing mistake is: no more than every third
/// letter differs.
pub fn nearest_slot(flow: &Flow, name: &str) -> Option<&'static str> {
    let far = |slot: &&str| distance(&name.to_ascii_lowercase(), slot);
    let nearest = flow.events().into_iter().map(|(slot, _)| slot).min_by_key(far)?;
    (far(&nearest) * 3 <= nearest.len()).then_some(nearest)
}

/// How many letters must be put in, taken out, replaced or swapped with the next one to make one
/// text of the other.
fn distance(one: &str, other: &str) -> usize {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut rows = vec![(0..=other.len()).collect::<Vec<_>>()];
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let replaced = rows[i][j] + usize::from(a != b);
            let mut least = replaced.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::order_fulfilment::FLOW;

    #[test]
    fn a_mistyped_slot_is_near_to_the_right_one_and_another_word_is_not() {
        let near = |name| nearest_slot(&FLOW, name);
        for mistyped in ["palced", "place", "Placed", "plcaed", "placd", "pplaced"] {
            assert_eq!(near(mistyped), Some("placed"), "{mistyped}");
        }
        assert_eq!(near("cancels"), Some("cancel"));
        for other in ["nosuch", "x", "order", ""] {
            assert_eq!(near(other), None, "{other}");
        }
    }
}
