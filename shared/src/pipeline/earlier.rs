//! What earlier deliveries of a message came to, in the bucket `attempts`.
//!
//! A healthy system writes nothing here: only a message that was given back after it failed or came
//! again, and one that may have killed its worker. The bucket may forget; then a message is tried a
//! few times more.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::delivery::Delivery;
use super::retry;
use super::worker::Worker;
use crate::broker::{Entry, Published};
use crate::topology::ATTEMPTS;

/// Nobody waits longer for the bucket: an outage of the broker is noticed elsewhere.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// A message that came this often without an end of its earlier deliveries may have killed its
/// worker. Two are not enough, because a deploy that kills twice is no rarity.
pub(crate) const SUSPICIOUS: u64 = 3;

/// What is written down of a message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Record {
    /// The stream that holds the message: in another one of its name, the sequence is another's.
    stream: String,
    /// Failures that count against it.
    charged: u32,
    /// Its deliveries up to this one left their worker in good order.
    ended: u64,
    /// Runs that have begun since, as far as is known without an end.
    begun: u32,
}

/// The bucket did not answer.
#[derive(Debug)]
struct Unreadable;

/// What is known of a delivery's message.
#[derive(Debug)]
pub(crate) struct Earlier<'d> {
    delivery: &'d Delivery,
    revision: u64,
    record: Record,
    written_at: Option<Timestamp>,
    /// Deliveries of which no end is known, this one included.
    unended: u64,
}

impl<'d> Earlier<'d> {
    /// Reads it if the message was delivered before.
    pub(crate) async fn of(worker: &Worker, delivery: &'d Delivery) -> Self {
        let mut this =
            Self { delivery, revision: 0, record: Record::default(), written_at: None, unended: 0 };
        if delivery.delivered.deliveries <= 1 {
            return this;
        }
        // Who cannot read it suspects nobody, or everything that comes again would run alone.
        let Ok(entry) = this.read(worker).await else { return this };
        if let Some(entry) = entry {
            this.revision = entry.revision;
            match serde_json::from_slice::<Record>(&entry.value) {
                Ok(record) if record.stream == stream(worker) => {
                    this.record = record;
                    this.written_at = Some(entry.written_at);
                }
                // Of a stream that is no more, or not ours: written over.
                Ok(_) | Err(_) => {}
            }
        }
        let deliveries = this.deliveries();
        // A durable that was made anew counts from one.
        let ended = if this.record.ended > deliveries { 0 } else { this.record.ended };
        this.unended = deliveries - ended;
        this
    }

    /// The handling of this delivery ends in good order, and the message comes again. Written down
    /// where it is not yet, and where the next delivery would pass for one that killed its workers.
    pub(crate) async fn survived(worker: &Worker, delivery: &'d Delivery) {
        let mut this = Self::of(worker, delivery).await;
        if this.unended + 1 >= SUSPICIOUS {
            this.leaves(worker).await;
        }
    }

    /// Failures that count against the message.
    pub(crate) fn charged(&self) -> u32 {
        self.record.charged
    }

    /// Whether the message is handled before it is delivered.
    pub(crate) fn is_ahead(&self) -> bool {
        self.delivery.turn.is_ahead()
    }

    /// Whether it may be the message that ended its workers. It stays so for all attempts of this
    /// delivery, because the second may kill where the first did not.
    pub(crate) fn is_suspicious(&self) -> bool {
        self.unended >= SUSPICIOUS
    }

    /// Runs of it that began and never ended, and how long ago the last of them began.
    pub(crate) fn unended_runs(&self, worker: &Worker) -> (u32, Duration) {
        let age = self.written_at.map_or(Duration::MAX, |written| worker.clock.age(written));
        (self.record.begun, age)
    }

    /// How long the message leaves for after a failure for which no breaker has a say; `None` if it
    /// stays.
    ///
    /// Only at its first delivery is it held. A message that comes again has one attempt and makes
    /// room, because the broker delivers it before everything new: otherwise a few messages that
    /// never succeed would keep all others waiting.
    pub(crate) fn leaves_after(&self, after: Duration) -> Option<Duration> {
        let returns = u32::try_from(self.deliveries().checked_sub(2)? + 1).unwrap_or(u32::MAX);
        Some(retry::STEP.wait(returns).max(after))
    }

    /// Before a run that the process may not survive.
    pub(crate) async fn begins(&mut self, worker: &Worker) {
        self.record.begun += 1;
        self.write(worker).await;
    }

    /// The process survived this run. What earlier processes did not survive still counts, because
    /// the next attempt may be the one that kills.
    pub(crate) async fn ends(&mut self, worker: &Worker) {
        self.record.begun = self.record.begun.saturating_sub(1);
        self.write(worker).await;
    }

    /// The message leaves this process in good order. What earlier processes did not survive still
    /// counts.
    pub(crate) async fn leaves(&mut self, worker: &Worker) {
        self.record.ended = self.deliveries();
        self.write(worker).await;
    }

