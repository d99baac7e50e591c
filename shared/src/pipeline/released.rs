//! A message that was parked comes back. It goes through the same stages as before, with the same
//! idempotency keys and the same slot, so it runs once however often it is released.
//!
//! Of a release only its subject and its verdict count: the message itself is read from the log,
//! where nobody can change it. The verdict `refuse` makes a step after the pivot ask its outside
//! service what it has done, instead of asking it to act.

use std::time::Duration;

use crate::log::parked::Verdict;
use crate::log::slots::{self, Entry};

use super::commit::alien;
use super::decode::NotOurs;
use super::delivery::{Delivery, Ending};
use super::part::Part;
use super::retry;
use super::worker::{Why, Worker};
use crate::{BadData, Reason};

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

/// What is to be done about a message; `refuse` only once the saga has passed its pivot, and no
/// call that was made before can still land.
pub(super) async fn verdict<P: Part>(
    worker: &Worker,
    part: &P,
    delivery: &Delivery,
) -> Result<Verdict, Ending> {
    let Some(released) = delivery.released.as_ref() else { return Ok(Verdict::Retry) };
    let pivot = match (released.verdict, worker.row.pivot) {
        (Some(Verdict::Refuse), Some(pivot)) => pivot,
        (Some(Verdict::Retry | Verdict::Refuse), _) => return Ok(Verdict::Retry),
        (None, _) => {
            return Err(not_done("the verdict of its release is none that this build knows"));
        }
    };
    let Some(lands_within) = part.lands_within() else {
        return Err(not_done("its step cannot be asked what it did, so it cannot be refused"));
    };
    // Not `age`, because `age` errs on the side of too old.
    let waited = worker.clock.now().duration_since(released.stored_at);
    let waited = Duration::try_from(waited).unwrap_or_default();
    let passed = worker.last(&worker.slot(pivot.slot, &delivery.saga)).await?;
    let read = |stored| slots::pivot(worker.flow, worker.row, &delivery.saga, &stored);
    match passed.map(read) {
        Some(Entry::Done(_) | Entry::Refused(_)) => {}
        Some(Entry::Alien) => return Err(alien()),
        // Perhaps an old leader says so.
        None if waited < MESSAGE_WAIT => {
            let attempt = u32::try_from(delivery.delivered.deliveries).unwrap_or(u32::MAX);
            return Err(Ending::GiveBack(retry::LOOK.wait(attempt), Why::Later));
        }
        // A cancellation ends such a saga: nothing has been asked of the service.
        None => return Err(Ending::NotOurs(NotOurs::released_nothing())),
    }
    let left = lands_within.saturating_sub(waited);
    if left > Duration::ZERO {
        return Err(Ending::GiveBack(left, Why::Later));
    }
    Ok(Verdict::Refuse)
}

/// It is parked again, because running it would do the opposite of what was asked.
fn not_done(why: &str) -> Ending {
    Ending::Park(BadData::new(Reason::BadMessage, "", why))
}
