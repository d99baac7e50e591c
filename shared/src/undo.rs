//! Undo (*compensation*), in reverse order. The signal or the next step's undo slot wakes an undo
//! durable. It reads the slots, and decides on what it sees there, never on what it does not see.
//!
//! Only the subject of the waking message counts, so that a junk body cannot stop an undo. The
//! worker never parks an undo and never gives it up.

pub(crate) mod view;
mod waking;
pub(crate) mod closing;
mod walk;
pub(crate) mod cancel;
pub(crate) mod deadline;

use tokio::time::timeout_at;

use crate::broker::Stored;
use crate::ids::Direction;
use crate::log::envelope::{Envelope, Occasion, Outgoing, Work};
use crate::log::slots::{self, Entry, Record};
use crate::pipeline::{Committed, Delivery, Ending, Granted, Resolved, Worker, alien, write_once};
use crate::step::{Evidence, Step, Undo};
use crate::{BadData, Event, Reason, SagaId, failpoint, telemetry};
use view::{Verdict, View};

/// Handles one delivery of an undo durable, to its settlement.
pub(crate) async fn handle<S: Undo>(worker: &Worker, step: &S, delivery: Delivery) {
    let decided = decide(worker, step, &delivery).await;
    waking::end(worker, delivery, decided).await;
}

async fn decide<S: Undo>(worker: &Worker, step: &S, delivery: &Delivery) -> Result<Ending, Ending> {
    let view = View::look_until_answered(worker, delivery).await?;
    let again = || waking::again(worker, delivery, &view);
    let recorded = match view.verdict(worker.flow, worker.row) {
        Verdict::Settled(why, record) => {
            tracing::debug!(saga = %delivery.saga, why, "nothing to undo here");
            return Ok(Ending::Committed(Committed::seen(&record)));
        }
        Verdict::LookAgain => return Err(again()),
        Verdict::Blocked => return Err(alien()),
        Verdict::UndoUnknown => None,
        Verdict::UndoRecorded(record) => Some(read_recorded::<S>(&record)?),
    };
    let Some(trigger) = &view.trigger else { return Err(again()) };
    let (undone, work) = match read_trigger::<S>(worker, &delivery.saga, trigger) {
        Ok(on) => {
            let evidence = recorded.as_ref().map_or(Evidence::Unknown, Evidence::Recorded);
            let (undone, work) = undo(worker, step, delivery, trigger, (&on, evidence)).await?;
            (undone, Some(work))
        }
        // No version of this worker ever ran on it, and none will.
        Err(bad) if recorded.is_none() && never_runs(&bad) => (S::never_ran(), None),
        Err(bad) => return Err(Ending::Park(bad)),
    };
    commit_undone::<S>(worker, delivery, &undone, work).await
}

/// What `run` recorded. If it cannot be read, the undo is blocked until a human looks.
fn read_recorded<S: Step>(record: &Record) -> Result<S::Done, Ending> {
    S::Done::from_data(&record.event_type, &record.data).map_err(Ending::Park)
}

fn read_trigger<S: Step>(
    worker: &Worker,
    saga: &SagaId,
    trigger: &Stored,
) -> Result<S::On, BadData> {
    let (flow, slot) = (worker.flow, worker.row.on);
    let expected = flow.decides(slot).map_or(flow.opens.event, |before| before.done);
    Envelope::read(flow, slot, saga, expected, trigger)?.event(saga)
}

/// Whether no worker can ever have run on this trigger. That is so if its version is known and it
/// is wrong; a worker that knows another version may have run on that version.
fn never_runs(bad: &BadData) -> bool {
    !matches!(bad.reason, Reason::UnknownVersion | Reason::UnknownType)
}

