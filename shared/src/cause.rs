//! Does what a trigger says it was caused by exist?
//!
//! A step that acts on an event whose order was never placed ships a parcel nobody ordered. So the
//! causing slot must hold the very message that is named; one that does not show up is waited for,
//! then the trigger is set aside.
//!
//! That read is the dearest thing on the way of a message. A step that asks nobody outside does no
//! harm on a forged event, so there it is enough that the name is the right one.

use schemas::{BadData, Reason, Slot, ids};

use crate::broker::Stored;
use crate::decode::Trigger;
use crate::delivery::Ending;
use crate::envelope::{Cause, Envelope};
use crate::kernel::Kernel;
use crate::retry;

/// Lets a trigger pass whose cause is in the log.
pub(crate) async fn check<On>(kernel: &Kernel, trigger: &Trigger<On>) -> Result<(), Ending> {
    let flow = kernel.flow;
    let Some(before) = flow.decides(kernel.step.on) else { return Ok(()) };
    let slot = kernel.slot(before.on, &trigger.saga);
    if let Some(cause) = &trigger.cause {
        if kernel.step.requires.is_empty() && is_named_rightly(kernel, &slot, cause) {
            return Ok(());
        }
        let resolves = |found: Option<Stored>| {
            found.is_some_and(|stored| {
                stored.sequence == cause.sequence && event_id(kernel, &slot, &stored) == cause.id
            })
        };
        // A replica that lags does not have it yet; the leader does.
        let found = kernel.lookup.last(slot.subject()).await;
        if found.is_ok_and(&resolves) || resolves(kernel.last(&slot).await?) {
            return Ok(());
        }
    }
    // Twice, for the leader may be one that does not know yet that it was replaced.
    if trigger.deliveries == 1 || kernel.clock.age(trigger.stored_at) < kernel.limits.cause_wait {
        let attempt = u32::try_from(trigger.deliveries).unwrap_or(u32::MAX);
        return Err(Ending::GiveBack(retry::LOOK.wait(attempt)));
    }
    let what = "what caused it is not in the log";
    Err(Ending::Park(BadData::new(Reason::NoCause, "/causationid", what)))
}

/// Whether this is the id that the cause must have, as far as that follows from the flow.
fn is_named_rightly(kernel: &Kernel, slot: &Slot, cause: &Cause) -> bool {
    let flow = kernel.flow;
    flow.decides(slot.name()).is_some_and(|row| {
        let id = ids::event_id(flow.saga, slot.saga(), slot.name(), row.done, row.worker);
        id.to_string() == cause.id
    })
}

/// The id of the event in a slot; empty for what is no event, which no cause names.
fn event_id(kernel: &Kernel, slot: &Slot, stored: &Stored) -> String {
    let flow = kernel.flow;
    let expected = flow.decides(slot.name()).map_or(flow.opens.event, |row| row.done);
    Envelope::read(flow, slot.name(), slot.saga(), expected, stored)
        .map_or_else(|_| String::new(), |envelope| envelope.id)
}
