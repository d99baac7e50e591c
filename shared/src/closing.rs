//! Ending a saga that was undone: the last undo is in the log, so nothing is held, charged or owed.
//!
//! Woken by the first step's undo slot. Like an undo it believes the slots, not what woke it.

use crate::ids::Direction;

use crate::commit::{self, Committed, Resolved};
use crate::delivery::{Delivery, Ending};
use crate::envelope::Outgoing;
use crate::kernel::Kernel;
use crate::pivot::nothing_more;
use crate::slots::{self, Entry};
use crate::{failpoint, retry, undo};

/// Handles one delivery of the closing durable, to its settlement.
pub(crate) async fn handle(kernel: &Kernel, delivery: Delivery) {
    let ending = match decide(kernel, &delivery).await {
        Ok(ending) | Err(ending) => ending,
    };
    failpoint::hit(Direction::Undo, "before-ack");
    let ending = undo::never_parked(kernel, &delivery, ending);
    delivery.end(kernel, ending).await;
}

async fn decide(kernel: &Kernel, delivery: &Delivery) -> Result<Ending, Ending> {
    let (flow, step) = (kernel.flow, kernel.row);
    let view = undo::look_until_answered(kernel, &delivery.saga).await?;
    if let Some(closed) = view.closed(flow) {
        return Ok(Ending::Committed(Committed::seen(&closed)));
    }
    if !view.all_undone(flow) {
        return Err(Ending::GiveBack(retry::LOOK.wait(undo::attempts(delivery))));
    }
    let cancelled = step.cancelled.expect("checked at start: the closing worker's row");
    let slot = kernel.slot(step.slot, &delivery.saga);
    let (cause, traceparent) = undo::woken_by(kernel, delivery);
    let after = cause.sequence;
    let occasion = kernel.occasion(cause, traceparent);
    let event = (cancelled, nothing_more());
    let event = Outgoing::new(flow, slot, step.worker, event, &occasion);
    let resolved = commit::write_once(kernel, &event, after).await?;
    failpoint::hit(Direction::Undo, "after-commit");
    match resolved {
        Resolved::Written => Ok(Ending::Committed(Committed::undone())),
        Resolved::Found(stored) => match slots::decision(flow, step, &delivery.saga, &stored) {
            Entry::Refused(record) => Ok(Ending::Committed(Committed::seen(&record))),
            Entry::Done(record) => {
                tracing::error!(saga = %delivery.saga, "undone, and yet it was closed otherwise");
                Ok(Ending::Committed(Committed::seen(&record)))
            }
            Entry::Alien => Err(commit::alien()),
        },
    }
}
