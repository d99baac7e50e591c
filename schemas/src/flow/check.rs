//! What makes a flow table illegal, each as a sentence that names the row.

use std::collections::{BTreeMap, BTreeSet};

use super::{Flow, Step};

/// A sentence about one row of an illegal table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Illegal(pub String);

impl Flow {
    /// Every reason why this table cannot work; empty for a legal one.
    pub fn check(&self) -> Vec<Illegal> {
        let mut illegal = Vec::new();
        let mut say = |sentence: String| illegal.push(Illegal(sentence));
        self.check_owners(&mut say);
        self.check_undo(&mut say);
        self.check_chain(&mut say);
        self.check_readers(&mut say);
        illegal
    }

    /// Every slot is written by one row only.
    fn check_owners(&self, say: &mut impl FnMut(String)) {
        let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
        let mut workers = BTreeSet::new();
        owners.insert(self.opens.slot, "whoever opens the saga");
        owners.insert(self.turns.slot, "the signal");
        for step in self.steps {
            if !workers.insert(step.worker) {
                say(format!("{}: the table has two rows of this name", step.worker));
            }
            for slot in slots(step) {
                if let Some(other) = owners.insert(slot, step.worker) {
                    say(format!("{}: slot {slot} already belongs to {other}", step.worker));
                }
            }
        }
    }

    /// Steps before the pivot have an undo, steps after it have none.
    fn check_undo(&self, say: &mut impl FnMut(String)) {
        if self.steps.iter().filter(|step| step.pivot.is_some()).count() > 1 {
            say(format!("{}: a flow has at most one pivot", self.saga));
        }
        let mut after = false;
        for step in self.steps {
            after |= step.pivot.is_some() || step.cancelled.is_some();
            match (after, step.undo) {
                (false, None) => say(format!(
                    "{}: a step before the pivot needs an undo (undone_by)",
                    step.worker
                )),
                (true, Some(_)) => say(format!(
                    "{}: a step after the pivot cannot have an undo: the saga no longer turns",
                    step.worker
                )),
                (false, Some(_)) | (true, None) => {}
            }
        }
    }

    /// The rows form one chain from the opening to the end: no cycle, no row that reads nothing.
    fn check_chain(&self, say: &mut impl FnMut(String)) {
        let mut written = BTreeSet::from([self.opens.slot]);
        for step in self.steps {
            if step.on == step.slot {
                say(format!("{}: it reacts to its own slot {}, a cycle", step.worker, step.slot));
            } else if !written.contains(step.on) {
                let later = self.steps.iter().any(|other| other.slot == step.on);
                let why = if later { "only a later row writes: a cycle" } else { "nobody writes" };
                say(format!("{}: it reacts to slot {}, which {why}", step.worker, step.on));
            }
            written.insert(step.slot);
        }
        let ends = self.steps.iter().filter(|step| step.cancelled.is_some()).count();
        if ends != 1 {
            say(format!("{}: a flow has exactly one row that closes it, not {ends}", self.saga));
        }
    }

    /// Every event is read by somebody, unless it closes the saga; one reader a slot.
    fn check_readers(&self, say: &mut impl FnMut(String)) {
        if !self.steps.iter().any(|step| step.on == self.opens.slot) {
            say(format!("{}: nobody reads {}", self.saga, self.opens.event));
        }
        for step in self.steps.iter().filter(|step| step.cancelled.is_none()) {
            match self.steps.iter().filter(|reader| reader.on == step.slot).count() {
                0 => say(format!("{}: nobody reads {}", step.worker, step.done)),
                1 => {}
                _ => say(format!("{}: two rows read {}, a chain has one", step.worker, step.slot)),
            }
        }
    }
}

/// Every slot a row owns.
fn slots(step: &Step) -> impl Iterator<Item = &'static str> {
    let pivot = step.pivot.map(|pivot| pivot.slot);
    let undo = step.undo.map(|undo| undo.slot);
    std::iter::once(step.slot).chain(pivot).chain(undo)
}
