//! What a replica does next about the key, and when, if nothing else happens.

use std::time::Duration;

use super::{
    CALM, CREDENTIALS_WAIT, Entry, Fleet, Key, LONGEST_PAUSE, Mode, Phase, Reason, SUSPECT_AFTER,
    TRAVEL,
};
use crate::breaker::FleetMode;
use crate::breaker::machine::{Machine, Proof};

/// A suspect that is silent for this many times its patience is dead.
const DEAD_SUSPECT: u32 = 2;
/// A prober that writes nothing for this many time-outs is dead: three probes decide.
const DEAD_PROBER: u32 = 3;

/// Who holds no message probes only if nobody who holds one wanted to, doubters included.
const EMPTY_LATER: Duration = Duration::from_millis(700);
/// Who failed itself probes last: it may be the one that is cut off, and then nobody else would
/// ever be asked.
const FAILED_LATER: Duration = Duration::from_millis(1_000);

pub(super) enum Plan {
    Write(Entry),
    Pause {
        k: u32,
        reason: Reason,
    },
    /// On its own: what is known of a pause has run out.
    Open,
}

impl Fleet {
    pub(super) fn plan(&self, machine: &Machine) -> Option<(Duration, Plan)> {
        match self.mode() {
            Some(Mode::Paused | Mode::Flowing) => return None,
            Some(Mode::Observe) | None => {}
        }
        if self.is_alone() {
            return self.plan_alone(machine);
        }
        let (entry, at) = (&self.view.entry, self.view.at);
        match entry.phase {
            Phase::Flowing => {
                let suspects = machine.doubting_since()? + SUSPECT_AFTER;
                let k = self.next_k(suspects);
                let plan = self.entry(Phase::Suspected, machine.reason(), k);
                Some((suspects.max(self.quiet_until), plan))
            }
            Phase::Suspected => Some(self.plan_suspected(machine)),
            Phase::Paused => {
                let plan = self.entry(Phase::Probing, entry.reason, entry.k);
                let later = match (self.failed, self.holds) {
                    (true, _) => FAILED_LATER,
                    (false, false) => EMPTY_LATER,
                    (false, true) => Duration::ZERO,
                };
                Some((at + entry.wait().min(LONGEST_PAUSE) + self.view.stagger + later, plan))
            }
            Phase::Probing => Some(self.plan_probing(machine)),
        }
    }

    /// Whether this replica decides without the others.
    pub(in crate::breaker) fn is_alone(&self) -> bool {
        self.key != Key::Read || self.settings.fleet == FleetMode::Off
    }

    fn plan_suspected(&self, machine: &Machine) -> (Duration, Plan) {
        let (entry, at) = (&self.view.entry, self.view.at);
        let mine = entry.by == self.me;
        let patience = self.settings.timeout + TRAVEL;
        let flowing = |reason| {
            let by = entry.by.clone();
            Plan::Write(Entry { phase: Phase::Flowing, by, reason, k: entry.k, ..Entry::default() })
        };
        if self.view.contradicted {
            (at, flowing(Reason::Contradicted))
        } else if !mine {
            (at + patience * DEAD_SUSPECT + self.view.stagger, flowing(Reason::Withdrawn))
        } else if machine.doubting_since().is_none() {
            (at, flowing(Reason::Withdrawn))
        } else {
            (at + patience, Plan::Pause { k: entry.k, reason: machine.reason() })
        }
    }

    fn plan_probing(&self, machine: &Machine) -> (Duration, Plan) {
        let (entry, at) = (&self.view.entry, self.view.at);
        let proof = (entry.by == self.me).then(|| machine.proof()).flatten();
        match proof {
            Some(Proof::Recovered) => (at, self.entry(Phase::Flowing, Reason::Recovered, entry.k)),
            Some(Proof::Failed(reason)) => {
                (at, Plan::Pause { k: entry.k.saturating_add(1), reason })
            }
            Some(Proof::Nothing) => (at, Plan::Pause { k: entry.k, reason: Reason::NoAnswer }),
            // Twice in a row: nobody else holds one either, or is left to try it.
            Some(Proof::NoMessages) if entry.reason == Reason::NoMessages => {
                (at, self.entry(Phase::Flowing, Reason::Recovered, entry.k))
            }
            Some(Proof::NoMessages) => {
                let k = entry.k.saturating_add(1);
                (at, Plan::Pause { k, reason: Reason::NoMessages })
            }
            None => {
                let dead = at + self.settings.timeout * DEAD_PROBER + self.view.stagger;
                (dead, self.entry(Phase::Probing, entry.reason, entry.k))
            }
        }
    }

    fn plan_alone(&self, machine: &Machine) -> Option<(Duration, Plan)> {
        if !machine.is_stopped() || self.key == Key::NotYet {
            return None;
        }
        let known = match self.view.entry.phase {
            Phase::Paused => self.view.entry.wait().min(LONGEST_PAUSE),
            Phase::Probing => self.settings.timeout * DEAD_PROBER,
            Phase::Flowing | Phase::Suspected => Duration::ZERO,
        };
        Some((self.view.at + known, Plan::Open))
    }

    fn entry(&self, phase: Phase, reason: Reason, k: u32) -> Plan {
        Plan::Write(Entry { phase, by: self.me.clone(), reason, k, ..Entry::default() })
    }

    /// Doubled with every failed pause, and spread, so that dependencies that fail together are
    /// not tried together.
    pub(super) fn pause(&mut self, k: u32, reason: Reason) -> Entry {
        let spread = 0.8 + 0.4 * self.random.f64();
        let doubled = self.settings.wait.saturating_mul(1 << k.min(20)).mul_f64(spread);
        let wait = match reason {
            Reason::Credentials => CREDENTIALS_WAIT.mul_f64(spread),
            Reason::Start
            | Reason::NoAnswer
            | Reason::Contradicted
            | Reason::Withdrawn
            | Reason::NoMessages
            | Reason::Recovered => doubled.min(self.settings.wait_max),
        };
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let by = self.me.clone();
        Entry { phase: Phase::Paused, by, reason, k, wait_ms, ..Entry::default() }
    }

    /// Contradicted suspicions are no pauses: what counts is how long the gates have been open.
    fn next_k(&self, now: Duration) -> u32 {
        let calm = now >= self.open_since + CALM;
        if calm { 0 } else { self.view.entry.k }
    }
}
