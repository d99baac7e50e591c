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
const SUSPICIOUS: u64 = 3;

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
