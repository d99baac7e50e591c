//! Ends a saga whose time is over, as long as it has not passed its pivot; or a step that has not
//! decided in its time.
//!
//! The message that is due only says which saga: what is decided is read from the slots, and the
//! guard on them lets one decision in, the step's or this one.

use super::waking;
use super::walk::{Walked, Wish, walk};
use crate::flow::Row;
use crate::log::slots::{self, Entry};
use crate::pipeline::{Committed, Delivery, Ending, Worker};

const REASON: &str = "deadline";

/// Whether a message that is due is decided already. Any replica may say so, because what is found
/// is true. A refusal and a stop are left to the walk: whoever wrote one may have died before it
/// gave the signal.
pub(crate) async fn is_decided(
    worker: &Worker,
    delivery: &Delivery,
    step: Option<&'static Row>,
) -> Option<Committed> {
    let (flow, saga) = (worker.flow, &delivery.saga);
    let find = async |slot| {
        let slot = worker.slot(slot, saga);
        worker.lookup.last(slot.subject()).await.ok().flatten()
    };
    let pivot = || flow.steps.iter().find_map(|row| Some((row, row.pivot?.slot)));
    let done = match step {
        Some(row) => find(row.slot).await.map(|it| slots::decision(flow, row, saga, &it)),
        None => match pivot() {
            Some((row, slot)) => find(slot).await.map(|it| slots::pivot(flow, row, saga, &it)),
            None => None,
        },
    };
    if let Some(Entry::Done(record)) = done {
        return Some(Committed::seen(&record));
    }
    let closing = flow.closing();
    match slots::decision(flow, closing, saga, &find(closing.slot).await?) {
        Entry::Done(record) | Entry::Refused(record) => Some(Committed::seen(&record)),
        Entry::Alien => None,
    }
}

/// Handles one delivery that is due, to its settlement.
pub(crate) async fn handle(worker: &Worker, delivery: Delivery, step: Option<&'static Row>) {
    let decided = decide(worker, &delivery, step).await;
    waking::end(worker, delivery, decided).await;
}

async fn decide(
    worker: &Worker,
    delivery: &Delivery,
    step: Option<&'static Row>,
) -> Result<Ending, Ending> {
    let (cause, traceparent) = waking::woken_by(worker, delivery);
    let wish = Wish {
        saga: &delivery.saga,
        reason: REASON,
        by: worker.name().to_owned(),
        up_to: step.map(|row| row.worker),
        occasion: worker.occasion(cause, traceparent),
    };
    match walk(worker, &wish).await? {
        Walked::Turned(committed) => Ok(Ending::Committed(committed)),
        Walked::TooLate => Ok(Ending::Committed(Committed::undone())),
    }
}
