//! What is stored in the key, and what comes out of the machine.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The key's value: what the fleet has agreed on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub phase: Phase,
    /// The replica it is about: the suspect, the one that paused, the one that probes.
    pub by: String,
    pub reason: Reason,
    /// Server time in Unix milliseconds, for people: the writer fills it in, no decision reads it.
    pub since_ms: u64,
    /// Length of a pause in milliseconds, from the moment each replica sees it.
    pub wait_ms: u64,
    /// How many pauses failed in a row; doubles the next one.
    pub k: u32,
    /// Durable to Unix milliseconds: which pauses on the server are ours, and until when. The
    /// writer fills it in.
    pub pauses: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    #[default]
    Flowing,
    Suspected,
    Paused,
    Probing,
}

/// Why the fleet is in a phase.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Nothing was ever written, or an operator reset it.
    #[default]
    Start,
    NoAnswer,
    Credentials,
    /// Somebody is answered: `by` is the sick one.
    Contradicted,
    /// The suspect is answered again, or is gone.
    Withdrawn,
    /// The prober found no message to probe with; others may hold some.
    NoMessages,
    Recovered,
}

impl Entry {
    pub(super) fn is(&self, phase: Phase, reason: Reason) -> bool {
        self.phase == phase && self.reason == reason
    }

    pub(super) fn wait(&self) -> Duration {
        Duration::from_millis(self.wait_ms)
    }
}

/// An operator's word, which beats the machine while it lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    pub mode: Mode,
    pub by: String,
    pub reason: String,
    /// Server time in Unix milliseconds, for people.
    pub until_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    Paused,
    Flowing,
    /// Takes every decision and acts on none.
    Observe,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Compare-and-set the key; on success call `seen` with what was written. A conflict or no
    /// answer needs nothing: the watch brings what is stored, and the proposal is made again.
    Write {
        expected: u64,
        entry: Entry,
    },
    /// Pause the dependency's durables on the server until now plus this, once.
    PauseServer(Duration),
    /// End the pause that this replica made on the server.
    ResumeServer,
    Log(News),
}

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// The replica gets no answers.
    Doubting(Reason),
    /// The replica is answered again.
    Answered,
    /// The fleet entered a phase.
    Entered(Entry),
    /// Others are answered: this replica is cut off.
    LocalSuspect,
    KeyUnreadable,
    KeyReadable,
    /// An override began, changed or, with `None`, ended.
    Override(Option<Override>),
    /// Observing: this would have been written.
    WouldWrite(Entry),
}