    /// It is parked: whoever mends the cause and takes it up again begins anew.
    pub(crate) async fn begins_anew(&mut self, worker: &Worker) {
        self.record.begun = 0;
        self.leaves(worker).await;
    }

    /// The message goes back to the broker.
    pub(crate) async fn given_back(&mut self, worker: &Worker, charged: u32) {
        let charged = charged.max(self.record.charged);
        // A first delivery that failed nothing leaves nothing to remember.
        if self.deliveries() > 1 || charged > 0 {
            self.record.charged = charged;
            self.leaves(worker).await;
        }
    }

    fn deliveries(&self) -> u64 {
        self.delivery.delivered.deliveries
    }

    fn key(&self) -> String {
        format!("{}.{}", self.delivery.durable, self.delivery.number())
    }

    async fn read(&self, worker: &Worker) -> Result<Option<Entry>, Unreadable> {
        let key = self.key();
        match timeout(ANSWER_TIME, worker.broker.entry(ATTEMPTS, &key)).await {
            Ok(Ok(entry)) => Ok(entry),
            Ok(Err(_)) | Err(_) => {
                tracing::debug!(key, "earlier attempts cannot be read");
                Err(Unreadable)
            }
        }
    }

    /// Once more after a conflict, because the message may have been delivered twice: the last one
    /// to write counts.
    async fn write(&mut self, worker: &Worker) {
        let (key, stream) = (self.key(), stream(worker));
        let record = Record { stream, ..self.record.clone() };
        let value = serde_json::to_vec(&record).expect("words and numbers always serialise");
        for _ in 0..2 {
            let (guard, value) = (self.revision, value.clone().into());
            let written = worker.broker.compare_and_set(ATTEMPTS, &key, guard, value, None);
            match timeout(ANSWER_TIME, written).await {
                Ok(Published::Stored { sequence }) => {
                    self.revision = sequence;
                    return;
                }
                Ok(Published::Conflict) => {
                    let stored = self.read(worker).await.ok().flatten();
                    self.revision = stored.map_or(0, |entry| entry.revision);
                }
                Ok(_) | Err(_) => break,
            }
        }
        tracing::warn!(key, "attempts cannot be written down; the bucket is `attempts`");
    }
}

