//! How many messages a pull has asked for and not handed out yet: pure, so that the rule "never
//! more than is free" can be tested without a broker.

use std::time::Duration;

use async_nats::Message;
use tokio::time::Instant;

/// After this time a request is surely dead, although its end was never heard.
const RUN_OUT: Duration = Duration::from_secs(3);

/// The count must reach zero this often, so that an error in it cannot stay. Under load it does so
/// within milliseconds.
const PROVE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Count {
    /// Arrived and waiting, or still to come.
    asked: usize,
    /// When it last left zero.
    since: Instant,
    newest_request: Instant,
}

impl Count {
    pub(super) fn new(now: Instant) -> Self {
        Self { asked: 0, since: now, newest_request: now }
    }

    pub(super) fn asked(&self) -> usize {
        self.asked
    }

    /// How many to ask for now; 0 for none. Does not ask message by message, but only when no
    /// request is open, or for at least half of what is free.
    pub(super) fn wanted(&self, free: usize, now: Instant) -> usize {
        let unasked = free.saturating_sub(self.asked);
        let proving = now > self.since + PROVE;
        if self.asked > 0 && (proving || unasked * 2 < free) { 0 } else { unasked }
    }

    pub(super) fn ask(&mut self, batch: usize, now: Instant) {
        if self.asked == 0 {
            self.since = now;
        }
        self.asked += batch;
        self.newest_request = now;
    }

    /// Counts messages as handed out, or as left over by a request that ended.
    pub(super) fn less(&mut self, messages: usize) {
        self.asked = self.asked.saturating_sub(messages);
    }

    /// Expects no more messages besides those that have `arrived`.
    pub(super) fn expect_only(&mut self, arrived: usize) {
        self.asked = arrived;
    }

    /// When the last request is surely dead.
    pub(super) fn runs_out(&self) -> Instant {
        self.newest_request + RUN_OUT
    }
}

/// Messages that an ended request will no longer deliver.
pub(super) fn left_over(status: &Message) -> Option<usize> {
    let headers = status.headers.as_ref()?;
    headers.get("Nats-Pending-Messages")?.as_str().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_asked_for_than_is_free() {
        let now = Instant::now();
        let mut count = Count::new(now);
        for free in [3, 8, 1, 0, 5, 64, 2] {
            let batch = count.wanted(free, now);
            assert!(batch == 0 || count.asked() + batch <= free);
            count.ask(batch, now);
        }
    }

    #[test]
    fn a_busy_worker_asks_for_half_of_its_slots_at_a_time() {
        let now = Instant::now();
        let mut count = Count::new(now);
        count.ask(count.wanted(64, now), now);
        assert_eq!((count.asked(), count.wanted(64, now)), (64, 0));
        count.less(31);
        assert_eq!(count.wanted(64, now), 0);
        count.less(1);
        assert_eq!(count.wanted(64, now), 32);
        count.less(32);
        assert_eq!(count.wanted(1, now), 1);
    }

    #[test]
    fn an_error_in_the_count_does_not_stay() {
        let now = Instant::now();
        let mut count = Count::new(now);
        count.ask(64, now);
        count.less(50);
        let later = now + PROVE + Duration::from_millis(1);
        assert_eq!(count.wanted(64, later), 0);
        count.expect_only(0);
        assert_eq!(count.wanted(64, later), 64);
    }
}