/// Tries to undo, until it succeeds or gives the message back.
async fn undo<S: Undo>(
    worker: &Worker,
    step: &S,
    delivery: &Delivery,
    trigger: &Stored,
    (on, evidence): (&S::On, Evidence<&S::Done>),
) -> Result<(S::Undone, Work), Ending> {
    let stored_at = trigger.stored_at;
    let granted = Granted::first(worker, Direction::Undo, delivery, stored_at).await?;
    let mut attempt = granted.start().await?;
    let started = worker.clock.now();
    failpoint::hit(Direction::Undo, "before-run");
    loop {
        let context = attempt.context();
        failpoint::poisoned(Direction::Undo, &delivery.saga, context.attempt());
        match timeout_at(context.deadline(), step.undo(on, evidence, context)).await {
            Ok(Ok(undone)) => {
                failpoint::hit(Direction::Undo, "after-effect");
                let work = Work { attempt: context.attempt(), started };
                attempt.answered().await;
                return Ok((undone, work));
            }
            Ok(Err(error)) => attempt = attempt.failed(Some(error)).await?.start().await?,
            Err(_) => attempt = attempt.failed(None).await?.start().await?,
        }
    }
}

/// Records that the effect is gone, which wakes the undo of the step before.
async fn commit_undone<S: Undo>(
    worker: &Worker,
    delivery: &Delivery,
    undone: &S::Undone,
    work: Option<Work>,
) -> Result<Ending, Ending> {
    let (flow, name) = (worker.flow, worker.name());
    let row = worker.row.undo.expect("checked at start: an undoable step has an undo slot");
    let event = (undone.event_type(), &*undone.to_data());
    let slot = worker.slot(row.slot, &delivery.saga);
    let (cause, traceparent) = waking::woken_by(worker, delivery);
    let after = cause.sequence;
    let occasion = Occasion { work, ..worker.occasion(cause, traceparent) };
    let event = Outgoing::new(flow, slot, name, event, &occasion);
    let resolved = write_once(worker, &event, after).await?;
    failpoint::hit(Direction::Undo, "after-commit");
    let found = match resolved {
        Resolved::Written => {
            telemetry::outcome(name, "undone", "");
            return Ok(Ending::Committed(Committed::undone()));
        }
        Resolved::Found(stored) => slots::undone(flow, worker.row, &delivery.saga, &stored),
    };
    match found {
        // Another replica undid it too, and may have found the effect in another state.
        Entry::Done(record) => Ok(Ending::Committed(Committed::seen(&record))),
        Entry::Refused(_) | Entry::Alien => Err(alien()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Settle;
    use crate::testing::desk::{Charge, Desk};

    /// Undoes with this trigger, and says what the undo slot then holds.
    async fn undone(trigger: &'static str) -> (Vec<Settle>, Option<String>) {
        let desk = Desk::of("charge-card");
        desk.opened();
        desk.bare("hotel", trigger);
        desk.refused("charge-card");
        let delivery = desk.delivery(desk.signal(), 1);
        handle(&desk.worker, &Charge::default(), delivery).await;
        let undone = desk.holds("card-undo");
        let data = undone.map(|stored| desk.read("card-undo", &stored).data.to_owned());
        (desk.log.kept().settled.clone(), data)
    }

    /// A worker of that version may have charged the card.
    #[tokio::test(start_paused = true)]
    async fn a_trigger_of_a_version_that_this_worker_does_not_know_is_no_proof_that_nothing_ran() {
        for event_type in ["hotel.booked.v2", "hotel.let.v1"] {
            let json = match event_type {
                "hotel.booked.v2" => {
                    r#"{"specversion":"1.0","id":"1","type":"hotel.booked.v2","source":"book-hotel",
                        "data":{"reason":""}}"#
                }
                _ => {
                    r#"{"specversion":"1.0","id":"1","type":"hotel.let.v1","source":"book-hotel",
                        "data":{"reason":""}}"#
                }
            };
            let (settled, data) = undone(json).await;
            assert_eq!(data, None, "{event_type}: nobody says that the card is not charged");
            assert!(matches!(settled[..], [Settle::Retry(_)]), "{event_type}: {settled:?}");
        }
    }

    /// Otherwise one junk message would keep the hotel for ever.
    #[tokio::test(start_paused = true)]
    async fn a_step_whose_trigger_no_version_can_read_never_ran() {
        let (settled, data) = undone("junk").await;
        assert_eq!(data.as_deref(), Some(r#"{"reason":"never ran"}"#));
        assert_eq!(settled, [Settle::Ack]);
    }
}
