//! The loop of one durable: asks for no more messages than can start now, and handles every
//! delivery until it is settled.

mod ahead;
mod in_hand;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use metrics::Histogram;
use tokio::time::{Instant, interval, sleep, sleep_until};

use super::Handler;
use super::pulse::{Order, Pulse};
use crate::breaker::gate::Gate;
use crate::broker::{Delivered, Pull, Pulled, Receipt, Settle, Stored, Unavailable, Unreadable};
use crate::flow::{Durable, Role};
use crate::pipeline::{Delivery, GiveBack, Released, Turn, Why, Worker, park, retry};
use crate::process::shutdown::Stop;
use crate::{BadData, Reason, telemetry};
use ahead::Ahead;
use in_hand::{InHand, MEASURED};

/// Between two in-progress acks, whatever `ack_wait` somebody has set.
const SHORTEST_PROGRESS: Duration = Duration::from_millis(10);

/// The handling of one delivery, to its settlement.
pub(super) type Handling = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Serves a durable until the process stops and everything in hand is settled or given back.
///
/// `places` is how many messages may be in hand. Where the step requires a service, its breakers
/// allow less, and what waits for them takes no place.
pub(super) async fn serve(
    worker: Arc<Worker>,
    durable: Durable,
    places: usize,
    gate: Gate,
    mut pulse: Pulse,
    handle: Handler,
) {
    let mut shutdown = worker.shutdown.clone();
    let Some(mut pull) = open(&worker, &durable).await else { return };
    // Looked up once, because this is the hot path.
    let took = metrics::histogram!(telemetry::HANDLING, "durable" => durable.name.clone());
    let name: Arc<str> = durable.name.as_str().into();
    let begin = |delivered: Delivered, turn: Turn| {
        let label = Label::of(&name, &delivered);
        let handling = start(&worker, &durable, delivered, turn, &handle);
        attend(worker.clone(), label, took.clone(), handling, Duration::MAX)
    };
    let mut in_hand = InHand::default();
    let mut ahead = Ahead::of(&worker, &durable, &gate);
    let mut tick = interval(MEASURED);
    let (mut rooms, mut more) = (gate.rooms(), false);
    let mut asked = pin!(shutdown.asked());
    loop {
        while in_hand.try_next() {}
        if let Some(found) = ahead.next(&worker, &gate, &rooms).await {
            in_hand.spawn(begin(found.delivered, found.turn));
        }
        let room = rooms.now();
        let is_gated = room.is_some();
        let places_left = places.saturating_sub(in_hand.len().saturating_sub(gate.waiting()));
        let free = room.map_or(places_left, |room| room.min(places_left));
        let free = if ahead.is_out() { 0 } else { free };
        pulse.asks(free > 0);
        tokio::select! {
            biased;
            _ = &mut asked => break,
            true = in_hand.next(), if places_left <= places / 2 => {}
            _ = tick.tick() => in_hand.measure(&name),
            () = rooms.changed() => {}
            () = ahead.ends() => {}
            () = gate.waits(), if is_gated && places_left == 0 => {}
            Some(order) = pulse.order(), if free > 0 => match order {
                Order::PullAnew => pull_anew(&worker, &durable, &mut pull).await,
                Order::Handle(delivered, handled) => {
                    let turn = Turn::of(&gate, delivered.message.sequence);
                    let handling = begin(delivered, turn);
                    in_hand.spawn(handling.map(|()| drop(handled)));
                }
            },
            // With no room left it asks for nothing, and hands out what is on its way.
            pulled = pull.next(free), if is_gated || free > 0 => match pulled {
                Pulled::Message(delivered) => {
                    pulse.took_one();
                    if more != (delivered.pending > 0) {
                        more = delivered.pending > 0;
                        gate.more(more);
                    }
                    let turn = Turn::of(&gate, delivered.message.sequence);
                    in_hand.spawn(begin(delivered, turn));
                }
                Pulled::Deleted => {
                    let why = format!("durable {} was deleted", durable.name);
                    worker.stopper.stop(Stop::Halt(why));
                    break;
                }
            },
        }
    }
    let untouched = pull.stop().await;
    telemetry::returned(&durable.name, Why::Stopping, untouched.len() as u64);
    give_back(&worker, untouched).await;
    while in_hand.next().await {}
    in_hand.measure(&name);
}

async fn pull_anew(worker: &Worker, durable: &Durable, pull: &mut Box<dyn Pull>) {
    if let Ok(anew) = worker.broker.pull(&durable.stream, &durable.name).await {
        give_back(worker, std::mem::replace(pull, anew).stop().await).await;
    }
}

async fn give_back(worker: &Worker, untouched: Vec<Delivered>) {
    for delivered in untouched {
        worker.broker.settle(&delivered.receipt, Settle::Retry(Duration::ZERO)).await;
    }
}

