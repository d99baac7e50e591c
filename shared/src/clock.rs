//! The broker's clock, as far as a replica can know it.
//!
//! Ages are differences of two of the broker's times, so a replica whose own clock is wrong decides
//! nothing differently. Between two answers of the broker, time passes by the monotonic clock.
//!
//! The monotonic clock stops while the machine is suspended. So an age also counts the time that
//! has passed by the wall clock, if that is more. Ages serve decisions in which too old costs a
//! read, and too young costs a second charge.

use std::sync::RwLock;
use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// No clock that is merely slow or slewed drifts this far between two answers.
const JUMP: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Clock(RwLock<Answer>);

/// The broker's time, and this machine's time when it asked for it: the time between the two makes
/// ages too old, never too young.
#[derive(Debug, Clone, Copy)]
struct Answer {
    server_time: Timestamp,
    asked: Asked,
}

/// This machine's time just before the broker is asked for its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    at: Instant,
    wall: SystemTime,
}

impl Asked {
    pub(crate) fn now() -> Self {
        Self { at: Instant::now(), wall: wall() }
    }

    /// Time since then, that of a suspended machine included: too much where the wall clock was
    /// set forward, never too little.
    pub(crate) fn passed(&self) -> Duration {
        let by_wall = wall().duration_since(self.wall).unwrap_or_default();
        self.at.elapsed().max(by_wall)
    }
}

impl Clock {
    pub(crate) fn new(asked: Asked, server_time: Timestamp) -> Self {
        Self(RwLock::new(Answer { server_time, asked }))
    }

    /// Sets the clock by an answer.
    pub(crate) fn set(&self, asked: Asked, server_time: Timestamp) {
        *self.0.write().expect("no code panics while it holds the lock") =
            Answer { server_time, asked };
    }

    pub(crate) fn now(&self) -> Timestamp {
        let answer = self.answer();
        later(answer.server_time, answer.asked.at.elapsed())
    }

    /// Whether the two clocks of this machine have drifted apart since the last answer: it was
    /// suspended, or its wall clock was set. [`Self::now`] may then be wrong.
    pub(crate) fn has_jumped(&self) -> bool {
        let asked = self.answer().asked;
        let (now, monotonic) = (wall(), asked.at.elapsed());
        let apart = match now.duration_since(asked.wall) {
            Ok(by_wall) => by_wall.abs_diff(monotonic),
            Err(set_back) => set_back.duration() + monotonic,
        };
        apart > JUMP
    }

    /// Time since the broker stored something; zero if that seems to be in the future.
    pub(crate) fn age(&self, stored_at: Timestamp) -> Duration {
        let answer = self.answer();
        let now = later(answer.server_time, answer.asked.passed());
        Duration::try_from(now.duration_since(stored_at)).unwrap_or_default()
    }

    fn answer(&self) -> Answer {
        *self.0.read().expect("no code panics while it holds the lock")
    }
}

#[expect(clippy::disallowed_methods, reason = "only its advance counts, and only to be careful")]
fn wall() -> SystemTime {
    SystemTime::now()
}

fn later(time: Timestamp, passed: Duration) -> Timestamp {
    let passed = SignedDuration::try_from(passed).unwrap_or(SignedDuration::MAX);
    time.saturating_add(passed).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Suspended for a day: the monotonic clock has not moved, the wall clock has.
    #[test]
    fn an_age_counts_the_time_a_machine_was_suspended() {
        let day = Duration::from_secs(86_400);
        let server_time = Timestamp::from_second(1_700_000_000).unwrap();
        let asked = Asked::now();
        let clock = Clock::new(Asked { wall: asked.wall - day, ..asked }, server_time);
        assert!(clock.age(server_time) >= day);
        assert!(clock.now().duration_since(server_time) < SignedDuration::from_hours(1));
    }

    #[test]
    fn a_jump_of_either_clock_is_noticed() {
        let asked = Asked::now();
        let jumped = |wall| Clock::new(Asked { wall, ..asked }, Timestamp::UNIX_EPOCH).has_jumped();
        let minute = Duration::from_secs(60);
        assert!(!jumped(asked.wall));
        assert!(jumped(asked.wall - minute), "suspended");
        assert!(jumped(asked.wall + minute), "set back");
    }

    #[test]
    fn a_wall_clock_set_back_makes_nothing_younger() {
        let hour = Duration::from_secs(3_600);
        let server_time = Timestamp::from_second(1_700_000_000).unwrap();
        let asked = Asked::now();
        let clock = Clock::new(Asked { wall: asked.wall + hour, ..asked }, server_time);
        let stored_at = Timestamp::from_second(1_700_000_000 - 3_600).unwrap();
        assert!(clock.age(stored_at) >= hour);
    }
}
