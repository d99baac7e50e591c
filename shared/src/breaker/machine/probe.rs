//! The few calls that decide whether a paused dependency is back.
//!
//! Each message is tried at most once while one replica probes, because it may be the message that
//! fails, and no single message may keep a dependency paused.

use std::time::Duration;

use super::Offer;
use crate::breaker::MessageId;
use crate::breaker::class::Class;
use crate::breaker::fleet::Reason;

/// One answer may be luck (a cache, an edge); two are enough.
const ANSWERS: u32 = 2;
/// One failure may be the message's own; two of different messages are not.
const FAILURES: u32 = 2;

/// What decides nothing is not asked for ever: a pause comes first, and others may probe then.
const NEUTRAL: u32 = 2;

/// What the probes of this replica have come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    since: Duration,
    in_flight: bool,
    tried: Vec<MessageId>,
    answered: u32,
    failed: u32,
    neutral: u32,
    of_credentials: bool,
    exhausted: bool,
}

/// What the probes have shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    Recovered,
    Failed(Reason),
    /// Bad and Busy decide nothing: pause again, no longer than before.
    Nothing,
    /// There was no message to call with.
    NoMessages,
}

impl Probe {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            since: now,
            in_flight: false,
            tried: Vec::new(),
            answered: 0,
            failed: 0,
            neutral: 0,
            of_credentials: true,
            exhausted: false,
        }
    }

    pub(super) fn offer(&self, not_before: Duration) -> Offer {
        if self.in_flight || self.proof().is_some() {
            return Offer::Nothing;
        }
        Offer::Probe { first: self.tried.is_empty(), since: self.since.max(not_before) }
    }

    pub(super) fn begin(&mut self, message: MessageId) {
        self.in_flight = true;
        self.tried.push(message);
    }

    pub(super) fn end(&mut self, message: MessageId, class: Class, now: Duration) {
        self.in_flight = false;
        self.since = now;
        match class {
            Class::Answered | Class::Undecided => self.answered += 1,
            Class::NotSent | Class::Failed | Class::Credentials => {
                self.failed += 1;
                self.of_credentials &= class == Class::Credentials;
            }
            Class::Bad | Class::Busy(_) => self.neutral += 1,
            // It was not made, so it may be made.
            Class::Local => self.tried.retain(|tried| *tried != message),
        }
    }

    pub(super) fn exhaust(&mut self) {
        self.exhausted = true;
    }

    pub(super) fn since(&self) -> Duration {
        self.since
    }

    /// Whether the message had its turn.
    pub fn has_tried(&self, message: MessageId) -> bool {
        self.tried.contains(&message)
    }

    /// With no message left, any answer will do.
    pub(super) fn proof(&self) -> Option<Proof> {
        let reason = if self.of_credentials { Reason::Credentials } else { Reason::NoAnswer };
        let left = !self.exhausted;
        match (self.answered, self.failed) {
            (ANSWERS.., _) => Some(Proof::Recovered),
            (_, FAILURES..) => Some(Proof::Failed(reason)),
            (0, 0) if self.neutral >= NEUTRAL => Some(Proof::Nothing),
            (0, 1..) if self.neutral >= NEUTRAL => Some(Proof::Failed(reason)),
            _ if left => None,
            (1.., _) => Some(Proof::Recovered),
            (_, 1..) => Some(Proof::Failed(reason)),
            (0, 0) if self.neutral > 0 => Some(Proof::Nothing),
            (0, 0) => Some(Proof::NoMessages),
        }
    }
}
