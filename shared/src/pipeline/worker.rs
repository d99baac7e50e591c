//! The worker as every stage sees it: the broker, its row of the flow, the clock and the limits.
//! One per process; stages borrow it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use metrics::Counter;
use tokio::sync::{RwLock, watch};
use tokio::time::Instant;
use uuid::Uuid;

use super::held::Held;
use super::retry;
use crate::broker::{Broker, Incarnation, Stored, Unavailable};
use crate::clock::Clock;
use crate::flow::Row;
use crate::ids::Direction;
use crate::log::envelope::{Cause, Occasion};
use crate::log::lookup::Lookup;
use crate::process::shutdown::{Shutdown, Stop, Stopper};
use crate::step::{Attempt, StepContext};
use crate::{Flow, KeyNamespace, SagaId, Slot, telemetry};

pub(crate) struct Worker {
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) flow: &'static Flow,
    /// For reads in which only a found message counts, because an empty answer may be stale.
    pub(crate) lookup: Lookup,
    /// This worker's row.
    pub(crate) row: &'static Row,
    pub(crate) clock: Clock,
    /// Of the streams this worker relies on, as they were at start.
    pub(crate) incarnations: Vec<Incarnation>,
    /// Of the log, as it was at start.
    pub(crate) keys: KeyNamespace,
    /// How long the broker waits for word from us before it delivers a message again. An operator
    /// may change it at any time.
    pub(crate) ack_wait: watch::Sender<Duration>,
    pub(crate) limits: Limits,
    /// Read by each run of a step, and written by one that its process may not survive.
    pub(crate) runs: RwLock<()>,
    /// What waits, or has failed, for whoever asks.
    pub(crate) held: Held,
    /// Steps that this process did, for metrics.
    pub(crate) done: Counter,
    pub(crate) stopper: Stopper,
    pub(crate) shutdown: Shutdown,
}

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// One attempt of a step.
    pub(crate) deadline: Duration,
    /// How long the worker holds a message that it cannot decide before it gives it back.
    pub(crate) hold_max: Duration,
    /// Triggers older than this may have been decided already: the worker reads their slot before
    /// the run.
    pub(crate) read_after: Duration,
    /// The worker sets a trigger aside when its cause is not in the log and it is older than this.
    pub(crate) cause_wait: Duration,
    /// A wish to cancel a saga is refused when the saga is not opened and the wish is older.
    pub(crate) cancel_wait: Duration,
}

/// The process is stopping, or the message has been held long enough.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GiveBack(pub(crate) Duration, pub(crate) Why);

/// Why a delivery goes back to the broker undecided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// The process stops.
    Stopping,
    /// It was in hand for as long as a message may be.
    HeldLong,
    /// Something that it waits for is not in the log yet, or it was delivered before.
    Later,
    /// It woke an undo of a saga that was never opened.
    Unopened,
    /// The breaker holds as many messages as it may.
    Holds,
    /// Other replicas are answered and this one is not.
    CutOff,
    /// An earlier delivery of the same message is still in hand.
    Twice,
    /// Its handling panicked.
    Panicked,
    /// The stream of parked messages is full.
    Full,
    /// It was handled before it was delivered, and nothing came of it.
    Ahead,
}

impl Why {
    /// Those of deliveries, which metrics count.
    pub(crate) const ALL: [Self; 9] = [
        Self::Stopping,
        Self::HeldLong,
        Self::Later,
        Self::Unopened,
        Self::Holds,
        Self::CutOff,
        Self::Twice,
        Self::Panicked,
        Self::Full,
    ];

    /// As metrics say it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Stopping => "stopping",
            Self::HeldLong => "held-long",
            Self::Later => "later",
            Self::Unopened => "unopened",
            Self::Holds => "holds",
            Self::CutOff => "cut-off",
            Self::Twice => "twice",
            Self::Panicked => "panicked",
            Self::Full => "full",
            Self::Ahead => "ahead",
        }
    }
}

