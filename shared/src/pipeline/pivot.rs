//! The point of no return: `go` is written before the step may act, and a cancellation or deadline
//! writes `stop` into the same slot. The first writer wins, and the loser reads so.

use super::commit::{Committed, alien};
use super::decode::Trigger;
use super::delivery::Ending;
use super::signal;
use super::worker::Worker;
use super::write::{Resolved, write_once};
use crate::ids::Direction;
use crate::log::envelope::Outgoing;
use crate::log::slots::{self, Entry};
use crate::{event, failpoint};

/// Lets a trigger pass once `go` stands in the log; passes at once where the flow has no pivot.
pub(crate) async fn pass<On>(worker: &Worker, trigger: &Trigger<On>) -> Result<(), Ending> {
    let Some(pivot) = worker.row.pivot else { return Ok(()) };
    let slot = worker.slot(pivot.slot, &trigger.saga);
    let occasion = worker.occasion(trigger.this.clone(), trigger.traceparent.clone());
    let event = (pivot.go, event::own::nothing_more());
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
            let turned = signal::of(pivot.slot, &stop);
            Box::pin(signal::give(worker, trigger, turned)).await?;
            Err(Ending::Committed(Committed::stopped(&stop)))
        }
        Entry::Alien => Err(alien()),
    }
}
