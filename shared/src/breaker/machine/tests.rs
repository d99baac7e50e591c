//! The replica's rules, one by one.

mod doubt;
mod limits;
mod charges;

use super::*;
use crate::breaker::MessageId;
use crate::breaker::fleet::Reason;

/// A machine and a clock.
struct Bench {
    machine: Machine,
    now: Duration,
}

fn message(number: u64) -> Message {
    Message::new(MessageId { source: 0, number }, false, Duration::ZERO)
}

fn again(number: u64) -> Message {
    Message { tries: 1, ..message(number) }
}

fn flowing() -> Bench {
    let mut machine = Machine::new(Settings::default(), 1);
    machine.open(Duration::ZERO, false);
    Bench { machine, now: Duration::ZERO }
}

fn doubting() -> Bench {
    let mut bench = flowing();
    bench.fail(1..9, Class::Failed);
    assert!(bench.doubts());
    bench
}

impl Bench {
    fn call(&mut self, message: Message, class: Class) -> Verdict {
        let ticket = self.machine.start(message, self.now);
        self.machine.finish(ticket, class, self.now)
    }

    fn fail(&mut self, numbers: impl IntoIterator<Item = u64>, class: Class) {
        for number in numbers {
            self.call(message(number), class);
        }
    }

    fn answer(&mut self, numbers: impl IntoIterator<Item = u64>) {
        self.fail(numbers, Class::Answered);
    }

    fn doubts(&self) -> bool {
        self.machine.doubting_since().is_some()
    }

    fn wait(&mut self, seconds: f64) {
        self.now += Duration::from_secs_f64(seconds);
    }

    fn offer(&self) -> Offer {
        self.machine.offer(self.now)
    }

    /// Waits until a single try is allowed, and says for how long.
    fn until_single(&mut self) -> Duration {
        let began = self.now;
        while self.offer() == Offer::Nothing {
            self.now = self.machine.wakes_at(self.now).unwrap();
        }
        assert!(matches!(self.offer(), Offer::Single { .. }));
        self.now - began
    }
}

fn flowing_window() -> Window {
    let mut bench = flowing();
    bench.answer(500..520);
    bench.machine.window
}