impl Worker {
    /// Its name in the flow, in subjects, logs and metrics.
    pub(crate) fn name(&self) -> &'static str {
        self.row.worker
    }

    pub(crate) fn slot(&self, name: &'static str, saga: &SagaId) -> Slot {
        self.flow.slot(name, saga)
    }

    pub(crate) fn occasion(&self, cause: Cause, traceparent: Option<String>) -> Occasion {
        let time = self.clock.now();
        Occasion { cause: Some(cause), traceparent, time, seal: None, work: None }
    }

    /// What says that a message of this log, stored as `cause`, led to the event of `subject`.
    pub(crate) fn seal(&self, subject: &str, cause: u64) -> Option<Uuid> {
        let log = self.incarnations.first()?;
        Some(self.keys.seal(log.created.as_nanosecond(), subject, cause))
    }

    pub(crate) fn context(
        &self,
        direction: Direction,
        saga: &SagaId,
        at: Timestamp,
    ) -> StepContext {
        let attempt = Attempt {
            number: 1,
            deadline: Instant::now() + self.limits.deadline,
            age: self.clock.age(at),
        };
        let (log, saga_type) = (self.keys, self.flow.saga);
        StepContext::new(log, saga_type, self.row.worker, direction, saga.clone(), attempt)
    }

    /// What a slot holds, read from the leader. Tries again until there is an answer, as long as
    /// the message may be held.
    pub(crate) async fn last(&self, slot: &Slot) -> Result<Option<Stored>, GiveBack> {
        let held_since = Instant::now();
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.broker.last(self.flow.stream, slot.subject()).await {
                Ok(found) => return Ok(found),
                Err(_) => {
                    telemetry::unanswered(self.row.worker, slot.subject(), attempt);
                    self.pause(retry::BROKER.wait(attempt), held_since).await?;
                }
            }
        }
    }

    /// Stops the process with one line of text; never returns, because the task is about to be
    /// dropped.
    pub(crate) async fn halt<T>(&self, why: String) -> T {
        self.stopper.stop(Stop::Halt(why));
        std::future::pending().await
    }

    /// Waits before another try, unless the message has been held too long or the process stops.
    pub(crate) async fn pause(&self, wait: Duration, held_since: Instant) -> Result<(), GiveBack> {
        if held_since.elapsed() + wait > self.limits.hold_max {
            return Err(GiveBack(wait, Why::HeldLong));
        }
        let mut shutdown = self.shutdown.clone();
        tokio::select! {
            () = tokio::time::sleep(wait) => Ok(()),
            _ = shutdown.asked() => {
                Err(GiveBack(Duration::from_millis(fastrand::u64(0..500)), Why::Stopping))
            }
        }
    }

    /// Makes sure, after trouble with a slot, that the log is still the one this process started
    /// with, because another stream of the same name would accept every write as if nothing had
    /// ever happened. No other stream counts here: one that has no leader must not hold this up.
    pub(crate) async fn same_log(&self) {
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.broker.state(self.flow.stream).await {
                Ok(seen) => {
                    let seen: Vec<_> = seen.into_iter().map(|state| state.incarnation).collect();
                    if seen.first() == self.incarnations.first() {
                        return;
                    }
                    let (was, is) = (list(&self.incarnations), list(&seen));
                    return self.halt(format!("another stream, or none: was {was}; is {is}")).await;
                }
                Err(Unavailable(why)) => {
                    telemetry::unanswered(self.row.worker, &why, attempt);
                    tokio::time::sleep(retry::BROKER.wait(attempt)).await;
                }
            }
        }
    }

    /// The same of every stream that this worker relies on.
    pub(crate) async fn same_streams(&self) {
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.broker.inspect(self.flow, self.row.worker).await {
                Ok(seen) if seen.incarnations == self.incarnations => return,
                Ok(seen) => {
                    let (was, is) = (list(&self.incarnations), list(&seen.incarnations));
                    return self.halt(format!("another stream, or none: was {was}; is {is}")).await;
                }
                Err(Unavailable(why)) => {
                    telemetry::unanswered(self.row.worker, &why, attempt);
                    tokio::time::sleep(retry::BROKER.wait(attempt)).await;
                }
            }
        }
    }
}

fn list(streams: &[Incarnation]) -> String {
    let streams: Vec<_> = streams.iter().map(ToString::to_string).collect();
    streams.join(" and ")
}
