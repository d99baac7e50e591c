//! Why a saga waits: what for, since when, what happens next, and what an operator can do.
//!
//! [`look`] gathers what log, broker, workers and breakers say; [`decide`] is pure, so that a table
//! of tests covers it and a projection can keep its answer. A reason needs something that was seen:
//! where nothing explains the wait, the code is [`Code::Unknown`] and the answer lists what was
//! looked at.

mod look;
mod round;
mod waiting;
mod reason;
mod words;
mod looked;

use jiff::Timestamp;
use serde::Serialize;

use crate::Flow;
use crate::breaker::fleet::{self, Override};
use crate::broker::{DurableState, StreamState};
use crate::log::story::{Story, Waits};
use crate::worker::held::Report;

pub use look::look;
pub use round::Round;
pub use waiting::{Awaited, awaited};

/// Why a saga waits, as a code that scripts may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// It ended, and all is well.
    Completed,
    /// It ended, and all is taken back.
    Cancelled,
    /// There is no such saga in the log.
    NotOpened,
    /// Its next message was set aside for a human.
    Parked,
    /// The same, because no worker that runs knows the version of an event.
    UnknownVersion,
    /// The slot that comes next holds what no worker wrote, or an event that is not known here.
    AlienEvent,
    /// The durable that would deliver its next message does not exist.
    NoDurable,
    /// The broker delivered and settled its next message, and nothing came of it.
    StepNotDelivered,
    /// The log takes no further event.
    LogFull,
    /// An undo failed as often as a message may; it is tried again, and slowly.
    UndoBlocked,
    /// A service refuses our credentials.
    Credentials,
    /// A circuit breaker keeps its worker from calling a service.
    BreakerPaused,
    /// Somebody paused the durable with another tool.
    ForeignPause,
    /// Its last attempt failed, and the next one comes.
    Retrying,
    /// A replica holds it, and it waits for a free call.
    Held,
    /// No replica of its worker runs.
    NoWorker,
    /// Other messages come first.
    ConsumerLag,
    /// It was delivered a moment ago, and is worked on, or was in the hands of a replica that died.
    InHand,
    /// Its deadline is near, and nothing else explains the wait.
    DeadlineNear,
    /// Nothing that was looked at explains it.
    Unknown,
}

impl Code {
    /// Those of a saga that is not over, in the order in which they are looked for.
    pub const WAITING: [Self; 17] = [
        Self::AlienEvent,
        Self::Parked,
        Self::UnknownVersion,
        Self::UndoBlocked,
        Self::Credentials,
        Self::BreakerPaused,
        Self::Retrying,
        Self::Held,
        Self::NoDurable,
        Self::StepNotDelivered,
        Self::LogFull,
        Self::ForeignPause,
        Self::NoWorker,
        Self::ConsumerLag,
        Self::InHand,
        Self::DeadlineNear,
        Self::Unknown,
    ];

    /// As in JSON: `breaker-paused`.
    pub fn name(self) -> String {
        let name = serde_json::to_value(self).unwrap_or_default();
        name.as_str().unwrap_or_default().to_owned()
    }
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Why {
    pub id: String,
    pub code: Code,
    /// Whose turn it is; `None` at the end, and where nobody's is.
    pub waits_for: Option<Waits>,
    /// What it waits for, since when, what happens next and what can be done, in one sentence.
    pub sentence: String,
    /// What happens without anybody doing something.
    pub next: String,
    /// What an operator can do; empty where nothing needs to be done.
    #[serde(rename = "do")]
    pub advice: String,
    /// What was looked at, each with what it said.
    pub looked_at: Vec<String>,
}

/// What was seen of one saga, all within about a second.
#[derive(Debug, Clone)]
pub struct Seen {
    /// By the broker's clock.
    pub now: Timestamp,
    /// `None` where nobody's turn it is.
    pub awaited: Option<Awaited>,
    /// Of the durable that delivers what is awaited; `None` where there is none of this name.
    pub durable: Option<DurableState>,
    /// How full the log is.
    pub log: Option<StreamState>,
    /// What the replicas of the awaited worker said; one that does not answer is missing.
    pub replicas: Vec<Report>,
    /// The services that the worker requires.
    pub services: Vec<Service>,
    /// Whether the leader, asked after all else, has something in the slot that is awaited.
    pub slot_taken: Option<bool>,
    /// From when to when the saga has time, where its flow has a deadline.
    pub deadline: Option<(Timestamp, Timestamp)>,
    /// Questions that had no answer.
    pub unanswered: Vec<String>,
}

/// What the fleet and the operator have decided about a service.
#[derive(Debug, Clone)]
pub struct Service {
    pub name: &'static str,
    pub key: Option<fleet::Entry>,
    pub forced: Option<Override>,
}

/// Decides what was seen. `tool` is the name of the operator's tool, for what it can do.
pub fn decide(flow: &Flow, story: &Story, seen: &Seen, tool: &str) -> Why {
    let reason = reason::reason(flow, story, seen);
    words::say(flow, story, seen, &reason, tool)
}

/// Milliseconds as a person reads them: `0.4 ms`, `12 ms`, `3.2 s`, `2m 5s`, `1h 1m`.
pub fn duration(milliseconds: f64) -> String {
    let seconds = (milliseconds / 1_000.0).round();
    match milliseconds {
        ms if ms < 9.95 => format!("{ms:.1} ms"),
        ms if ms < 999.5 => format!("{ms:.0} ms"),
        ms if ms < 59_950.0 => format!("{:.1} s", ms / 1_000.0),
        ms if ms < 3_600_000.0 => format!("{}m {}s", (seconds / 60.0).floor(), seconds % 60.0),
        _ => format!("{}h {}m", (seconds / 3_600.0).floor(), (seconds % 3_600.0 / 60.0).floor()),
    }
}

#[cfg(test)]
mod tests;
