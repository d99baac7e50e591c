//! How long to wait before trying again (*exponential backoff*): the time doubles up to a cap, and
//! the wait is a random part of it, from half to all.
//!
//! The worker waits with the message in hand and keeps telling the broker that work goes on, so
//! that a short outage costs no redelivery.

use std::time::Duration;

/// A schedule of waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backoff {
    first: Duration,
    most: Duration,
}

/// A step that could not find out: the usual outage lasts seconds to minutes.
pub(crate) const STEP: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
/// The broker gave no answer: a leader change takes up to some seconds.
pub(crate) const BROKER: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
/// The broker has another proposal in flight for the subject: 5 to 50 ms (measured).
pub(crate) const BUSY: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(50));
/// The stream is full: a human has to raise the limit.
pub(crate) const FULL: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));
/// The stream of parked messages is full: the message goes back and leaves room for others.
pub(crate) const PARK: Backoff = Backoff::new(Duration::from_secs(4), Duration::from_secs(60));
/// The log does not say yet why an undo was woken. After a stale read this lasts moments, after a
/// forged signal until the saga is closed.
pub(crate) const LOOK: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(30));

impl Backoff {
    const fn new(first: Duration, most: Duration) -> Self {
        Self { first, most }
    }

    /// The wait after the `attempt`-th failure (from 1): half to all of the doubled time.
    pub(crate) fn wait(self, attempt: u32) -> Duration {
        let doubled = self.first.saturating_mul(1 << attempt.saturating_sub(1).min(20));
        doubled.min(self.most).mul_f64(0.5 + 0.5 * fastrand::f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_cap_and_never_reach_zero() {
        for attempt in 1..200 {
            let wait = STEP.wait(attempt);
            assert!(wait >= Duration::from_millis(100) && wait <= Duration::from_secs(30));
        }
        assert!(STEP.wait(100) >= Duration::from_secs(15));
    }
}
