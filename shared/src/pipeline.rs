//! What happens to a trigger, from its delivery to its settlement; the stages in order.
//!
//! Each stage takes what the one before it made, and may end the handling early with an
//! [`Ending`]. A crash between any two lines is harmless: the message comes again, its slot is read
//! first, every outside request has the same key as before, and the guard lets one decision in.
//! Only the report of a second effect, which no honest service makes, is lost with its process.
//!
//! What is rare is boxed, here and in the stages, for the future of a handling is allocated for
//! every message.

use tokio::time::timeout_at;

use crate::attempts::Attempts;
use crate::commit::{self, Commit};
use crate::decode::{Trigger, decode};
use crate::delivery::{Delivery, Ending};
use crate::envelope::Work;
use crate::ids::Direction;
use crate::kernel::Kernel;
use crate::step::{Evidence, Outcome, Step, StepContext, StepError, Undo};
use crate::{cause, failpoint, idempotency, pivot};

/// A step, and what to do with an effect that its slot denies.
pub(crate) trait Part: Send + Sync + 'static {
    type Step: Step;

    fn step(&self) -> &Self::Step;

    /// Takes back what `done` recorded, or says that it cannot be taken back.
    fn take_back(
        &self,
        on: &<Self::Step as Step>::On,
        done: &<Self::Step as Step>::Done,
        context: &StepContext,
    ) -> impl Future<Output = Result<TakenBack, StepError>> + Send;
}

pub(crate) enum TakenBack {
    Yes,
    /// The step is after the pivot: nobody may refuse it, and yet somebody did.
    Never,
}

/// A step after the pivot.
pub(crate) struct Final<S>(pub(crate) S);
/// A step before the pivot.
pub(crate) struct Undoable<S>(pub(crate) S);

impl<S: Step> Part for Final<S> {
    type Step = S;

    fn step(&self) -> &S {
        &self.0
    }

    async fn take_back(
        &self,
        _: &S::On,
        _: &S::Done,
        _: &StepContext,
    ) -> Result<TakenBack, StepError> {
        Ok(TakenBack::Never)
    }
}

impl<S: Undo> Part for Undoable<S> {
    type Step = S;

    fn step(&self) -> &S {
        &self.0
    }

    async fn take_back(
        &self,
        on: &S::On,
        done: &S::Done,
        context: &StepContext,
    ) -> Result<TakenBack, StepError> {
        self.0.undo(on, Evidence::Recorded(done), context).await.map(|_undone| TakenBack::Yes)
    }
}

type On<P> = <<P as Part>::Step as Step>::On;
type Done<P> = <<P as Part>::Step as Step>::Done;
type Refused<P> = <<P as Part>::Step as Step>::Refused;

/// Handles one delivery of the forward durable, to its settlement.
pub(crate) async fn handle<P: Part>(kernel: &Kernel, part: &P, delivery: Delivery) {
    let ending = match decide(kernel, part, &delivery).await {
        Ok(ending) | Err(ending) => ending,
    };
    failpoint::hit(Direction::Run, "before-ack");
    delivery.end(kernel, ending).await;
}

async fn decide<P: Part>(kernel: &Kernel, part: &P, delivery: &Delivery) -> Result<Ending, Ending> {
    let trigger = decode::<On<P>>(kernel, delivery)?;
    cause::check(kernel, &trigger).await?;
    idempotency::route(kernel, &trigger).await?;
    pivot::pass(kernel, &trigger).await?;
    let (outcome, work) = run(kernel, part, &trigger).await?;
    match commit::commit(kernel, &trigger, &outcome, work).await? {
        Commit::Settled(committed) => Ok(Ending::Committed(committed)),
        Commit::TakeBack(refusal) => {
            // The signal first: this message may be the only one that can still give it.
            let told = Box::pin(commit::refused(kernel, &trigger, &refusal)).await?;
            Box::pin(take_back(kernel, part, &trigger, &outcome)).await?;
            Ok(Ending::Committed(told))
        }
    }
}

/// Runs the step until it says what happened.
async fn run<P: Part>(
    kernel: &Kernel,
    part: &P,
    trigger: &Trigger<On<P>>,
) -> Result<(Outcome<Done<P>, Refused<P>>, Work), Ending> {
    let started = kernel.clock.now();
    let mut attempts = Attempts::new(kernel, Direction::Run, &trigger.saga, trigger.seen());
    failpoint::hit(Direction::Run, "before-run");
    loop {
        let context = attempts.context();
        let ran = part.step().run(&trigger.on, context);
        match timeout_at(context.deadline(), ran).await {
            Ok(Ok(outcome)) => {
                failpoint::hit(Direction::Run, "after-effect");
                return Ok((outcome, Work { attempt: context.attempt(), started }));
            }
            Ok(Err(StepError::Superseded)) => {
                let committed = Box::pin(commit::superseded(kernel, trigger)).await?;
                return Err(Ending::Committed(committed));
            }
            Ok(Err(error)) => Box::pin(attempts.failed(Some(error))).await?,
            Err(_) => Box::pin(attempts.failed(None)).await?,
        }
    }
}

/// Undoes an effect of our own that another decision has overtaken.
async fn take_back<P: Part>(
    kernel: &Kernel,
    part: &P,
    trigger: &Trigger<On<P>>,
    outcome: &Outcome<Done<P>, Refused<P>>,
) -> Result<(), Ending> {
    let Outcome::Done(done) = outcome else { return Ok(()) };
    let mut attempts = Attempts::new(kernel, Direction::Undo, &trigger.saga, trigger.seen());
    loop {
        let context = attempts.context();
        match timeout_at(context.deadline(), part.take_back(&trigger.on, done, context)).await {
            Ok(Ok(TakenBack::Yes)) => return Ok(()),
            Ok(Ok(TakenBack::Never)) => {
                let what = "the step acted, and its slot holds a refusal";
                return Err(commit::orphan_effect(kernel, trigger, what));
            }
            Ok(Err(error)) => attempts.failed(Some(error)).await?,
            Err(_) => attempts.failed(None).await?,
        }
    }
}
