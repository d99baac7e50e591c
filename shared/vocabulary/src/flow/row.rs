//! How a row of a flow table is written: `step("book-hotel").on("requested").writes(…)`.

use std::time::Duration;

use super::{Cancels, Entry, Keeps, Pivot, Row, Undo};

/// An entry of the table: a slot and the one event it holds.
pub const fn opens(slot: &'static str, event: &'static str) -> Entry {
    Entry { slot, event }
}

/// A row of the table; the methods below fill it in, in reading order.
pub const fn step(worker: &'static str) -> Row {
    Row {
        worker,
        on: "",
        slot: "",
        done: "",
        refused: None,
        undo: None,
        pivot: None,
        cancelled: None,
        cancels: None,
        within: None,
        requires: &[],
        prefers: &[],
        keeps: None,
    }
}

impl Row {
    /// The slot whose event triggers `run`: the slot of the row before, or the opening one.
    pub const fn on(self, slot: &'static str) -> Self {
        Self { on: slot, ..self }
    }

    /// The slot of the decision, and the types of a success and of a refusal.
    pub const fn writes(
        self,
        slot: &'static str,
        done: &'static str,
        refused: &'static str,
    ) -> Self {
        Self { slot, done, refused: Some(refused), ..self }
    }

    /// The slot of the decision of a step that never refuses, and the type of a success.
    pub const fn always_writes(self, slot: &'static str, done: &'static str) -> Self {
        Self { slot, done, ..self }
    }

    /// The slot and the types that record that the effect is taken back.
    pub const fn undone_by(self, slot: &'static str, events: &'static [&'static str]) -> Self {
        Self { undo: Some(Undo { slot, events }), ..self }
    }

    /// Before `run`, the step writes `go` into the pivot's slot, unless `stop` is there already.
    pub const fn after_pivot(
        self,
        slot: &'static str,
        go: &'static str,
        stop: &'static str,
    ) -> Self {
        Self { pivot: Some(Pivot { slot, go, stop }), ..self }
    }

    /// The slot and the types that close the saga: completed, or undone.
    pub const fn closes(
        self,
        slot: &'static str,
        completed: &'static str,
        cancelled: &'static str,
    ) -> Self {
        Self { slot, done: completed, cancelled: Some(cancelled), ..self }
    }

    /// The slot and the type of a client's wish to cancel the saga, and of the answer that it
    /// cannot be.
    pub const fn cancels(self, asked: Entry, refused: Entry) -> Self {
        Self { cancels: Some(Cancels { asked, refused }), ..self }
    }

    /// The default deadline: see [`Row::within`]. An operator may change it in `[deadline]`.
    pub const fn within(self, deadline: Duration) -> Self {
        Self { within: Some(deadline), ..self }
    }

    /// Names of outside services, as in the configuration: `payment-gateway`.
    pub const fn requires(self, dependencies: &'static [&'static str]) -> Self {
        Self { requires: dependencies, ..self }
    }

    /// Names of outside services, as in the configuration: `quote-service`.
    pub const fn prefers(self, dependencies: &'static [&'static str]) -> Self {
        Self { prefers: dependencies, ..self }
    }

    /// The worker's own stream, and its subjects.
    pub const fn keeps(self, stream: &'static str, subjects: &'static [&'static str]) -> Self {
        Self { keeps: Some(Keeps { stream, subjects }), ..self }
    }
}
