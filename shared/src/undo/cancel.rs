//! Cancels a saga because a client asks for it, as long as the saga has not passed its pivot.
//!
//! That something is in the slot is the wish; what its body says only tells who asks. A wish may
//! come before its saga, and waits for it. One that came in vain may be asked again: the slot is
//! used, so the operator's tools release it, and only the subject of a release counts.

use std::time::Duration;

use super::waking;
use super::walk::{Walked, Wish, walk};
use crate::event;
use crate::event::runtime::{CancelRefused, CancelRequested};
use crate::flow::Cancels;
use crate::ids;
use crate::log::envelope::{CLIENT, Cause, Envelope, Occasion, Outgoing};
use crate::pipeline::{
    Committed, Delivery, Ending, Resolved, Why, Worker, one_line, retry, write_once,
};

/// How often a wish looks for its saga.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The reason that the refusals carry.
pub(crate) const REASON: &str = "cancelled";

/// Longest name of who asks, in characters.
const MAX_BY: usize = 128;

/// Handles one delivery of the cancel durable, or a wish that was released, to its settlement.
pub(crate) async fn handle(worker: &Worker, delivery: Delivery) {
    let decided = decide(worker, &delivery).await;
    waking::end(worker, delivery, decided).await;
}

async fn decide(worker: &Worker, delivery: &Delivery) -> Result<Ending, Ending> {
    let (flow, saga) = (worker.flow, &delivery.saga);
    let cancels = flow.cancels().expect("its durable is derived from it");
    let (by, mut occasion) = asked(worker, delivery, cancels);
    let opened = worker.last(&worker.slot(flow.opens.slot, saga)).await?;
    let Some(opened) = opened else {
        // Not `age`, because `age` errs on the side of too old.
        let waited = worker.clock.now().duration_since(delivery.message().stored_at);
        if Duration::try_from(waited).unwrap_or_default() < worker.limits.cancel_wait {
            let wait = retry::LOOK.wait(waking::attempts(delivery)).min(LOOK_EVERY);
            return Err(Ending::GiveBack(wait, Why::Later));
        }
        return refuse(worker, delivery, cancels, "not-found", &occasion).await;
    };
    if occasion.cause.is_none() {
        let slot = flow.opens.slot;
        let read = Envelope::read(flow, slot, saga, flow.opens.event, &opened);
        let id = read.map_or_else(|_| String::new(), |envelope| envelope.id);
        occasion.cause = Some(Cause { id, sequence: opened.sequence });
    }
    let wish = Wish { saga, reason: REASON, by, up_to: None, occasion };
    match walk(worker, &wish).await? {
        Walked::Turned(committed) => Ok(Ending::Committed(committed)),
        Walked::TooLate => refuse(worker, delivery, cancels, "too-late", &wish.occasion).await,
    }
}

/// Who asks, and the wish as a cause; a released one is not in the log, and is none.
fn asked(worker: &Worker, delivery: &Delivery, cancels: Cancels) -> (String, Occasion) {
    let (flow, saga, message) = (worker.flow, &delivery.saga, delivery.message());
    let cancels = cancels.asked;
    let read = Envelope::read(flow, cancels.slot, saga, cancels.event, message).ok();
    let said = read.as_ref().and_then(|envelope| {
        serde_json::from_str::<CancelRequested>(envelope.data)
            .ok()
            .filter(|said| !said.by.is_empty())
    });
    let source = || read.as_ref().map_or(CLIENT, |envelope| &*envelope.source).to_owned();
    let by = one_line(&said.map_or_else(source, |said| said.by), MAX_BY);
    let traceparent = read.as_ref().and_then(|envelope| envelope.traceparent.as_deref());
    let occasion = Occasion {
        cause: None,
        traceparent: traceparent.map(str::to_owned),
        time: worker.clock.now(),
        seal: None,
        work: None,
    };
    if delivery.released.is_some() {
        return (by, occasion);
    }
    // Junk has no id of its own.
    let derived =
        || ids::event_id(flow.saga, saga, cancels.slot, cancels.event, CLIENT).to_string();
    let id = read.as_ref().map_or_else(derived, |envelope| envelope.id.clone());
    let cause = Some(Cause { id, sequence: message.sequence });
    (by, Occasion { cause, ..occasion })
}

/// Says why it cannot be cancelled; the first such answer stays.
async fn refuse(
    worker: &Worker,
    delivery: &Delivery,
    cancels: Cancels,
    reason: &str,
    occasion: &Occasion,
) -> Result<Ending, Ending> {
    let (flow, name) = (worker.flow, worker.name());
    tracing::info!(saga = %delivery.saga, reason, "not cancelled");
    let slot = worker.slot(cancels.refused.slot, &delivery.saga);
    let refused = event::data(&CancelRefused { reason: reason.to_owned() });
    let event = (cancels.refused.event, &*refused);
    let event = Outgoing::new(flow, slot, name, event, occasion);
    let after = occasion.cause.as_ref().map_or(0, |cause| cause.sequence);
    match write_once(worker, &event, after).await? {
        Resolved::Written | Resolved::Found(_) => Ok(Ending::Committed(Committed::undone())),
    }
}
