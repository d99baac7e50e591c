//! The durable consumers that follow from a flow table.

use super::{Flow, Row};

/// What a durable consumer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Runs the step.
    Forward,
    /// Takes the step's effect back.
    Undo,
    /// Closes a saga that was undone.
    Closing,
}

/// One durable consumer of the flow's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Durable {
    /// `book-hotel`, `book-hotel-undo`, `confirm-trip-closing`.
    pub name: String,
    pub worker: &'static str,
    pub role: Role,
    /// Subject filters, never empty, and no two of them match one subject.
    pub filters: Vec<String>,
}

impl Flow {
    /// The durables of one worker; of every worker for `None`. Empty for a name that has no row.
    pub fn durables(&self, worker: Option<&str>) -> Vec<Durable> {
        let wanted = |step: &&Row| worker.is_none_or(|name| name == step.worker);
        self.steps.iter().filter(wanted).flat_map(|step| self.durables_of(step)).collect()
    }

    fn durables_of(&self, step: &'static Row) -> Vec<Durable> {
        let worker = step.worker;
        let durable = |suffix: &str, role, filters: Vec<String>| Durable {
            name: format!("{worker}{suffix}"),
            worker,
            role,
            filters,
        };
        let mut durables = vec![durable("", Role::Forward, vec![self.filter(step.on)])];
        if step.undo.is_some() {
            let next = self.undone_before(worker).and_then(|next| next.undo);
            let slots = std::iter::once(self.turns.slot).chain(next.map(|undo| undo.slot));
            durables.push(durable(
                "-undo",
                Role::Undo,
                slots.map(|slot| self.filter(slot)).collect(),
            ));
        }
        if step.cancelled.is_some() {
            let first = self.undoable().next().and_then(|first| first.undo);
            let filters = first.map(|undo| self.filter(undo.slot)).into_iter().collect();
            durables.push(durable("-closing", Role::Closing, filters));
        }
        durables
    }
}
