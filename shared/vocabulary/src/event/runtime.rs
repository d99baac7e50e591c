//! What the runtime itself writes, in every saga: the table names only the types of these events.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The signal that turns a saga around. Only a wake-up: the slots decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Signal {
    /// The step that was refused, or the pivot's slot for a stop.
    pub step: String,
    /// The refusal's own reason.
    pub reason: String,
    /// The worker that wrote the refusal.
    pub by: String,
}

/// The saga passes its pivot: from here on it cannot be stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Go {}

/// The saga does not pass its pivot: from here on it is undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stop {
    /// A code, lower case with dashes: `cancelled`, `deadline`.
    pub reason: String,
    /// The worker that stopped it, or the person who asked for it, by reference.
    pub by: String,
}

/// Everything is taken back: nothing is held, charged or owed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cancelled {}

/// A client asks that the saga be cancelled. It may say anything, or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CancelRequested {
    /// Who asks, by reference; empty if nobody is named.
    #[serde(default)]
    pub by: String,
    /// Why, in a few words; empty if nothing is said.
    #[serde(default)]
    pub reason: String,
}

/// The saga cannot be cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CancelRefused {
    /// `too-late`, or `no-such-saga`: it may be asked for again.
    pub reason: String,
}

/// A refusal that is written on a step's behalf.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Refused {
    /// `cancelled` or `deadline`.
    pub reason: String,
}
