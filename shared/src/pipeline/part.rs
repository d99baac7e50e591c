//! A step, and whether it can be taken back: steps before the pivot can, steps after it cannot.

use crate::step::{Evidence, Step, StepContext, StepError, Undo};

/// A step, and what to do with its effect when its slot holds a refusal.
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
    /// The step is after the pivot and has no undo: one replica refused, and this one acted.
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
