//! One replica with its messages in hand.

mod turns;
mod holds;

use super::*;
use crate::breaker::fleet::{Phase, Reason};

/// A replica and its clock.
struct Bench {
    replica: Replica,
    now: Duration,
    revision: u64,
}

fn id(number: u64) -> MessageId {
    MessageId { source: 0, number }
}

fn flowing_with(settings: Settings) -> Bench {
    let mut replica = Replica::new("me", settings, 1);
    replica.seen(Entry::default(), 0, Duration::ZERO);
    Bench { replica, now: Duration::ZERO, revision: 0 }
}

fn flowing() -> Bench {
    flowing_with(Settings::default())
}

impl Bench {
    fn pull(&mut self, number: u64) {
        self.replica.hold(Message::new(id(number), false, self.now), self.now);
    }

    fn pull_undo(&mut self, number: u64) {
        self.replica.hold(Message::new(id(number), true, self.now), self.now);
    }

    /// A message that was tried before and is due.
    fn hold_tried(&mut self, number: u64) {
        let message = Message { tries: 1, ..Message::new(id(number), false, self.now) };
        self.replica.hold(message, self.now);
    }

    fn next(&mut self) -> Option<Next> {
        self.replica.next(self.now)
    }

    fn ticket(&mut self) -> Option<Ticket> {
        match self.next() {
            Some(Next::Call(ticket)) => Some(ticket),
            None => None,
            Some(other) => panic!("{other:?}"),
        }
    }

    /// The messages that start now, in their order.
    fn start_all(&mut self) -> Vec<u64> {
        let mut started = Vec::new();
        while let Some(ticket) = self.ticket() {
            started.push(ticket.message().id.number);
        }
        started
    }

    fn finish(&mut self, ticket: Ticket, class: Class) -> Verdict {
        self.replica.finish(ticket, class, self.now)
    }

    fn call(&mut self, number: u64, class: Class) {
        self.pull(number);
        let ticket = self.ticket().expect("a free slot");
        self.finish(ticket, class);
    }

    fn doubt(&mut self) {
        for number in 1000..1008 {
            self.call(number, Class::Failed);
        }
    }

    fn see(&mut self, phase: Phase, by: &str, reason: Reason) {
        self.revision += 1;
        let entry = Entry { phase, by: by.into(), reason, wait_ms: 2000, ..Entry::default() };
        self.replica.seen(entry, self.revision, self.now);
    }

    fn probing(&mut self) {
        self.see(Phase::Probing, "me", Reason::NoAnswer);
    }

    fn limit_of(&mut self, limit: u32) {
        self.see(Phase::Flowing, "x", Reason::Recovered);
        self.now += Duration::from_secs(1);
        for number in 2000..(1999 + u64::from(limit)) {
            self.call(number, Class::Answered);
        }
    }

    fn room(&self) -> u32 {
        self.replica.room(self.now)
    }

    fn wait(&mut self, seconds: f64) {
        self.now += Duration::from_secs_f64(seconds);
    }
}

fn writes(bench: &mut Bench) -> Vec<Phase> {
    let effects = bench.replica.take_effects();
    let phase = |effect: &Effect| match effect {
        Effect::Write { entry, .. } => Some(entry.phase),
        Effect::PauseServer(_) | Effect::ResumeServer | Effect::Log(_) => None,
    };
    effects.iter().filter_map(phase).collect()
}
