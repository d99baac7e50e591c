//! Has this trigger been decided already?
//!
//! On a first, fresh delivery the guard on the slot is enough. A trigger that comes again, or is
//! old, may have been decided long ago: reading its slot first keeps a backlog or a reset durable
//! from repeating calls to the outside.

use tokio::time::Instant;

use crate::commit::{Committed, settle_found};
use crate::decode::Trigger;
use crate::delivery::Ending;
use crate::kernel::Kernel;
use crate::retry;
use crate::slots;

/// Lets a trigger pass that is still to be decided.
pub(crate) async fn route<On>(kernel: &Kernel, trigger: &Trigger<On>) -> Result<(), Ending> {
    let fresh = kernel.clock.age(trigger.stored_at) <= kernel.limits.read_after;
    if trigger.deliveries == 1 && fresh {
        return Ok(());
    }
    let slot = kernel.slot(kernel.step.slot, &trigger.saga);
    let held_since = Instant::now();
    let mut attempt = 0;
    loop {
        attempt += 1;
        // A stale "nothing" costs a repeated call, which its key makes harmless.
        let read = match trigger.deliveries {
            1 => kernel.lookup.last(slot.subject()).await,
            _ => kernel.broker.last(kernel.flow.stream, slot.subject()).await,
        };
        match read {
            Ok(None) => return Ok(()),
            Ok(Some(stored)) => {
                let entry = slots::decision(kernel.flow, kernel.step, &trigger.saga, &stored);
                let settled = Box::pin(settle_found(kernel, trigger, entry));
                let committed: Committed = settled.await?;
                return Err(Ending::Committed(committed));
            }
            Err(_) => Box::pin(kernel.pause(retry::BROKER.wait(attempt), held_since)).await?,
        }
    }
}
