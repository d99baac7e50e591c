//! What a replica shows of itself, for metrics, the health page and operators. Nothing is decided by
//! it.

use std::time::Duration;

use super::Replica;
use crate::breaker::class::Tally;
use crate::breaker::fleet::{LONGEST_PAUSE, Mode, Phase};
use crate::breaker::machine::State;
use crate::breaker::{FleetMode, MessageId};

impl Replica {
    /// The phase that this replica acts on: an operator's word first, then its own where it decides
    /// alone, then the fleet's. While it observes, the phase that it has decided.
    pub fn phase(&self) -> Phase {
        match self.fleet.mode() {
            Some(Mode::Paused) => Phase::Paused,
            Some(Mode::Flowing) => Phase::Flowing,
            Some(Mode::Observe) | None if self.fleet.is_alone() => match self.machine.state() {
                State::Flowing | State::Doubting(_) => Phase::Flowing,
                State::Shut => Phase::Paused,
                State::Probing(_) => Phase::Probing,
            },
            Some(Mode::Observe) | None => self.fleet.view().0.phase,
        }
    }

    /// Whether messages may be pulled, be it one at a time.
    pub fn is_gate_open(&self) -> bool {
        !self.machine.is_acting() || !self.machine.is_stopped()
    }

    /// Whether it is to decide with the others, and cannot read what they have decided.
    pub fn is_on_its_own(&self) -> bool {
        self.settings.fleet != FleetMode::Off && !self.fleet.is_readable()
    }

    /// When a message that waits may be called at the earliest, as far as is known.
    pub fn next_try(&self, message: MessageId) -> Option<Duration> {
        let held = self.held.get(&message)?;
        let (entry, at) = self.fleet.view();
        let pause_ends = match self.phase() {
            Phase::Paused => at + Duration::from_millis(entry.wait_ms).min(LONGEST_PAUSE),
            Phase::Flowing | Phase::Suspected | Phase::Probing => Duration::ZERO,
        };
        Some(held.due.max(held.not_before).max(pause_ends))
    }

    /// Messages of a subscription that wait for a call.
    pub fn held_of(&self, source: u16) -> usize {
        self.held.keys().filter(|id| id.source == source).count()
    }

    /// What the calls came to since the start.
    pub fn calls(&self) -> Tally {
        self.calls
    }
}