/// The stream of the log, of all that have had its name.
fn stream(worker: &Worker) -> String {
    worker.incarnations.first().map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::{Incarnation, Stored};
    use crate::testing::desk::Desk;

    const MINUTE: Duration = Duration::from_secs(60);

    fn trigger() -> (Desk, Stored) {
        let desk = Desk::of("charge-card");
        let message = desk.done("book-hotel");
        (desk, message)
    }

    /// A delivery that ends its process: nothing more is written.
    async fn killed(desk: &Desk, message: &Stored, deliveries: u64) -> (u32, bool) {
        let delivery = desk.delivery(message.clone(), deliveries);
        let mut earlier = Earlier::of(&desk.worker, &delivery).await;
        let before = earlier.unended_runs(&desk.worker).0;
        if earlier.is_suspicious() {
            earlier.begins(&desk.worker).await;
        }
        (before, earlier.is_suspicious())
    }

    #[tokio::test(start_paused = true)]
    async fn from_the_third_delivery_without_an_end_each_start_is_written_down() {
        let (desk, message) = trigger();
        for (deliveries, expected) in
            [(1, (0, false)), (2, (0, false)), (3, (0, true)), (4, (1, true)), (5, (2, true))]
        {
            assert_eq!(killed(&desk, &message, deliveries).await, expected, "{deliveries}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_left_in_good_order_is_not_suspected_but_its_starts_still_count() {
        let (desk, message) = trigger();
        for deliveries in 3..=4 {
            killed(&desk, &message, deliveries).await;
        }
        let delivery = desk.delivery(message.clone(), 5);
        let mut earlier = Earlier::of(&desk.worker, &delivery).await;
        earlier.leaves(&desk.worker).await;
        // The sixth is not suspicious: the fifth ended. The eighth is: the sixth and seventh did
        // not.
        assert_eq!(killed(&desk, &message, 6).await, (2, false));
        assert_eq!(killed(&desk, &message, 7).await, (2, false));
        assert_eq!(killed(&desk, &message, 8).await, (2, true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_ends_takes_its_own_start_back_and_no_other() {
        let (desk, message) = trigger();
        for deliveries in 3..=4 {
            killed(&desk, &message, deliveries).await;
        }
        let delivery = desk.delivery(message, 5);
        let mut earlier = Earlier::of(&desk.worker, &delivery).await;
        earlier.begins(&desk.worker).await;
        assert_eq!(Earlier::of(&desk.worker, &delivery).await.record.begun, 3);
        earlier.ends(&desk.worker).await;
        assert_eq!(Earlier::of(&desk.worker, &delivery).await.record.begun, 2);
        tokio::time::advance(MINUTE).await;
        let (starts, ago) = Earlier::of(&desk.worker, &delivery).await.unended_runs(&desk.worker);
        assert!(starts == 2 && (MINUTE..2 * MINUTE).contains(&ago), "{ago:?}");
        earlier.begins_anew(&desk.worker).await;
        let anew = Earlier::of(&desk.worker, &delivery).await;
        assert_eq!((anew.record.begun, anew.record.ended, anew.unended), (0, 5, 0));
    }

    /// In a log that was made anew the number of a message is another message's.
    #[tokio::test(start_paused = true)]
    async fn what_was_written_down_of_another_log_or_durable_says_nothing() {
        let (mut desk, message) = trigger();
        for deliveries in 3..=5 {
            killed(&desk, &message, deliveries).await;
        }
        let delivery = desk.delivery(message.clone(), 100);
        Earlier::of(&desk.worker, &delivery).await.leaves(&desk.worker).await;
        // A durable that was made anew counts its deliveries from one.
        assert!(killed(&desk, &message, 3).await.1, "the hundredth is to come");
        let created = desk.log.now() + MINUTE;
        desk.worker.incarnations =
            vec![Incarnation { created, ..desk.worker.incarnations[0].clone() }];
        assert_eq!(killed(&desk, &message, 3).await, (0, true));
        assert_eq!(killed(&desk, &message, 4).await, (1, true), "and it is written over");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_suspected_while_the_bucket_gives_no_answer() {
        let (desk, message) = trigger();
        desk.log.kept().is_silent = true;
        assert_eq!(killed(&desk, &message, 9).await, (0, false));
    }

    /// Otherwise a message that fails again and again would never come to its last attempt.
    #[tokio::test(start_paused = true)]
    async fn failures_that_count_are_remembered_and_never_get_fewer() {
        let (desk, message) = trigger();
        let given_back = async |deliveries, charged| {
            let delivery = desk.delivery(message.clone(), deliveries);
            Earlier::of(&desk.worker, &delivery).await.given_back(&desk.worker, charged).await;
            let next = desk.delivery(message.clone(), deliveries + 1);
            let next = Earlier::of(&desk.worker, &next).await;
            (next.charged(), next.unended)
        };
        assert_eq!(given_back(1, 0).await, (0, 2));
        assert_eq!(given_back(2, 0).await, (0, 1), "it comes again in good order");
        desk.log.kept().bucket.clear();
        assert_eq!(given_back(1, 0).await, (0, 2));
        assert!(desk.log.kept().bucket.is_empty(), "a first delivery that failed nothing");
        assert_eq!(given_back(1, 3).await, (3, 1));
        assert_eq!(given_back(2, 1).await, (3, 1));
        assert_eq!(given_back(3, 5).await, (5, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_two_deliveries_write_at_once_is_the_last_ones() {
        let (desk, message) = trigger();
        let delivery = desk.delivery(message, 3);
        let mut first = Earlier::of(&desk.worker, &delivery).await;
        let mut second = Earlier::of(&desk.worker, &delivery).await;
        first.given_back(&desk.worker, 1).await;
        second.given_back(&desk.worker, 4).await;
        assert_eq!(Earlier::of(&desk.worker, &delivery).await.charged(), 4);
    }

    /// The broker delivers it before everything new, so it makes room.
    #[tokio::test(start_paused = true)]
    async fn only_at_its_first_delivery_is_a_message_held() {
        let (desk, message) = trigger();
        let leaves = async |deliveries, after| {
            let delivery = desk.delivery(message.clone(), deliveries);
            Earlier::of(&desk.worker, &delivery).await.leaves_after(after)
        };
        assert_eq!(leaves(1, Duration::ZERO).await, None);
        let second = leaves(2, Duration::ZERO).await.unwrap();
        assert!((100..=200).contains(&second.as_millis()), "{second:?}");
        let fourth = leaves(4, Duration::ZERO).await.unwrap();
        assert!((400..=800).contains(&fourth.as_millis()), "{fourth:?}");
        assert_eq!(leaves(2, MINUTE).await, Some(MINUTE), "as its service asks");
    }

    /// A healthy system writes and reads nothing here.
    #[tokio::test(start_paused = true)]
    async fn a_first_delivery_reads_nothing_and_leaves_nothing_but_what_it_failed() {
        let (desk, message) = trigger();
        let first = desk.delivery(message.clone(), 1);
        Earlier::survived(&desk.worker, &first).await;
        assert!(desk.log.kept().asked.is_empty() && desk.log.kept().bucket.is_empty());
        let second = desk.delivery(message, 2);
        Earlier::survived(&desk.worker, &second).await;
        assert_eq!(desk.log.kept().bucket.len(), 1, "the third would be suspected");
    }
}
