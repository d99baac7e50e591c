//! A step, and whether it can be taken back: steps before the pivot can, steps after it cannot.

use std::future::ready;
use std::time::Duration;

use crate::step::{Evidence, Outcome, Settle, Step, StepContext, StepError, Undo};

/// What a step comes to.
pub(crate) type Decided<S> = Outcome<<S as Step>::Done, <S as Step>::Refused>;

/// A step, and what to do with its effect when its slot holds a refusal.
pub(crate) trait Part: Send + Sync + 'static {
    type Step: Step;

    fn step(&self) -> &Self::Step;

    /// How long after a call its effect may still come; `None` if the step cannot be asked what it
    /// did.
    fn lands_within(&self) -> Option<Duration> {
        None
    }

    /// What the outside service has done, and a refusal if that is nothing.
    fn settle(
        &self,
        _on: &<Self::Step as Step>::On,
        _context: &StepContext,
    ) -> impl Future<Output = Result<Decided<Self::Step>, StepError>> + Send {
        ready(Err(StepError::BadMessage("the step cannot be asked what it did".to_owned())))
    }

    /// Takes back what `done` recorded, or says that it cannot be taken back.
    fn take_back(
        &self,
        _on: &<Self::Step as Step>::On,
        _done: &<Self::Step as Step>::Done,
        _context: &StepContext,
    ) -> impl Future<Output = Result<TakenBack, StepError>> + Send {
        ready(Ok(TakenBack::Never))
    }
}

pub(crate) enum TakenBack {
    Yes,
    /// The step is after the pivot and has no undo: one replica refused, and this one acted.
    Never,
}

/// A step after the pivot.
pub(crate) struct Final<S>(pub(crate) S);
/// A step after the pivot that can be asked what it did.
pub(crate) struct Settling<S>(pub(crate) S);
/// A step before the pivot.
pub(crate) struct Undoable<S>(pub(crate) S);

impl<S: Step> Part for Final<S> {
    type Step = S;

    fn step(&self) -> &S {
        &self.0
    }
}

impl<S: Settle> Part for Settling<S> {
    type Step = S;

    fn step(&self) -> &S {
        &self.0
    }

    fn lands_within(&self) -> Option<Duration> {
        Some(self.0.lands_within())
    }

    fn settle(
        &self,
        on: &S::On,
        context: &StepContext,
    ) -> impl Future<Output = Result<Decided<S>, StepError>> + Send {
        self.0.settle(on, context)
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
