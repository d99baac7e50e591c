//! What a replica shows of itself, for metrics, the health page and operators. It decides nothing.

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

    /// Whether messages may be pulled, be it one at a time. What a prober pulls is no flow.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaker::fleet::{Entry, Override};
    use crate::breaker::{Message, Settings};

    const START: Duration = Duration::ZERO;
    const WAIT: Duration = Duration::from_secs(60);

    fn paused() -> Entry {
        let wait_ms = WAIT.as_secs() * 1_000;
        Entry { phase: Phase::Paused, by: "other".into(), wait_ms, ..Entry::default() }
    }

    fn replica(fleet: FleetMode) -> Replica {
        Replica::new("me", Settings { fleet, ..Settings::default() }, 1)
    }

    fn force(replica: &mut Replica, mode: Option<Mode>) {
        let word = |mode| {
            let (by, reason) = ("ann".to_owned(), "maintenance".to_owned());
            (Override { mode, by, reason, until_ms: 0 }, WAIT)
        };
        replica.overridden(mode.map(word), START);
    }

    #[test]
    fn an_operators_word_is_the_phase_while_it_lives() {
        let mut replica = replica(FleetMode::On);
        replica.seen(paused(), 1, START);
        let mut seen = Vec::new();
        for mode in [Some(Mode::Flowing), Some(Mode::Paused), Some(Mode::Observe), None] {
            force(&mut replica, mode);
            seen.push((replica.phase(), replica.is_gate_open()));
        }
        let paused_shut = (Phase::Paused, false);
        // While it observes, it says what it would do.
        let observes = (Phase::Paused, true);
        assert_eq!(seen, [(Phase::Flowing, true), paused_shut, observes, paused_shut]);
    }

    #[test]
    fn a_replica_on_its_own_says_what_it_does_itself() {
        let mut replica = replica(FleetMode::On);
        replica.seen(paused(), 1, START);
        replica.unreadable(START);
        assert_eq!((replica.phase(), replica.is_on_its_own()), (Phase::Paused, true));
        // The pause that it knew of is over.
        replica.tick(WAIT + WAIT);
        assert_eq!((replica.phase(), replica.is_on_its_own()), (Phase::Flowing, true));
        assert!(!self::replica(FleetMode::Off).is_on_its_own(), "it is meant to decide alone");
    }

    #[test]
    fn a_message_is_tried_after_the_pause_and_not_before_it_is_due() {
        let mut replica = replica(FleetMode::On);
        replica.seen(paused(), 1, START);
        let id = MessageId { source: 0, number: 1 };
        let message = |due| Message { due, ..Message::new(id, false, START) };
        replica.hold(message(Duration::from_secs(1)), START);
        assert_eq!(replica.next_try(id), Some(WAIT));
        replica.hold(message(WAIT + WAIT), START);
        assert_eq!(replica.next_try(id), Some(WAIT + WAIT));
        assert_eq!((replica.held_of(0), replica.held_of(1)), (1, 0));
        assert_eq!(replica.next_try(MessageId { source: 0, number: 2 }), None);
    }
}
