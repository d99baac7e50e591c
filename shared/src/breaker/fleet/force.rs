//! An operator's override: it beats the machine while it lives, and its end gives back the
//! automatic state.

use std::time::Duration;

use super::{Effect, Fleet, Known, Mode, News, Override, Phase};
use crate::breaker::FleetMode;
use crate::breaker::machine::Machine;

impl Fleet {
    /// An operator's override was seen, with the time it has left; `None` when it is gone.
    pub fn overridden(
        &mut self,
        machine: &mut Machine,
        wanted: Option<(Override, Duration)>,
        now: Duration,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        let was = self.mode();
        if self.forced.as_ref().map(|(forced, _)| forced) != wanted.as_ref().map(|(new, _)| new) {
            effects.push(Effect::Log(News::Override(wanted.as_ref().map(|(new, _)| new.clone()))));
        }
        self.forced = wanted.map(|(forced, left)| (forced, now + left));
        if was != self.mode() {
            self.change_mode(machine, was, now, &mut effects);
        }
        effects
    }

    pub(in crate::breaker) fn mode(&self) -> Option<Mode> {
        let observes = self.settings.fleet == FleetMode::Observe;
        let forced = self.forced.as_ref().map(|(forced, _)| forced.mode);
        forced.or(observes.then_some(Mode::Observe))
    }

    fn change_mode(
        &mut self,
        machine: &mut Machine,
        was: Option<Mode>,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        let mode = self.mode();
        machine.act(!matches!(mode, Some(Mode::Flowing | Mode::Observe)));
        let paused_by_me = self.stored.entry.phase == Phase::Paused
            && self.stored.entry.by == self.me
            && was != Some(Mode::Observe);
        if mode == Some(Mode::Flowing) && paused_by_me {
            effects.push(Effect::ResumeServer);
        }
        if mode == Some(Mode::Paused) {
            machine.shut();
        } else if was.is_some() {
            // Back to the automatic state, as it is stored; probes made meanwhile prove nothing.
            self.view = self.stored.clone();
            self.enter(machine, Known::Already, now, effects);
        }
    }
}
