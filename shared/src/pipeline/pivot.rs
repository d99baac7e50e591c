//! The point of no return. The worker writes `go` before its step may act; a cancellation or a
//! deadline writes `stop` into the same slot. The first writer wins, and the other one reads the
//! slot and obeys it.

use super::commit::{Committed, alien};
use super::decode::Trigger;
use super::delivery::Ending;
use super::signal;
use super::worker::Worker;
use super::write::{Resolved, write_once};
use crate::event::{self, runtime::Go};
use crate::failpoint;
use crate::ids::Direction;
use crate::log::envelope::Outgoing;
use crate::log::slots::{self, Entry};

/// Lets a trigger pass once `go` is in the log, or at once if its step has no pivot.
pub(crate) async fn pass<On>(worker: &Worker, trigger: &Trigger<On>) -> Result<(), Ending> {
    let Some(pivot) = worker.row.pivot else { return Ok(()) };
    let slot = worker.slot(pivot.slot, &trigger.saga);
    let occasion = worker.occasion(trigger.this.clone(), trigger.traceparent.clone());
    let event = (pivot.go, &*event::data(&Go {}));
    let go = Outgoing::new(worker.flow, slot, worker.name(), event, &occasion);
    let stored = match write_once(worker, &go, trigger.this.sequence).await? {
        Resolved::Written => {
            failpoint::hit(Direction::Run, "after-pivot");
            return Ok(());
        }
        Resolved::Found(stored) => stored,
    };
    match slots::pivot(worker.flow, worker.row, &trigger.saga, &stored) {
        Entry::Done(_) => Ok(()),
        Entry::Refused(stop) => {
            let signal = signal::of(pivot.slot, &stop);
            Box::pin(signal::give(worker, trigger, signal)).await?;
            Err(Ending::Committed(Committed::seen(&stop)))
        }
        Entry::Alien => Err(alien()),
    }
}
