//! Has this trigger been decided already?
//!
//! On a first, fresh delivery the guard on the slot is enough. A trigger that comes again, or is
//! old, may have been decided long ago: reading its slot first keeps a backlog or a reset durable
//! from repeating calls to the outside.

use crate::commit::{Committed, settle_found};
use crate::decode::Trigger;
use crate::delivery::Ending;
use crate::kernel::Kernel;
use crate::slots;

/// Lets a trigger pass that is still to be decided.
pub(crate) async fn route<On>(kernel: &Kernel, trigger: &Trigger<On>) -> Result<(), Ending> {
    let fresh = kernel.clock.age(trigger.stored_at) <= kernel.limits.read_after;
    if trigger.deliveries == 1 && fresh {
        return Ok(());
    }
    let slot = kernel.slot(kernel.row.slot, &trigger.saga);
    // A stale "nothing" costs a repeated call, which its key makes harmless.
    let seen = match trigger.deliveries {
        1 => kernel.lookup.last(slot.subject()).await.ok(),
        _ => None,
    };
    let stored = match seen {
        Some(stored) => stored,
        None => kernel.last(&slot).await?,
    };
    let Some(stored) = stored else { return Ok(()) };
    let entry = slots::decision(kernel.flow, kernel.row, &trigger.saga, &stored);
    let committed: Committed = Box::pin(settle_found(kernel, trigger, entry)).await?;
    Err(Ending::Committed(committed))
}
