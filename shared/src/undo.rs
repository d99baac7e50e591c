//! Taking back, in reverse order: woken by the signal or by the next step's undo slot, an undo
//! durable reads the slots and decides on what it sees, never on what it does not see.
//!
//! Only the subject of what wakes it counts, so a junk body cannot stop it; it is never parked and
//! never given up.

mod view;

pub(crate) use view::{Verdict, View};

use tokio::time::{Instant, timeout_at};

use crate::attempts::Attempts;
use crate::broker::{Stored, Unavailable};
use crate::commit::{self, Committed, Resolved};
use crate::delivery::{Delivery, Ending};
use crate::envelope::{Cause, Envelope, Occasion, Outgoing, Work};
use crate::ids::Direction;
use crate::kernel::Kernel;
use crate::slots::{self, Entry, Record};
use crate::step::{Evidence, Step, Undo};
use crate::{BadData, Event, Reason, SagaId, failpoint, retry, telemetry};

/// Handles one delivery of an undo durable, to its settlement.
pub(crate) async fn handle<S: Undo>(kernel: &Kernel, step: &S, delivery: Delivery) {
    let ending = match decide(kernel, step, &delivery).await {
        Ok(ending) | Err(ending) => ending,
    };
    failpoint::hit(Direction::Undo, "before-ack");
    let ending = never_parked(kernel, &delivery, ending);
    delivery.end(kernel, ending).await;
}

/// An undo is never set aside: it stays visible, and is tried until it can be done.
pub(crate) fn never_parked(kernel: &Kernel, delivery: &Delivery, ending: Ending) -> Ending {
    match ending {
        Ending::Park(bad) => {
            telemetry::undo_blocked(kernel.row.worker, &delivery.saga, &bad);
            Ending::GiveBack(retry::LOOK.wait(u32::MAX))
        }
        Ending::Committed(_) | Ending::NotOurs(_) | Ending::GiveBack(_) => ending,
    }
}

async fn decide<S: Undo>(kernel: &Kernel, step: &S, delivery: &Delivery) -> Result<Ending, Ending> {
    let view = look_until_answered(kernel, &delivery.saga).await?;
    let again = || Ending::GiveBack(retry::LOOK.wait(attempts(delivery)));
    let recorded = match view.verdict(kernel.flow, kernel.row) {
        Verdict::Settled(why, record) => {
            tracing::debug!(saga = %delivery.saga, why, "nothing to undo here");
            return Ok(Ending::Committed(Committed::seen(&record)));
        }
        Verdict::LookAgain => return Err(again()),
        Verdict::Blocked => return Err(commit::alien()),
        Verdict::UndoUnknown => None,
        Verdict::UndoRecorded(record) => Some(read_recorded::<S>(&record)?),
    };
    let Some(trigger) = &view.trigger else { return Err(again()) };
    let (undone, work) = match read_trigger::<S>(kernel, &delivery.saga, trigger) {
        Ok(on) => {
            let evidence = recorded.as_ref().map_or(Evidence::Unknown, Evidence::Recorded);
            let (undone, work) = undo(kernel, step, delivery, trigger, (&on, evidence)).await?;
            (undone, Some(work))
        }
        // No version of this worker ever ran on it, and none will.
        Err(bad) if recorded.is_none() && never_runs(&bad) => (S::never_ran(), None),
        Err(bad) => return Err(Ending::Park(bad)),
    };
    commit_undone::<S>(kernel, delivery, &undone, work).await
}

pub(crate) async fn look_until_answered(kernel: &Kernel, saga: &SagaId) -> Result<View, Ending> {
    let held_since = Instant::now();
    let mut attempt = 0;
    loop {
        attempt += 1;
        match View::look(kernel, saga).await {
            Ok(view) => return Ok(view),
            Err(Unavailable(why)) => {
                telemetry::unanswered(kernel.row.worker, &why, attempt);
                kernel.pause(retry::BROKER.wait(attempt), held_since).await?;
            }
        }
    }
}

pub(crate) fn attempts(delivery: &Delivery) -> u32 {
    u32::try_from(delivery.delivered.deliveries).unwrap_or(u32::MAX)
}

