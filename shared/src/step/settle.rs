//! A step after the pivot that can be asked what it did, so that a saga which is stuck there ends.

use std::future::Future;
use std::time::Duration;

use super::{Outcome, Step, StepContext, StepError};

/// A step that cannot be undone, whose outside service tells what it did under a key.
///
/// An operator who gives a message up after the pivot releases it with the verdict `refuse`. The
/// runtime then calls [`Settle::settle`] in place of [`Step::run`], with the same keys.
pub trait Settle: Step {
    /// How long after the end of a call its effect may still come: no refusal is written before.
    /// The adapter's promise, as the service documents it.
    fn lands_within(&self) -> Duration;

    /// Asks the service what it did, and has it do nothing. `Done` with its effect if there is one;
    /// otherwise a refusal, and the saga is taken back. May be called again.
    ///
    /// # Errors
    /// When it cannot be found out; the runtime tries again.
    fn settle(
        &self,
        on: &Self::On,
        context: &StepContext,
    ) -> impl Future<Output = Result<Outcome<Self::Done, Self::Refused>, StepError>> + Send;
}
