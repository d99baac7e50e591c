//! The broker's clock, as far as a replica can know it.
//!
//! Ages are differences of two of the broker's times, so a replica whose own clock is wrong or
//! jumps decides nothing differently: between two answers, time passes by the monotonic clock.

use std::sync::RwLock;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

#[derive(Debug)]
pub(crate) struct Clock(RwLock<(Timestamp, Instant)>);

impl Clock {
    pub(crate) fn new(server_time: Timestamp) -> Self {
        Self(RwLock::new((server_time, Instant::now())))
    }

    /// Sets the clock by an answer that has just come in.
    pub(crate) fn set(&self, server_time: Timestamp) {
        *self.0.write().expect("nobody panics holding it") = (server_time, Instant::now());
    }

    pub(crate) fn now(&self) -> Timestamp {
        let (server_time, at) = *self.0.read().expect("nobody panics holding it");
        let passed = SignedDuration::try_from(at.elapsed()).unwrap_or(SignedDuration::MAX);
        server_time.saturating_add(passed).unwrap_or(Timestamp::MAX)
    }

    /// Time since the broker stored something; zero if that seems to lie ahead.
    pub(crate) fn age(&self, stored_at: Timestamp) -> Duration {
        Duration::try_from(self.now().duration_since(stored_at)).unwrap_or_default()
    }
}
