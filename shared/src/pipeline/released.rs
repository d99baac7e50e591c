//! A message that was parked comes back. It goes through the same stages as before, with the same
//! idempotency keys and the same slot, so it runs once however often it is released.
//!
//! Only the subject of a release counts: the message itself is read from the log, where nobody can
//! change it.

use std::time::Duration;

use super::decode::NotOurs;
use super::delivery::{Delivery, Ending};
use super::part::Part;
use super::retry;
use super::worker::{Why, Worker};

/// How long a release waits for its message to be in the log: an old leader may not have it yet.
const MESSAGE_WAIT: Duration = Duration::from_secs(30);

/// Handles one delivery of the released durable, to its settlement.
pub(crate) async fn handle<P: Part>(worker: &Worker, part: &P, mut delivery: Delivery) {
    let slot = worker.slot(worker.row.on, &delivery.saga);
    let waited = worker.clock.now().duration_since(delivery.message().stored_at);
    let ending = match worker.last(&slot).await {
        Ok(Some(message)) => {
            delivery.delivered.message = message;
            return Box::pin(super::handle(worker, part, delivery)).await;
        }
        Ok(None) if Duration::try_from(waited).unwrap_or_default() < MESSAGE_WAIT => {
            let attempt = u32::try_from(delivery.delivered.deliveries).unwrap_or(u32::MAX);
            Ending::GiveBack(retry::LOOK.wait(attempt), Why::Later)
        }
        Ok(None) => Ending::NotOurs(NotOurs::released_nothing()),
        Err(back) => back.into(),
    };
    delivery.end(worker, ending).await;
}
