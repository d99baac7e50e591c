//! What happens to a trigger, from its delivery to its settlement; the stages in order.
//!
//! Each stage takes what the stage before it made, and may end the handling early with an
//! [`Ending`]. A crash between any two lines is harmless: the broker delivers the message again
//! (*at least once*), the worker reads its slot first, every outside request has the same
//! idempotency key as before, and the guard (*optimistic concurrency*: a slot must still be empty)
//! lets one decision in. Only one thing is lost with the process: its report of a second effect,
//! which no honest service causes.
//!
//! Rare branches are boxed, here and in the stages, because every message allocates the future of
//! its handling.

// First what every stage uses, then the stages in the order in which a message meets them.
mod worker;
mod held;

mod released;

mod decode;
mod cause;
mod idempotency;
mod permit;
mod pivot;
mod part;
mod earlier;
mod alone;
mod attempts;
mod commit;
pub(crate) mod signal;
mod write;

// The last stage. It takes the proofs that `decode`, `commit` and `park` make, and each of those
// may end the handling early: they need one another, so they are declared together.
mod delivery;
mod park;

pub(crate) mod retry;

pub(crate) use attempts::Granted;
pub(crate) use commit::{Committed, alien};
pub(crate) use delivery::{Delivery, Ending, Released, verdict};
pub(crate) use earlier::SUSPICIOUS;
pub(crate) use held::{Held, Note, one_line};
pub(crate) use park::park;
pub(crate) use part::{Final, Part, Settling, Undoable};
pub(crate) use permit::{CallAhead, Turn};
pub(crate) use released::handle as handle_released;
pub(crate) use worker::{GiveBack, Limits, Why, Worker};
pub(crate) use write::{Resolved, write_once};

use tokio::time::timeout_at;

use crate::failpoint;
use crate::ids::Direction;
use crate::log::envelope::Work;
use crate::log::parked::Verdict;
use crate::step::{Outcome, Step, StepError};
use commit::Commit;
use decode::{Trigger, decode};
use part::TakenBack;

/// Handles one delivery of the forward durable, to its settlement.
pub(crate) async fn handle<P: Part>(worker: &Worker, part: &P, delivery: Delivery) {
    let ending = match decide(worker, part, &delivery).await {
        Ok(ending) | Err(ending) => ending,
    };
    failpoint::hit(Direction::Run, "before-ack");
    delivery.end(worker, ending).await;
}

async fn decide<P: Part>(worker: &Worker, part: &P, delivery: &Delivery) -> Result<Ending, Ending> {
    let trigger = decode::<On<P>>(worker, delivery)?;
    cause::check(worker, &trigger).await?;
    idempotency::route(worker, &trigger).await?;
    let verdict = released::verdict(worker, part, delivery).await?;
    let granted = Granted::first(worker, Direction::Run, delivery, trigger.stored_at).await?;
    idempotency::route_after(worker, &trigger, granted.waited()).await?;
    // Only now: while a service is away, a cancellation can still win the pivot.
    pivot::pass(worker, &trigger).await?;
    let (outcome, work) = run(worker, part, &trigger, verdict, granted).await?;
    match commit::commit(worker, &trigger, &outcome, work).await? {
        Commit::Settled(committed) => Ok(Ending::Committed(committed)),
        Commit::TakeBack(refusal) => {
            // Signal first: this message may be the only one that can still give the signal.
            let told = Box::pin(commit::refused(worker, &trigger, &refusal)).await?;
            Box::pin(take_back(worker, part, &trigger, delivery, &outcome)).await?;
            Ok(Ending::Committed(told))
        }
    }
}

/// Runs the step until it says what happened, or what had happened already.
async fn run<P: Part>(
    worker: &Worker,
    part: &P,
    trigger: &Trigger<On<P>>,
    verdict: Verdict,
    granted: Granted<'_>,
) -> Result<(Outcome<Done<P>, Refused<P>>, Work), Ending> {
    let mut attempt = granted.start().await?;
    let started = worker.clock.now();
    failpoint::hit(Direction::Run, "before-run");
    loop {
        let context = attempt.context();
        failpoint::poisoned(Direction::Run, &trigger.saga, context.attempt());
        let ran = async {
            match verdict {
                Verdict::Retry => part.step().run(&trigger.on, context).await,
                Verdict::Refuse => part.settle(&trigger.on, context).await,
            }
        };
        let error = match timeout_at(context.deadline(), ran).await {
            Ok(Ok(outcome)) => {
                failpoint::hit(Direction::Run, "after-effect");
                let work = Work { attempt: context.attempt(), started };
                attempt.answered().await;
                return Ok((outcome, work));
            }
            Ok(Err(StepError::Superseded)) => {
                attempt.answered().await;
                let committed = Box::pin(commit::superseded(worker, trigger)).await?;
                return Err(Ending::Committed(committed));
            }
            Ok(Err(error)) => Some(error),
            Err(_) => None,
        };
        let granted = Box::pin(attempt.failed(error)).await?;
        idempotency::route_after(worker, trigger, granted.waited()).await?;
        attempt = granted.start().await?;
    }
}

/// Undoes the effect of this run, because its slot holds another decision.
async fn take_back<P: Part>(
    worker: &Worker,
    part: &P,
    trigger: &Trigger<On<P>>,
    delivery: &Delivery,
    outcome: &Outcome<Done<P>, Refused<P>>,
) -> Result<(), Ending> {
    let Outcome::Done(done) = outcome else { return Ok(()) };
    let stored_at = trigger.stored_at;
    let granted = Granted::first(worker, Direction::Undo, delivery, stored_at).await?;
    let mut attempt = granted.start().await?;
    loop {
        let context = attempt.context();
        match timeout_at(context.deadline(), part.take_back(&trigger.on, done, context)).await {
            Ok(Ok(TakenBack::Yes)) => {
                attempt.answered().await;
                return Ok(());
            }
            Ok(Ok(TakenBack::Never)) => {
                let what = "the step acted, and its slot holds a refusal";
                return Err(commit::orphan_effect(worker, trigger, what));
            }
            Ok(Err(error)) => attempt = attempt.failed(Some(error)).await?.start().await?,
            Err(_) => attempt = attempt.failed(None).await?.start().await?,
        }
    }
}

type On<P> = <<P as Part>::Step as Step>::On;
type Done<P> = <<P as Part>::Step as Step>::Done;
type Refused<P> = <<P as Part>::Step as Step>::Refused;

#[cfg(test)]
mod tests;
