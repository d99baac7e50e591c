//! A reader that follows the log one deadline behind the present.
//!
//! Deadlines are the same for all sagas of a flow, so the order of the log is the order in which
//! they are due. The reader holds the first message until it is due, and only then asks for more.
//! So there are no timers, nothing is on the hot path, and nothing can be lost but the log itself;
//! a changed deadline holds for open sagas, too.

mod services;

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::durable::{self, Label, attend};
use crate::breaker::gate::Gate;
use crate::broker::{Delivered, Pulled, Settle};
use crate::config::{Deadline, DeadlineSettings};
use crate::flow::{Durable, Row};
use crate::pipeline::{Delivery, Turn, Worker};
use crate::process::shutdown::Stop;
use crate::topology::DEADLINE_ACK_WAIT;
use crate::undo::deadline;
use crate::{Flow, telemetry};
use services::Services;

/// Messages in hand at once, and most that are asked for at once.
const PLACES: usize = 64;

/// How often the one that waits asks for what is due before: another replica may have lost it, or
/// given it back.
const LOOK_BACK: Duration = Duration::from_secs(5);

/// Delivered, and not due yet, by their sequences, which is the order in which they are due.
type Early = BTreeMap<u64, Delivered>;

/// What a durable of this kind does.
pub(super) struct Walk {
    /// From when the broker stored the message.
    after: Duration,
    /// The step that is to decide in time; `None` for the saga, which is to pass its pivot.
    step: Option<&'static Row>,
    services: Services,
    extend_max: Duration,
}

impl Walk {
    /// `None` where the deadline is off: then nothing is read, and nothing is passed over.
    pub(super) fn of(
        flow: &'static Flow,
        step: Option<&'static str>,
        settings: &DeadlineSettings,
    ) -> Option<Self> {
        let step = step.and_then(|name| flow.row(name));
        let default = step.unwrap_or(flow.closing()).within?;
        match settings.of(step.map(|row| row.worker), default) {
            Deadline::Off => None,
            Deadline::After(after) => Some(Self {
                after,
                step,
                services: Services::required(flow, step, settings.grace),
                extend_max: settings.extend_max,
            }),
        }
    }

    fn due(&self, delivered: &Delivered) -> Timestamp {
        later(delivered.message.stored_at, self.after)
    }
}

/// Serves the durable until the process stops.
pub(super) async fn serve(worker: Arc<Worker>, durable: Durable, source: u16, walk: Walk) {
    let mut shutdown = worker.shutdown.clone();
    let Some(mut pull) = durable::open(&worker, &durable).await else { return };
    let took = metrics::histogram!(telemetry::HANDLING, "durable" => durable.name.clone());
    let gate = Gate::new(source, true, Vec::new());
    let walk = Arc::new(walk);
    let mut early = Early::new();
    let (mut in_hand, mut ask, mut looked) = (JoinSet::new(), 1, Instant::now());
    let mut asked = pin!(shutdown.asked());
    loop {
        while in_hand.try_join_next().is_some() {}
        while let Some(first) = early.first_entry()
            && walk.due(first.get()) <= worker.clock.now()
        {
            begin(&worker, &durable, &gate, &walk, &took, first.remove(), &mut in_hand);
        }
        let free = PLACES.saturating_sub(in_hand.len());
        // While the first one waits, only what is on its way already is taken, and what another
        // replica had.
        let looks_back = !early.is_empty() && looked.elapsed() >= LOOK_BACK;
        let wanted = if early.is_empty() { free.min(ask) } else { usize::from(looks_back) };
        tokio::select! {
            biased;
            _ = &mut asked => break,
            Some(_) = in_hand.join_next(), if free == 0 => {}
            () = sleep(until_the_next(&worker, &walk, &early)), if !early.is_empty() => {
                for waiting in early.values() {
                    worker.broker.settle(&waiting.receipt, Settle::Progress).await;
                }
            }
            pulled = pull.next(wanted), if wanted > 0 || !early.is_empty() => match pulled {
                Pulled::Message(delivered) => {
                    let is_due = walk.due(&delivered) <= worker.clock.now();
                    // The further it lags, the more it asks for.
                    ask = if is_due { PLACES.min(ask * 2) } else { 1 };
                    looked = Instant::now();
                    let (sequence, receipt) = (delivered.message.sequence, &delivered.receipt);
                    if looks_back && early.first_key_value().is_some_and(|(at, _)| *at < sequence) {
                        // For whoever has nothing that comes before.
                        worker.broker.settle(receipt, Settle::Retry(Duration::ZERO)).await;
                    } else {
                        early.insert(sequence, delivered);
                    }
                }
                Pulled::Deleted => {
                    let why = format!("durable {} was deleted", durable.name);
                    worker.stopper.stop(Stop::Halt(why));
                    break;
                }
            },
        }
    }
    for delivered in pull.stop().await.into_iter().chain(early.into_values()) {
        worker.broker.settle(&delivered.receipt, Settle::Retry(Duration::ZERO)).await;
    }
    while in_hand.join_next().await.is_some() {}
}

/// Until the first one is due, or the broker wants to hear that they are still in hand.
fn until_the_next(worker: &Worker, walk: &Walk, early: &Early) -> Duration {
    let Some(first) = early.values().next() else { return DEADLINE_ACK_WAIT / 3 };
    let left = walk.due(first).duration_since(worker.clock.now());
    Duration::try_from(left).unwrap_or_default().min(DEADLINE_ACK_WAIT / 3)
}

/// Begins with a message that is due.
fn begin(
    worker: &Arc<Worker>,
    durable: &Durable,
    gate: &Gate,
    walk: &Arc<Walk>,
    took: &metrics::Histogram,
    delivered: Delivered,
    in_hand: &mut JoinSet<()>,
) {
    let (worker, walk, receipt) = (worker.clone(), walk.clone(), delivered.receipt.clone());
    let Some((_, saga)) = worker.flow.parse_subject(&delivered.message.subject) else {
        // No saga; the worker whose trigger it would be sets it aside.
        in_hand
            .spawn(async move { worker.broker.settle(&receipt, Settle::Term("invalid-id")).await });
        return;
    };
    let turn = Turn::of(gate, delivered.message.sequence);
    let due = walk.due(&delivered);
    let label = Label::of(&durable.name.as_str().into(), &delivered);
    let name = durable.name.clone();
    let delivery = Delivery { delivered, saga, durable: name, released: None, turn };
    let handled = worker.clone();
    let handling = Box::pin(async move { end(&handled, delivery, due, &walk).await });
    in_hand.spawn(attend(worker, label, took.clone(), handling, DEADLINE_ACK_WAIT));
}

/// Ends what is not decided, as soon as no outage is an excuse any longer.
async fn end(worker: &Worker, delivery: Delivery, due: Timestamp, walk: &Walk) {
    let latest = later(due, walk.extend_max);
    loop {
        if let Some(decided) = deadline::is_decided(worker, &delivery, walk.step).await {
            return delivery.end(worker, decided.into()).await;
        }
        if worker.clock.now() >= latest || walk.services.have_answered_for_long(worker).await {
            return deadline::handle(worker, delivery, walk.step).await;
        }
        // Given back only where the process stops.
        if let Err(back) = worker.pause(services::LOOK_EVERY, Instant::now()).await {
            return delivery.end(worker, back.into()).await;
        }
    }
}

fn later(time: Timestamp, wait: Duration) -> Timestamp {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    time.saturating_add(wait).unwrap_or(Timestamp::MAX)
}
