//! What a replica does when the fleet enters a phase.

use std::time::Duration;

use super::{Effect, Fleet, Known, Mode, News, Phase, Reason};
use crate::breaker::machine::Machine;

/// A replica that was proven sick says only so late whether it is answered now: the healthy ones
/// have mostly said so by then.
const SICK_LATER: Duration = Duration::from_millis(500);
/// A replica that was proven sick leaves the others alone for this long.
const SICK_QUIET: Duration = Duration::from_secs(10);
/// Replicas that did not doubt probe first: they may not be cut off.
const DOUBTERS_LATER: Duration = Duration::from_millis(300);
/// A recovered fleet begins over this time, not at one moment.
const OPEN_OVER: Duration = Duration::from_secs(1);

impl Fleet {
    /// The machine follows the entry that now counts.
    pub(super) fn enter(
        &mut self,
        machine: &mut Machine,
        known: Known,
        now: Duration,
        news: &mut Vec<Effect>,
    ) {
        let entry = self.view.entry.clone();
        news.push(Effect::Log(News::Entered(entry.clone())));
        let mine = entry.by == self.me;
        if mine && entry.is(Phase::Flowing, Reason::Contradicted) {
            self.quiet_until = now + SICK_QUIET;
            if machine.doubting_since().is_some() && !machine.is_sick() {
                machine.sicken();
                news.push(Effect::Log(News::LocalSuspect));
            }
        }
        if self.mode() == Some(Mode::Paused) {
            return machine.shut();
        }
        match entry.phase {
            Phase::Flowing => self.failed = false,
            Phase::Paused if mine && entry.reason != Reason::NoMessages => self.failed = true,
            Phase::Suspected | Phase::Paused | Phase::Probing => {}
        }
        match entry.phase {
            Phase::Flowing | Phase::Suspected if known == Known::First => {
                self.open(machine, now, false);
            }
            Phase::Flowing | Phase::Suspected => {
                let recovered = entry.is(Phase::Flowing, Reason::Recovered);
                if machine.is_stopped() || recovered && known == Known::New {
                    self.open_gently(machine, now);
                }
                if entry.phase == Phase::Suspected {
                    machine.ask(if machine.is_sick() { now + SICK_LATER } else { now });
                } else {
                    machine.ask_no_more();
                }
            }
            Phase::Paused => {
                if machine.doubting_since().is_some() {
                    self.view.stagger += DOUBTERS_LATER;
                }
                machine.shut();
            }
            Phase::Probing if mine => machine.probe(now),
            Phase::Probing => machine.shut(),
        }
    }

    pub(super) fn open_gently(&mut self, machine: &mut Machine, now: Duration) {
        let at = now + OPEN_OVER.mul_f64(self.random.f64());
        self.open(machine, at, true);
    }

    pub(super) fn open(&mut self, machine: &mut Machine, at: Duration, gently: bool) {
        self.open_since = at;
        machine.open(at, gently);
    }
}
