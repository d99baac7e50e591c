//! What makes a flow table illegal, each as a sentence that names the row.

use std::collections::{BTreeMap, BTreeSet};

use super::{Flow, Row};

/// A sentence about one row of an illegal table. It begins with the row's worker (or the saga type,
/// if a row is missing).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Illegal(pub String);

impl Flow {
    /// Every reason why this table cannot work; empty for a legal one. Workers call it at start.
    pub fn check(&self) -> Vec<Illegal> {
        let mut illegal = Vec::new();
        let mut say = |sentence: String| illegal.push(Illegal(sentence));
        self.check_names(&mut say);
        self.check_owners(&mut say);
        self.check_types(&mut say);
        self.check_pivot(&mut say);
        self.check_undo(&mut say);
        self.check_refusals(&mut say);
        self.check_end(&mut say);
        self.check_chain(&mut say);
        self.check_readers(&mut say);
        self.check_kept(&mut say);
        self.check_services(&mut say);
        illegal
    }

    /// Names become tokens of subjects, durables and file names.
    fn check_names(&self, say: &mut impl FnMut(String)) {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let mut workers = BTreeSet::new();
        for step in self.steps {
            let worker = step.worker;
            if !workers.insert(worker) {
                say(format!("{worker}: the table has two rows of this name"));
            }
            for name in std::iter::once(worker).chain(slots(step)) {
                if name.is_empty() {
                    say(format!("{worker}: the row has no slot (writes, or closes)"));
                } else if !name.bytes().all(fits) {
                    say(format!("{worker}: {name:?} is not of lower-case letters, digits, dashes"));
                }
            }
        }
    }

    /// Every slot is written by one row only.
    fn check_owners(&self, say: &mut impl FnMut(String)) {
        let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
        owners.insert(self.opens.slot, "the client that opens the saga");
        if owners.insert(self.turns.slot, "the signal").is_some() {
            say(format!("{}: slot {} both opens and turns it", self.saga, self.turns.slot));
        }
        let cancels = self.cancels().into_iter();
        for slot in cancels.flat_map(|cancels| [cancels.asked.slot, cancels.refused.slot]) {
            if let Some(other) = owners.insert(slot, "a cancellation") {
                say(format!("{}: slot {slot} already belongs to {other}", self.saga));
            }
        }
        for step in self.steps {
            for slot in slots(step) {
                if let Some(other) = owners.insert(slot, step.worker) {
                    say(format!("{}: slot {slot} already belongs to {other}", step.worker));
                }
            }
        }
    }

    /// A type belongs to one slot, and names its version.
    fn check_types(&self, say: &mut impl FnMut(String)) {
        let mut slots = BTreeMap::new();
        for (slot, event) in self.events() {
            let row = self.steps.iter().find(|step| self::slots(step).any(|owned| owned == slot));
            let row = row.map_or(self.saga, |step| step.worker);
            if let Some(other) = slots.insert(event, slot) {
                say(format!("{row}: {event} of slot {slot} is also that of slot {other}"));
            }
            let version = event.rsplit_once(".v").map_or("", |(_, version)| version);
            if version.parse::<u16>().is_err() {
                say(format!("{row}: {event:?} does not end in a version such as .v1"));
            }
        }
    }

    fn check_pivot(&self, say: &mut impl FnMut(String)) {
        let mut pivots = self.steps.iter().filter(|step| step.pivot.is_some());
        if let Some(first) = pivots.next() {
            for second in pivots {
                let (first, second) = (first.worker, second.worker);
                say(format!("{second}: a flow has at most one pivot, and {first} has it"));
            }
        }
    }

    /// Steps before the pivot have an undo, steps after it have none.
    fn check_undo(&self, say: &mut impl FnMut(String)) {
        let mut after = false;
        for step in self.steps {
            let worker = step.worker;
            after |= step.pivot.is_some() || step.cancelled.is_some();
            match (after, step.undo) {
                (false, None) => {
                    say(format!("{worker}: a step before the pivot needs an undo (undone_by)"));
                }
                (true, Some(_)) => say(format!(
                    "{worker}: a step after the pivot cannot have an undo: the saga no longer turns"
                )),
                (false, Some(undo)) if undo.events.is_empty() => {
                    say(format!("{worker}: its undo has no event to record it"));
                }
                (false, Some(_)) | (true, None) => {}
            }
        }
        if let (None, Some(step)) = (self.undoable().next(), self.steps.first()) {
            say(format!("{}: no step can be undone, so no refusal would end", step.worker));
        }
    }