/// What `run` recorded. That it cannot be read blocks the undo until somebody looks.
fn read_recorded<S: Step>(record: &Record) -> Result<S::Done, Ending> {
    S::Done::from_data(&record.event_type, &record.data).map_err(Ending::Park)
}

fn read_trigger<S: Step>(
    kernel: &Kernel,
    saga: &SagaId,
    trigger: &Stored,
) -> Result<S::On, BadData> {
    let (flow, slot) = (kernel.flow, kernel.row.on);
    let expected = flow.decides(slot).map_or(flow.opens.event, |before| before.done);
    Envelope::read(flow, slot, saga, expected, trigger)?.event(saga)
}

/// A trigger that is wrong by a version we know never ran; one of another version may have run
/// where that version is known.
fn never_runs(bad: &BadData) -> bool {
    !matches!(bad.reason, Reason::UnknownVersion | Reason::UnknownType)
}

/// Undoes until it is done.
async fn undo<S: Undo>(
    kernel: &Kernel,
    step: &S,
    delivery: &Delivery,
    trigger: &Stored,
    (on, evidence): (&S::On, Evidence<&S::Done>),
) -> Result<(S::Undone, Work), Ending> {
    let started = kernel.clock.now();
    let seen = (trigger.stored_at, delivery.delivered.deliveries);
    let mut attempts = Attempts::new(kernel, Direction::Undo, &delivery.saga, seen);
    failpoint::hit(Direction::Undo, "before-run");
    loop {
        let context = attempts.context();
        match timeout_at(context.deadline(), step.undo(on, evidence, context)).await {
            Ok(Ok(undone)) => {
                failpoint::hit(Direction::Undo, "after-effect");
                return Ok((undone, Work { attempt: context.attempt(), started }));
            }
            Ok(Err(error)) => attempts.failed(Some(error)).await?,
            Err(_) => attempts.failed(None).await?,
        }
    }
}

/// Records that the effect is gone, which wakes the undo of the step before.
async fn commit_undone<S: Undo>(
    kernel: &Kernel,
    delivery: &Delivery,
    undone: &S::Undone,
    work: Option<Work>,
) -> Result<Ending, Ending> {
    let (flow, worker) = (kernel.flow, kernel.row.worker);
    let row = kernel.row.undo.expect("checked at start: an undoable step has an undo slot");
    let event = (undone.event_type(), &*undone.to_data());
    let slot = kernel.slot(row.slot, &delivery.saga);
    let (cause, traceparent) = woken_by(kernel, delivery);
    let after = cause.sequence;
    let occasion = Occasion { work, ..kernel.occasion(cause, traceparent) };
    let event = Outgoing::new(flow, slot, worker, event, &occasion);
    let resolved = commit::write_once(kernel, &event, after).await?;
    failpoint::hit(Direction::Undo, "after-commit");
    let found = match resolved {
        Resolved::Written => return Ok(Ending::Committed(Committed::undone())),
        Resolved::Found(stored) => slots::undone(flow, kernel.row, &delivery.saga, &stored),
    };
    match found {
        // Another replica undid it too, and may have found the effect in another state.
        Entry::Done(record) => Ok(Ending::Committed(Committed::seen(&record))),
        Entry::Refused(_) | Entry::Alien => Err(commit::alien()),
    }
}

/// The message that woke us, as a cause; its body may be junk.
pub(crate) fn woken_by(kernel: &Kernel, delivery: &Delivery) -> (Cause, Option<String>) {
    let message = delivery.message();
    let slot = kernel.flow.parse_subject(&message.subject).map_or("", |(slot, _)| slot);
    let envelope = Envelope::read(kernel.flow, slot, &delivery.saga, "", message);
    let id = envelope.as_ref().map_or_else(|_| String::new(), |envelope| envelope.id.clone());
    let traceparent =
        envelope.ok().and_then(|envelope| envelope.traceparent.map(|text| text.into_owned()));
    (Cause { id, sequence: message.sequence }, traceparent)
}
