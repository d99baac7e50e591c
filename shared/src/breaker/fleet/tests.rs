//! The fleet's rules, one by one, against one replica and a key that the test writes.

mod suspicion;
mod pause;
mod key;

use super::*;
use crate::breaker::class::Class;
use crate::breaker::machine::{Offer, State};
use crate::breaker::{Message, MessageId};

/// One replica, `me`, with its key and its clock; another replica is played by hand.
struct Bench {
    fleet: Fleet,
    machine: Machine,
    now: Duration,
    revision: u64,
    calls: u64,
}

const ME: &str = "me";

const OTHER: &str = "other";

fn bench() -> Bench {
    bench_with(Settings::default())
}

fn bench_with(settings: Settings) -> Bench {
    let machine = Machine::new(settings, 1);
    let mut fleet = Fleet::new(ME.into(), settings, 2);
    fleet.holds(true);
    Bench { fleet, machine, now: Duration::from_secs(1000), revision: 0, calls: 0 }
}

fn flowing() -> Bench {
    let mut bench = bench();
    bench.see(Entry::default());
    bench
}

fn entry(phase: Phase, by: &str, reason: Reason) -> Entry {
    Entry { phase, by: by.into(), reason, ..Entry::default() }
}

fn paused(by: &str, wait_ms: u64) -> Entry {
    Entry { wait_ms, ..entry(Phase::Paused, by, Reason::NoAnswer) }
}

fn written(effects: &[Effect]) -> Option<Entry> {
    effects.iter().find_map(|effect| match effect {
        Effect::Write { entry, .. } => Some(entry.clone()),
        Effect::PauseServer(_) | Effect::ResumeServer | Effect::Log(_) => None,
    })
}

impl Bench {
    /// Fails each single try that is allowed in this time, and counts them.
    fn singles_within(&mut self, seconds: f64) -> u32 {
        let end = self.now + Duration::from_secs_f64(seconds);
        let mut tries = 0;
        loop {
            while matches!(self.machine.offer(self.now), Offer::Nothing) {
                match self.machine.wakes_at(self.now) {
                    Some(at) if at < end => self.now = at,
                    Some(_) | None => {
                        self.now = end;
                        return tries;
                    }
                }
            }
            self.call(Class::Failed);
            tries += 1;
        }
    }

    fn see(&mut self, entry: Entry) -> Vec<Effect> {
        self.revision += 1;
        self.fleet.seen(&mut self.machine, entry, self.revision, self.now)
    }

    fn decide(&mut self) -> Vec<Effect> {
        self.fleet.decide(&mut self.machine, self.now)
    }

    /// Waits until something is proposed, at most this long, and writes it.
    fn proposal_within(&mut self, seconds: f64) -> Option<Entry> {
        let end = self.now + Duration::from_secs_f64(seconds);
        loop {
            if let Some(entry) = written(&self.decide()) {
                return Some(entry);
            }
            match self.fleet.wakes_at(&self.machine) {
                Some(at) if at <= end => self.now = at.max(self.now),
                Some(_) | None => {
                    self.now = end;
                    return None;
                }
            }
        }
    }

    fn call(&mut self, class: Class) {
        self.calls += 1;
        let id = MessageId { source: 0, number: self.calls };
        let ticket = self.machine.start(Message::new(id, false, self.now), self.now);
        let began = self.now;
        self.machine.finish(ticket, class, self.now);
        if class == Class::Answered {
            self.fleet.answered(began);
        }
    }

    fn doubt(&mut self) {
        for _ in 0..8 {
            self.call(Class::Failed);
        }
        assert!(self.machine.doubting_since().is_some());
    }

    fn is_shut(&self) -> bool {
        *self.machine.state() == State::Shut
    }

    fn flows(&self) -> bool {
        *self.machine.state() == State::Flowing
    }

    fn wait(&mut self, seconds: f64) {
        self.now += Duration::from_secs_f64(seconds);
    }
}

fn forced(mode: Mode) -> Option<(Override, Duration)> {
    let (by, reason) = ("ann".to_owned(), "maintenance".to_owned());
    Some((Override { mode, by, reason, until_ms: 0 }, Duration::from_secs(3600)))
}

impl Bench {
    fn force(&mut self, wanted: Option<(Override, Duration)>) -> Vec<Effect> {
        self.fleet.overridden(&mut self.machine, wanted, self.now)
    }
}
