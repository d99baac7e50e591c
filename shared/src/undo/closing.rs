//! Closes a saga that was undone: the last undo is in the log, so nothing is held, charged or owed.
//!
//! The first step's undo slot wakes it. Like an undo, it trusts the slots, not the message that
//! woke it.

use super::view::View;
use super::waking;
use crate::event::{self, runtime::Cancelled};
use crate::failpoint;
use crate::ids::Direction;
use crate::log::envelope::Outgoing;
use crate::log::slots::{self, Entry};
use crate::pipeline::{Committed, Delivery, Ending, Resolved, Worker, alien, write_once};

/// Handles one delivery of the closing durable, to its settlement.
pub(crate) async fn handle(worker: &Worker, delivery: Delivery) {
    let decided = decide(worker, &delivery).await;
    waking::end(worker, delivery, decided).await;
}

async fn decide(worker: &Worker, delivery: &Delivery) -> Result<Ending, Ending> {
    let (flow, step) = (worker.flow, worker.row);
    let view = View::look_until_answered(worker, delivery).await?;
    if let Some(closed) = view.closed(flow) {
        return Ok(Ending::Committed(Committed::seen(&closed)));
    }
    if !view.all_undone(flow) {
        return Err(waking::again(worker, delivery, &view));
    }
    let cancelled = step.cancelled.expect("checked at start: the closing worker's row");
    let slot = worker.slot(step.slot, &delivery.saga);
    let (cause, traceparent) = waking::woken_by(worker, delivery);
    let after = cause.sequence;
    let occasion = worker.occasion(cause, traceparent);
    let event = (cancelled, &*event::data(&Cancelled {}));
    let event = Outgoing::new(flow, slot, step.worker, event, &occasion);
    let resolved = write_once(worker, &event, after).await?;
    failpoint::hit(Direction::Undo, "after-commit");
    match resolved {
        Resolved::Written => Ok(Ending::Committed(Committed::undone())),
        Resolved::Found(stored) => match slots::decision(flow, step, &delivery.saga, &stored) {
            Entry::Refused(record) => Ok(Ending::Committed(Committed::seen(&record))),
            Entry::Done(record) => {
                tracing::error!(saga = %delivery.saga, "undone, but closed as completed");
                Ok(Ending::Committed(Committed::seen(&record)))
            }
            Entry::Alien => Err(alien()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Settle;
    use crate::testing::desk::Desk;

    /// What the closing worker makes of the first step's undo, and what the saga then is.
    async fn closed(write: impl FnOnce(&Desk)) -> (Vec<Settle>, Option<String>) {
        let desk = Desk::of("confirm-trip");
        desk.opened();
        desk.done("book-hotel");
        write(&desk);
        let delivery = desk.delivery(desk.undone("book-hotel"), 1);
        handle(&desk.worker, delivery).await;
        let closed = desk.says("closed");
        (desk.log.kept().settled.clone(), closed)
    }

    #[tokio::test(start_paused = true)]
    async fn a_saga_is_cancelled_once_all_is_undone() {
        let (settled, closed) = closed(|desk| drop(desk.refused("charge-card"))).await;
        assert_eq!(closed.as_deref(), Some("trip.cancelled.v1"));
        assert_eq!(settled, [Settle::Ack]);
    }

    /// Nothing refused it: money may be owed, or the saga may go well.
    #[tokio::test(start_paused = true)]
    async fn a_stray_undo_cancels_nothing() {
        let (settled, closed) = closed(|_| {}).await;
        assert_eq!(closed, None);
        assert!(matches!(settled[..], [Settle::Retry(_)]), "{settled:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_closed_stays_as_it_is() {
        let (settled, closed) = closed(|desk| drop(desk.done("confirm-trip"))).await;
        assert_eq!(closed.as_deref(), Some("trip.confirmed.v1"));
        assert_eq!(settled, [Settle::Ack]);
        let (settled, closed) = self::closed(|desk| {
            desk.refused("charge-card");
            desk.event("closed", ("charge-card", "trip.cancelled.v1"), "asked");
        })
        .await;
        assert_eq!(closed.as_deref(), Some("trip.cancelled.v1"));
        assert!(matches!(settled[..], [Settle::Retry(_)]), "a human must look: {settled:?}");
    }
}
