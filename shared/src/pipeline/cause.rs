//! Is the event that a trigger names as its cause in the log?
//!
//! A step that acts on an event of a saga that was never opened does what no client asked for. So
//! the causing slot must hold exactly the message that the trigger names. If it does not, the
//! worker waits for it, and in the end sets the trigger aside.
//!
//! A read for each message would be the most expensive part of handling it. So a worker seals its
//! outcome: it says that it had the cause from this log. A stray event has no seal, and one of
//! another log has another. Only a trigger without the right seal costs a read. A seal is no
//! secret: it stops mistakes, and not a client that writes the events of workers by intent.
//!
//! A step that calls no outside service does no harm when it acts on a forged event, so there it is
//! enough that the trigger names the right id.

use std::time::Duration;

use super::decode::Trigger;
use super::delivery::Ending;
use super::retry;
use super::worker::{Why, Worker};
use crate::broker::Stored;
use crate::log::envelope::{Cause, Envelope};
use crate::{BadData, Reason, Slot, ids};

/// A trigger that is already old at its first delivery gets a second look after this time, because
/// the node that answered may be a leader that does not know yet that it was replaced.
const SECOND_LOOK: Duration = Duration::from_secs(5);

/// Lets a trigger pass if its cause is in the log.
pub(crate) async fn check<On>(worker: &Worker, trigger: &Trigger<On>) -> Result<(), Ending> {
    let flow = worker.flow;
    let Some(before) = flow.decides(worker.row.on) else { return Ok(()) };
    let slot = worker.slot(before.on, &trigger.saga);
    if let Some(cause) = &trigger.cause {
        if is_sealed(worker, trigger, cause)
            || worker.row.requires.is_empty() && is_named_rightly(worker, &slot, cause)
        {
            return Ok(());
        }
        let resolves = |found: Option<Stored>| {
            found.is_some_and(|stored| {
                stored.sequence == cause.sequence && event_id(worker, &slot, &stored) == cause.id
            })
        };
        // A replica that lags does not have it yet; the leader does.
        if worker.lookup.last(slot.subject()).await.is_ok_and(resolves) {
            return Ok(());
        }
        if resolves(worker.last(&slot).await?) {
            return Ok(());
        }
    }
    // Not `age`, because `age` errs on the side of too old.
    let waited = worker.clock.now().duration_since(trigger.stored_at);
    if Duration::try_from(waited).unwrap_or_default() < worker.limits.cause_wait {
        let attempt = u32::try_from(trigger.deliveries).unwrap_or(u32::MAX);
        return Err(Ending::GiveBack(retry::LOOK.wait(attempt), Why::Later));
    }
    if trigger.deliveries == 1 {
        return Err(Ending::GiveBack(SECOND_LOOK, Why::Later));
    }
    let what = "what caused it is not in the log";
    Err(Ending::Park(BadData::new(Reason::NoCause, "/causationid", what)))
}

/// Whether the worker that wrote the trigger had its cause from this log, which stores a cause
/// before what it leads to.
fn is_sealed<On>(worker: &Worker, trigger: &Trigger<On>, cause: &Cause) -> bool {
    let slot = worker.slot(worker.row.on, &trigger.saga);
    trigger.seal.is_some()
        && trigger.seal == worker.seal(slot.subject(), cause.sequence)
        && cause.sequence < trigger.this.sequence
}

/// Whether this is the id that the cause must have; `false` if the flow does not determine that id.
fn is_named_rightly(worker: &Worker, slot: &Slot, cause: &Cause) -> bool {
    let flow = worker.flow;
    flow.decides(slot.name()).is_some_and(|row| {
        let id = ids::event_id(flow.saga, slot.saga(), slot.name(), row.done, row.worker);
        id.to_string() == cause.id
    })
}

/// The id of the event in a slot; empty if the slot holds no event, because no cause has an empty
/// id.
fn event_id(worker: &Worker, slot: &Slot, stored: &Stored) -> String {
    let flow = worker.flow;
    let expected = flow.decides(slot.name()).map_or(flow.opens.event, |row| row.done);
    Envelope::read(flow, slot.name(), slot.saga(), expected, stored)
        .map_or_else(|_| String::new(), |envelope| envelope.id)
}
