//! The signal that turns a saga around: given after every refusal and every stop, before the
//! message that led to it is settled.
//!
//! Any signal will do, whoever wrote it: it only wakes the undo durables, and the slots decide.

use super::decode::Trigger;
use super::delivery::Ending;
use super::worker::Worker;
use super::write::{Resolved, write_once};
use crate::event::{self, own::Turned};
use crate::failpoint;
use crate::ids::Direction;
use crate::log::envelope::Outgoing;
use crate::log::slots::Record;

/// Bytes of a reason that its signal repeats.
const MAX_REASON: usize = 256;

/// What the signal of a refusal or a stop says, which stands in the log. `step` is the worker that
/// was refused, or the pivot's slot.
pub(crate) fn of(step: &str, refusal: &Record) -> Turned {
    let Record { reason, source, .. } = refusal;
    Turned { step: step.to_owned(), reason: reason.clone(), by: source.clone() }
}

/// Makes sure that the signal is in the log.
pub(crate) async fn give<On>(
    worker: &Worker,
    trigger: &Trigger<On>,
    mut turned: Turned,
) -> Result<(), Ending> {
    let turns = worker.flow.turns;
    // A service's own words may be long; the refusal has them all.
    turned.reason.truncate(turned.reason.floor_char_boundary(MAX_REASON));
    let slot = worker.slot(turns.slot, &trigger.saga);
    let occasion = worker.occasion(trigger.this.clone(), trigger.traceparent.clone());
    let signal = (turns.event, &*event::data(&turned));
    let signal = Outgoing::new(worker.flow, slot, worker.name(), signal, &occasion);
    match write_once(worker, &signal, trigger.this.sequence).await? {
        Resolved::Written | Resolved::Found(_) => {}
    }
    failpoint::hit(Direction::Run, "after-refused-signal");
    Ok(())
}
