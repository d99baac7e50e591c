//! The flow table's vocabulary, and everything that is derived from a table.
//!
//! Nobody types a subject, a filter or a durable's name: they all come from here, so that they
//! cannot disagree. [`Flow::check`](crate::flow::Flow::check) says what makes a table illegal.

mod check;
mod picture;

pub use check::Illegal;

use crate::SagaId;

/// One saga type: its stream, and its steps in flow order.
#[derive(Debug, Clone, Copy)]
pub struct Flow {
    /// Names the saga type in ids and keys.
    pub saga: &'static str,
    /// The stream that is the only truth.
    pub stream: &'static str,
    /// First token of every subject.
    pub subjects: &'static str,
    /// What starts a saga; anybody trusted may write it.
    pub opens: Entry,
    /// The signal that turns the saga around.
    pub turns: Entry,
    pub steps: &'static [Step],
}

/// A slot that belongs to no step, and its event.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    pub slot: &'static str,
    pub event: &'static str,
}

/// One row: what a worker reacts to, and all that it may write.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    pub worker: &'static str,
    /// The slot whose `done` (or opening) event triggers `run`.
    pub on: &'static str,
    /// The slot of the decision.
    pub slot: &'static str,
    pub done: &'static str,
    /// `None` where the step cannot say no: the one that closes the saga.
    pub refused: Option<&'static str>,
    pub undo: Option<Undo>,
    pub pivot: Option<Pivot>,
    /// The event that closes the saga the other way: `order.cancelled`.
    pub cancelled: Option<&'static str>,
    /// Outside services without which the step cannot run.
    pub requires: &'static [&'static str],
}

/// How a step's effect is taken back.
#[derive(Debug, Clone, Copy)]
pub struct Undo {
    pub slot: &'static str,
    pub events: &'static [&'static str],
}

/// The point of no return before a step: `go` or `stop`, first writer wins.
#[derive(Debug, Clone, Copy)]
pub struct Pivot {
    pub slot: &'static str,
    pub go: &'static str,
    pub stop: &'static str,
}

/// An entry of the table: a slot and the one event it holds.
pub const fn opens(slot: &'static str, event: &'static str) -> Entry {
    Entry { slot, event }
}

/// A row of the table; the methods below fill it in, in reading order.
pub const fn step(worker: &'static str) -> Step {
    Step {
        worker,
        on: "",
        slot: "",
        done: "",
        refused: None,
        undo: None,
        pivot: None,
        cancelled: None,
        requires: &[],
    }
}

impl Step {
    pub const fn on(self, slot: &'static str) -> Self {
        Self { on: slot, ..self }
    }

    pub const fn writes(
        self,
        slot: &'static str,
        done: &'static str,
        refused: &'static str,
    ) -> Self {
        Self { slot, done, refused: Some(refused), ..self }
    }

    pub const fn undone_by(self, slot: &'static str, events: &'static [&'static str]) -> Self {
        Self { undo: Some(Undo { slot, events }), ..self }
    }

    pub const fn after_pivot(
        self,
        slot: &'static str,
        go: &'static str,
        stop: &'static str,
    ) -> Self {
        Self { pivot: Some(Pivot { slot, go, stop }), ..self }
    }

    pub const fn closes(
        self,
        slot: &'static str,
        completed: &'static str,
        cancelled: &'static str,
    ) -> Self {
        Self { slot, done: completed, cancelled: Some(cancelled), ..self }
    }

    pub const fn requires(self, dependencies: &'static [&'static str]) -> Self {
        Self { requires: dependencies, ..self }
    }
}

/// What a durable consumer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Runs the step.
    Forward,
    /// Takes the step's effect back.
    Undo,
    /// Ends a saga that was undone.
    Closing,
}

/// One durable consumer of the flow's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Durable {
    /// `charge-customer`, `charge-customer-undo`, `complete-order-closing`.
    pub name: String,
    pub worker: &'static str,
    pub role: Role,
    pub filters: Vec<String>,
}

impl Flow {
    /// The row of `worker`.
    pub fn step(&self, worker: &str) -> Option<&'static Step> {
        self.steps.iter().find(|step| step.worker == worker)
    }

    /// The row that decides `slot`.
    pub fn decides(&self, slot: &str) -> Option<&'static Step> {
        self.steps.iter().find(|step| step.slot == slot)
    }

    /// The row that closes the saga.
    pub fn closing(&self) -> &'static Step {
        self.steps.iter().find(|step| step.cancelled.is_some()).expect("a checked flow has one end")
    }

    /// Steps that can be undone, in flow order.
    pub fn undoable(&self) -> impl DoubleEndedIterator<Item = &'static Step> + use<> {
        let steps: &'static [Step] = self.steps;
        steps.iter().filter(|step| step.undo.is_some())
    }

    /// The undoable step after `worker`, whose undo comes before its own.
    pub fn undone_before(&self, worker: &str) -> Option<&'static Step> {
        self.undoable().skip_while(|step| step.worker != worker).nth(1)
    }

    /// The decisions from which a saga turns around: each step's slot, and the pivot's.
    pub fn refusable(&self) -> impl Iterator<Item = &'static str> + use<> {
        let steps: &'static [Step] = self.steps;
        steps.iter().flat_map(|step| {
            step.pivot.map(|pivot| pivot.slot).into_iter().chain(step.refused.map(|_| step.slot))
        })
    }

    /// The slot `name` of one saga: the only way to a subject that is written with a guard.
    pub fn slot(&'static self, name: &'static str, saga: &SagaId) -> Slot {
        Slot { subject: format!("{}.{name}.{saga}", self.subjects), name, saga: saga.clone() }
    }

    /// The filter that matches `slot` of every saga.
    pub fn filter(&self, slot: &str) -> String {
        format!("{}.{slot}.*", self.subjects)
    }

    /// Every event of one saga.
    pub fn story(&self, saga: &SagaId) -> String {
        format!("{}.*.{saga}", self.subjects)
    }

    /// Slot name and saga of a subject of this flow; `None` for anything else.
    pub fn parse_subject<'s>(&self, subject: &'s str) -> Option<(&'s str, SagaId)> {
        let rest = subject.strip_prefix(self.subjects)?.strip_prefix('.')?;
        let (slot, id) = rest.split_once('.')?;
        Some((slot, SagaId::parse(id).ok()?))
    }

    /// The durables of one worker; of every worker for `None`.
    pub fn durables(&self, worker: Option<&str>) -> Vec<Durable> {
        let wanted = |step: &&Step| worker.is_none_or(|name| name == step.worker);
        self.steps.iter().filter(wanted).flat_map(|step| self.durables_of(step)).collect()
    }

    fn durables_of(&self, step: &'static Step) -> Vec<Durable> {
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

/// One exact subject that holds one decision of one saga: written once, ever.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Slot {
    subject: String,
    name: &'static str,
    saga: SagaId,
}

impl Slot {
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The slot's name in the flow table: `payment`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    pub fn saga(&self) -> &SagaId {
        &self.saga
    }
}
