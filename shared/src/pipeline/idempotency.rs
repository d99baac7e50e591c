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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Stored;
    use crate::pipeline::decode::decode;
    use crate::testing::desk::{Booked, Desk, FLOW};

    const SECOND: Duration = Duration::from_secs(1);

    fn trigger(desk: &Desk, message: Stored, deliveries: u64) -> Trigger<Booked> {
        decode::<Booked>(&desk.worker, &desk.delivery(message, deliveries)).ok().unwrap()
    }

    fn booked() -> (Desk, Stored) {
        let desk = Desk::of("charge-card");
        desk.opened();
        let booked = desk.done("book-hotel");
        (desk, booked)
    }

    /// Another replica may have charged the card already.
    #[tokio::test(start_paused = true)]
    async fn only_a_fresh_first_delivery_is_run_without_a_look_at_its_slot() {
        let (desk, booked) = booked();
        let reads = || desk.log.kept().asked.len();
        let fresh = trigger(&desk, booked.clone(), 1);
        assert!(route(&desk.worker, &fresh).await.is_ok());
        assert_eq!(reads(), 0);
        let released = Trigger { is_released: true, ..trigger(&desk, booked.clone(), 1) };
        assert!(route(&desk.worker, &released).await.is_ok());
        assert_eq!(reads(), 1);
        assert!(route(&desk.worker, &trigger(&desk, booked.clone(), 2)).await.is_ok());
        assert_eq!(reads(), 2);
        tokio::time::advance(desk.worker.limits.read_after + SECOND).await;
        assert!(route(&desk.worker, &trigger(&desk, booked, 1)).await.is_ok());
        assert_eq!(reads(), 3);
    }

    /// While it waited for the bank, its time was over or its client cancelled.
    #[tokio::test(start_paused = true)]
    async fn after_a_wait_the_slot_is_read_before_the_run() {
        let (desk, booked) = booked();
        desk.event("card", ("confirm-trip", "card.refused.v1"), "hotel");
        let trigger = trigger(&desk, booked, 1);
        let limit = desk.worker.limits.read_after;
        assert!(route_after(&desk.worker, &trigger, limit).await.is_ok());
        assert_eq!(desk.log.kept().asked.len(), 0);
        let late = route_after(&desk.worker, &trigger, limit + SECOND).await;
        assert!(matches!(late, Err(Ending::Committed(_))));
        assert_eq!(desk.says("refused").as_deref(), Some(FLOW.turns.event), "and it turns around");
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_delivery_asks_any_replica_and_a_later_one_the_leader() {
        let (desk, booked) = booked();
        desk.done("charge-card");
        desk.log.kept().lags = true;
        let decided = async |deliveries| {
            let trigger = trigger(&desk, booked.clone(), deliveries);
            route_after(&desk.worker, &trigger, 60 * SECOND).await.is_err()
        };
        assert!(!decided(1).await, "the key makes another call harmless");
        assert!(decided(2).await);
    }
}
