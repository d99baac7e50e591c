//! Has this trigger been decided already?
//!
//! On a first, fresh delivery the guard on the slot is enough. A trigger that is redelivered,
//! released or old may have been decided long ago, so the worker reads its slot first. That keeps a
//! backlog or a reset durable from repeating calls to outside services.

use std::time::Duration;

use super::commit::{Committed, settle_found};
use super::decode::Trigger;
use super::delivery::Ending;
use super::worker::Worker;
use crate::log::slots;

/// Lets a trigger pass if it is not decided yet.
pub(crate) async fn route<On>(worker: &Worker, trigger: &Trigger<On>) -> Result<(), Ending> {
    let fresh = worker.clock.age(trigger.stored_at) <= worker.limits.read_after;
    if trigger.deliveries == 1 && fresh && !trigger.is_released {
        return Ok(());
    }
    read(worker, trigger).await
}

/// Asks again after a message has waited for its service: meanwhile it may have been decided, by
/// another replica or on its behalf.
pub(crate) async fn route_after<On>(
    worker: &Worker,
    trigger: &Trigger<On>,
    waited: Duration,
) -> Result<(), Ending> {
    if waited <= worker.limits.read_after {
        return Ok(());
    }
    Box::pin(read(worker, trigger)).await
}

async fn read<On>(worker: &Worker, trigger: &Trigger<On>) -> Result<(), Ending> {
    let slot = worker.slot(worker.row.slot, &trigger.saga);
    // A stale "nothing" costs a repeated call, which its idempotency key makes harmless.
    let seen = match trigger.deliveries {
        1 => worker.lookup.last(slot.subject()).await.ok(),
        _ => None,
    };
    let stored = match seen {
        Some(stored) => stored,
        None => worker.last(&slot).await?,
    };
    let Some(stored) = stored else { return Ok(()) };
    let entry = slots::decision(worker.flow, worker.row, &trigger.saga, &stored);
    let committed: Committed = Box::pin(settle_found(worker, trigger, entry)).await?;
    Err(Ending::Committed(committed))
}