/// Opens the deliveries of a durable; `None` once the process stops.
pub(super) async fn open(worker: &Worker, durable: &Durable) -> Option<Box<dyn Pull>> {
    let mut shutdown = worker.shutdown.clone();
    let mut attempt = 0;
    loop {
        attempt += 1;
        match worker.broker.pull(&durable.stream, &durable.name).await {
            Ok(pull) => return Some(pull),
            Err(Unavailable(why)) => {
                telemetry::unanswered(worker.name(), &why, attempt);
                tokio::select! {
                    () = sleep(retry::BROKER.wait(attempt)) => {}
                    _ = shutdown.asked() => return None,
                }
            }
        }
    }
}

fn start(
    worker: &Arc<Worker>,
    durable: &Durable,
    mut delivered: Delivered,
    turn: Turn,
    handle: &Handler,
) -> Handling {
    let (worker, role, durable) = (worker.clone(), durable.role, durable.name.clone());
    if let Some(Unreadable { what, .. }) = &delivered.unreadable {
        let Stored { subject, sequence, .. } = &delivered.message;
        tracing::error!(
            durable,
            subject,
            sequence,
            what,
            "no client can read this message, and each delivery of it ends a connection; it was \
             read from the leader, and is settled"
        );
    }
    let released = (role == Role::Released).then(|| Released::by(&mut delivered));
    let subject = &delivered.message.subject;
    let named = match role {
        Role::Released => worker.flow.parse_released(subject),
        Role::Forward | Role::Undo | Role::Closing | Role::Cancel | Role::Deadline(_) => {
            worker.flow.parse_subject(subject)
        }
    };
    match named {
        Some((_, saga)) => handle(worker, Delivery { delivered, saga, durable, released, turn }),
        None => Box::pin(set_aside(worker, durable, delivered)),
    }
}

/// Parks a message whose subject names no saga, because the stream accepts any token in the place
/// of the id.
async fn set_aside(worker: Arc<Worker>, durable: String, delivered: Delivered) {
    let what = "the subject's last token is no saga id: 1 to 64 of A-Z a-z 0-9 _ -";
    let bad = BadData::new(Reason::InvalidId, "", what);
    let settle = match park(&worker, &delivered, &durable, None, None, &bad).await {
        Ok(_) => Settle::Term(bad.reason.code()),
        Err(GiveBack(delay, why)) => {
            telemetry::returned(&durable, why, 1);
            Settle::Retry(delay)
        }
    };
    worker.broker.settle(&delivered.receipt, settle).await;
}

/// What is known of a delivery beside its handling.
pub(super) struct Label {
    receipt: Receipt,
    durable: Arc<str>,
    subject: String,
    sequence: u64,
}

/// A message whose handling panicked comes again this late, so that it neither keeps the worker
/// busy nor goes before all others.
const AFTER_PANIC: Duration = Duration::from_secs(30);

impl Label {
    pub(super) fn of(durable: &Arc<str>, delivered: &Delivered) -> Self {
        Self {
            receipt: delivered.receipt.clone(),
            durable: durable.clone(),
            subject: delivered.message.subject.clone(),
            sequence: delivered.message.sequence,
        }
    }

    /// The broker delivers it again, and after three recorded starts it is parked as one that ends
    /// its process would be.
    async fn panicked(self, worker: &Worker) {
        let Self { receipt, durable, subject, sequence } = self;
        telemetry::panicked(&durable);
        tracing::error!(
            durable = &*durable,
            subject,
            sequence,
            "the step panicked on this message: a bug in it; the message comes again later, and \
             others go on"
        );
        telemetry::returned(&durable, Why::Panicked, 1);
        worker.broker.settle(&receipt, Settle::Retry(AFTER_PANIC)).await;
    }
}

/// Tells the broker that work goes on while a delivery is handled, and lets go of the delivery when
/// there is no more time. `most` limits an `ack_wait` that is shorter than the worker's.
pub(super) async fn attend(
    worker: Arc<Worker>,
    label: Label,
    took: Histogram,
    handling: Handling,
    most: Duration,
) {
    // What a panic leaves behind is dropped, and what other tasks share is sound without it.
    let mut handling = AssertUnwindSafe(handling).catch_unwind();
    let receipt = &label.receipt;
    let began = Instant::now();
    let mut shutdown = worker.shutdown.clone();
    let mut let_go = pin!(shutdown.let_go());
    let mut reported = began;
    loop {
        // Looked at each time: an operator may change it while the message is held.
        let ack_wait = (*worker.ack_wait.borrow()).min(most);
        let due = reported + (ack_wait / 3).max(SHORTEST_PROGRESS);
        tokio::select! {
            biased;
            ended = &mut handling => match ended {
                Ok(()) => break,
                Err(_) => return label.panicked(&worker).await,
            },
            () = sleep_until(due) => {
                worker.broker.settle(receipt, Settle::Progress).await;
                reported = Instant::now();
            }
            stop = &mut let_go => {
                if stop == Stop::LetGo {
                    worker.broker.settle(receipt, Settle::Retry(Duration::ZERO)).await;
                }
                return;
            }
        }
    }
    took.record(began.elapsed().as_secs_f64());
}
