//! The loop of one durable: asks for no more messages than can start now, and handles every
//! delivery until it is settled.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use metrics::Histogram;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::Handler;
use crate::breaker::gate::Gate;
use crate::broker::{Delivered, Pulled, Receipt, Settle, Unavailable};
use crate::flow::Durable;
use crate::pipeline::{Delivery, Turn, Why, Worker, park, retry};
use crate::process::shutdown::Stop;
use crate::{BadData, Reason, telemetry};

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
    handle: Handler,
) {
    let mut shutdown = worker.shutdown.clone();
    let mut attempt = 0;
    let mut pull = loop {
        attempt += 1;
        match worker.broker.pull(worker.flow.stream, &durable.name).await {
            Ok(pull) => break pull,
            Err(Unavailable(why)) => {
                telemetry::unanswered(worker.name(), &why, attempt);
                tokio::select! {
                    () = tokio::time::sleep(retry::BROKER.wait(attempt)) => {}
                    _ = shutdown.asked() => return,
                }
            }
        }
    };
    // Looked up once, because this is the hot path.
    let took = metrics::histogram!(telemetry::HANDLING, "durable" => durable.name.clone());
    let mut in_hand = JoinSet::new();
    let (mut rooms, mut more) = (gate.rooms(), false);
    let mut asked = pin!(shutdown.asked());
    loop {
        while in_hand.try_join_next().is_some() {}
        let room = rooms.now();
        let is_gated = room.is_some();
        let places_left = places.saturating_sub(in_hand.len().saturating_sub(gate.waiting()));
        let free = room.map_or(places_left, |room| room.min(places_left));
        tokio::select! {
            biased;
            _ = &mut asked => break,
            Some(_) = in_hand.join_next(), if places_left <= places / 2 => {}
            () = rooms.changed() => {}
            () = gate.waits(), if is_gated && places_left == 0 => {}
            // With no room left it asks for nothing, and hands out what is on its way.
            pulled = pull.next(free), if is_gated || free > 0 => match pulled {
                Pulled::Message(delivered) => {
                    if more != (delivered.pending > 0) {
                        more = delivered.pending > 0;
                        gate.more(more);
                    }
                    let receipt = delivered.receipt.clone();
                    let handling = start(&worker, &durable, delivered, &gate, &handle);
                    let (worker, took) = (worker.clone(), took.clone());
                    in_hand.spawn(attend(worker, receipt, took, handling));
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
    for delivered in untouched {
        worker.broker.settle(&delivered.receipt, Settle::Retry(Duration::ZERO)).await;
    }
    while in_hand.join_next().await.is_some() {}
}

fn start(
    worker: &Arc<Worker>,
    durable: &Durable,
    delivered: Delivered,
    gate: &Gate,
    handle: &Handler,
) -> Handling {
    let (worker, durable) = (worker.clone(), durable.name.clone());
    match worker.flow.parse_subject(&delivered.message.subject) {
        Some((_, saga)) => {
            let turn = Turn::of(gate, delivered.message.sequence);
            handle(worker, Delivery { delivered, saga, durable, turn })
        }
        None => Box::pin(set_aside(worker, durable, delivered)),
    }
}

/// Parks a message whose subject names no saga, because the stream accepts any token in the place
/// of the id.
async fn set_aside(worker: Arc<Worker>, durable: String, delivered: Delivered) {
    let what = "the subject's last token is no saga id: 1 to 64 of A-Z a-z 0-9 _ -";
    let bad = BadData::new(Reason::InvalidId, "", what);
    park(&worker, &delivered, &durable, None, &bad).await;
    worker.broker.settle(&delivered.receipt, Settle::Term(bad.reason.code())).await;
}

/// Tells the broker that work goes on while a delivery is handled, and lets go of the delivery when
/// there is no more time.
async fn attend(worker: Arc<Worker>, receipt: Receipt, took: Histogram, mut handling: Handling) {
    let began = Instant::now();
    let mut shutdown = worker.shutdown.clone();
    let mut let_go = pin!(shutdown.let_go());
    let mut reported = began;
    loop {
        // Looked at each time: an operator may change it while the message is held.
        let due = reported + *worker.ack_wait.borrow() / 3;
        tokio::select! {
            biased;
            () = &mut handling => break,
            () = sleep_until(due) => {
                worker.broker.settle(&receipt, Settle::Progress).await;
                reported = Instant::now();
            }
            stop = &mut let_go => {
                if stop == Stop::LetGo {
                    worker.broker.settle(&receipt, Settle::Retry(Duration::ZERO)).await;
                }
                return;
            }
        }
    }
    took.record(began.elapsed().as_secs_f64());
}