    /// Only the step right after the pivot may still refuse, because what comes before a later one
    /// cannot be taken back.
    fn check_refusals(&self, say: &mut impl FnMut(String)) {
        let after = self.steps.iter().skip_while(|step| step.pivot.is_none()).skip(1);
        for step in after.filter(|step| step.refused.is_some()) {
            let worker = step.worker;
            say(format!("{worker}: it may refuse, but what the step before it did is final"));
        }
    }

    /// One row closes the saga, and it is the last.
    fn check_end(&self, say: &mut impl FnMut(String)) {
        let mut ends = self.steps.iter().skip_while(|step| step.cancelled.is_none());
        let Some(end) = ends.next() else {
            return say(format!("{}: no row closes the saga (closes)", self.saga));
        };
        let misplaced = |step: &&Row| step.cancels.is_some() && step.cancelled.is_none();
        for step in self.steps.iter().filter(misplaced) {
            say(format!("{}: only the row that closes the saga cancels it", step.worker));
        }
        let untimed = |step: &&Row| step.within.is_some();
        let untimed = self.steps.iter().filter(untimed);
        for step in untimed.filter(|step| step.undo.is_none() && step.cancelled.is_none()) {
            let why = "only a step before the pivot, or the row that closes the saga, has one";
            say(format!("{}: it cannot have a deadline: {why}", step.worker));
        }
        for step in ends {
            let (row, end) = (step.worker, end.worker);
            if step.cancelled.is_some() {
                say(format!("{row}: one row closes the saga, and {end} does"));
            } else {
                say(format!("{row}: it comes after {end}, which closes the saga"));
            }
        }
    }

    /// The rows form one chain from the opening to the end: no cycle, no row that reads nothing.
    fn check_chain(&self, say: &mut impl FnMut(String)) {
        let mut written = BTreeSet::from([self.opens.slot]);
        for step in self.steps {
            let Row { worker, on, slot, .. } = step;
            if on.is_empty() {
                say(format!("{worker}: the row reacts to nothing (on)"));
            } else if on == slot {
                say(format!("{worker}: it reacts to its own slot {slot}, a cycle"));
            } else if !written.contains(on) {
                let later = self.decides(on).is_some();
                let why =
                    if later { "only a later row decides: a cycle" } else { "no row decides" };
                say(format!("{worker}: it reacts to slot {on}, which {why}"));
            }
            written.insert(slot);
        }
    }

    /// A step reads every event, unless it closes the saga; one reader per slot.
    fn check_readers(&self, say: &mut impl FnMut(String)) {
        let opening = (self.saga, self.opens.slot, self.opens.event);
        let decisions = self.steps.iter().filter(|step| step.cancelled.is_none());
        let decisions = decisions.map(|step| (step.worker, step.slot, step.done));
        for (writer, slot, event) in std::iter::once(opening).chain(decisions) {
            let mut readers = self.steps.iter().filter(|step| step.on == slot);
            match (readers.next(), readers.next()) {
                (None, _) => say(format!("{writer}: no step reads {event}")),
                (Some(_), None) => {}
                (Some(first), Some(second)) => {
                    let (first, second) = (first.worker, second.worker);
                    say(format!("{second}: slot {slot} is already read by {first}"));
                }
            }
        }
    }

    /// A worker's own stream is neither the log, nor the stream of parked messages, nor another
    /// worker's.
    fn check_kept(&self, say: &mut impl FnMut(String)) {
        let parked = format!("{}_PARKED", self.stream);
        let mut owned: BTreeMap<&str, String> = BTreeMap::new();
        owned.insert(self.stream, "is the log's".to_owned());
        owned.insert(&parked, "is that of parked messages".to_owned());
        for row in self.steps {
            let Some(kept) = row.keeps else { continue };
            if kept.subjects.is_empty() {
                say(format!("{}: its stream {} has no subjects", row.worker, kept.stream));
            }
            let by_this_row = format!("belongs to {} already", row.worker);
            if let Some(already) = owned.insert(kept.stream, by_this_row) {
                say(format!("{}: the stream {} {already}", row.worker, kept.stream));
            }
        }
    }

    /// A step can do without a service, or it cannot.
    fn check_services(&self, say: &mut impl FnMut(String)) {
        for row in self.steps {
            for name in row.prefers.iter().filter(|name| row.requires.contains(name)) {
                say(format!("{}: it requires {name}, so it cannot just prefer it", row.worker));
            }
        }
    }
}

/// Every slot a row owns.
fn slots(step: &Row) -> impl Iterator<Item = &'static str> {
    let pivot = step.pivot.map(|pivot| pivot.slot);
    let undo = step.undo.map(|undo| undo.slot);
    std::iter::once(step.slot).chain(pivot).chain(undo)
}
