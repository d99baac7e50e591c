//! The signal that turns a saga around. The worker writes it after every refusal and every stop,
//! before it settles the message that led to it.
//!
//! Any signal will do, no matter who wrote it, because it only wakes the undo durables; the slots
//! decide.

use super::decode::Trigger;
use super::delivery::Ending;
use super::worker::Worker;
use super::write::{Resolved, write_once};
use crate::SagaId;
use crate::event::{self, runtime::Signal};
use crate::failpoint;
use crate::ids::Direction;
use crate::log::envelope::{Occasion, Outgoing};
use crate::log::slots::Record;

/// Longest reason that a signal repeats, in bytes.
const MAX_REASON: usize = 256;

/// What the signal says about a refusal or a stop that is in the log. `step` is the worker that was
/// refused, or the pivot's slot.
pub(crate) fn of(step: &str, refusal: &Record) -> Signal {
    let Record { reason, source, .. } = refusal;
    Signal { step: step.to_owned(), reason: reason.clone(), by: source.clone() }
}

/// Makes sure that the signal is in the log.
pub(crate) async fn give<On>(
    worker: &Worker,
    trigger: &Trigger<On>,
    signal: Signal,
) -> Result<(), Ending> {
    let occasion = worker.occasion(trigger.this.clone(), trigger.traceparent.clone());
    give_to(worker, &trigger.saga, signal, &occasion).await
}

/// The same for a saga; the occasion must have a cause.
pub(crate) async fn give_to(
    worker: &Worker,
    saga: &SagaId,
    mut signal: Signal,
    occasion: &Occasion,
) -> Result<(), Ending> {
    let turns = worker.flow.turns;
    // A service's reason may be long; the refusal itself has all of it.
    signal.reason.truncate(signal.reason.floor_char_boundary(MAX_REASON));
    let slot = worker.slot(turns.slot, saga);
    let signal = (turns.event, &*event::data(&signal));
    let signal = Outgoing::new(worker.flow, slot, worker.name(), signal, occasion);
    let after = occasion.cause.as_ref().map_or(0, |cause| cause.sequence);
    match write_once(worker, &signal, after).await? {
        Resolved::Written | Resolved::Found(_) => {}
    }
    failpoint::hit(Direction::Run, "after-refused-signal");
    Ok(())
}
