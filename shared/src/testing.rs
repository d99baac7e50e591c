//! Steps tested without a broker: given a step, when an event arrives, then exactly this outcome.
//!
//! The laws that every step must obey are in [`laws`]; through [`Faults`] they make a scripted fake
//! fail at any of its calls.

#[cfg(test)]
pub(crate) mod desk;
mod faults;
pub mod laws;
#[cfg(test)]
pub(crate) mod memory;
mod unasked;

use std::fmt::Debug;
use std::time::Duration;

use tokio::time::Instant;

use crate::breaker::class::Class;
use crate::ids::Direction;
use crate::{Event, KeyNamespace, SagaId};

pub use faults::{Faults, Injected, When};

use crate::step::{Attempt, Evidence, Outcome, Step, StepContext, StepError, Undo};

/// Begins a test of `step`.
///
/// ```
/// use quadrille::step::{Never, Outcome, Step, StepContext, StepError};
/// use quadrille::testing::given;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// # struct CardCharged {}
/// # quadrille::event!(CardCharged = "card.charged.v1");
/// # #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// # struct TripConfirmed {}
/// # quadrille::event!(TripConfirmed = "trip.confirmed.v1");
///
/// struct ConfirmTrip;
///
/// impl Step for ConfirmTrip {
///     type On = CardCharged;
///     type Done = TripConfirmed;
///     type Refused = Never;
///
///     async fn run(
///         &self,
///         _: &CardCharged,
///         _: &StepContext,
///     ) -> Result<Outcome<TripConfirmed, Never>, StepError> {
///         Ok(Outcome::Done(TripConfirmed {}))
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// given(&ConfirmTrip).when(&CardCharged {}).await.then(Outcome::Done(TripConfirmed {}));
/// # });
/// ```
pub fn given<S: Step>(step: &S) -> Given<'_, S> {
    Given { step, saga_id: saga_id(), age: Duration::ZERO }
}

/// A step that waits for its event.
#[derive(Debug)]
pub struct Given<'s, S> {
    step: &'s S,
    saga_id: SagaId,
    age: Duration,
}

impl<S: Step> Given<'_, S> {
    /// The age of `run`'s trigger by the broker's clock; zero by default.
    pub fn aged(self, age: Duration) -> Self {
        Self { age, ..self }
    }

    /// The saga it belongs to; `A123` by default.
    pub fn of(self, saga_id: SagaId) -> Self {
        Self { saga_id, ..self }
    }

    /// The event arrives.
    pub async fn when(&self, on: &S::On) -> Happened<Outcome<S::Done, S::Refused>> {
        Happened(self.step.run(on, &self.context(Direction::Run)).await)
    }

    /// The step is to be taken back.
    pub async fn when_undone(&self, on: &S::On, evidence: Evidence<&S::Done>) -> Happened<S::Undone>
    where
        S: Undo,
    {
        Happened(self.step.undo(on, evidence, &self.context(Direction::Undo)).await)
    }

    fn context(&self, direction: Direction) -> StepContext {
        context::<S>(direction, self.saga_id.clone(), self.age)
    }
}

/// What the step returned; one of the methods says what it must have been, or panics.
#[derive(Debug)]
#[must_use = "say what must have happened"]
pub struct Happened<T>(Result<T, StepError>);

impl<T: Debug> Happened<T> {
    #[track_caller]
    pub fn then(self, expected: T)
    where
        T: PartialEq,
    {
        assert_eq!(self.0.expect("expected an outcome"), expected);
    }

    /// The result, whatever it was.
    ///
    /// # Errors
    /// The step's own.
    pub fn result(self) -> Result<T, StepError> {
        self.0
    }

    /// The step could not find out; returns how long it asks to be left alone.
    #[track_caller]
    pub fn then_try_again(self) -> Option<Duration> {
        match self.0 {
            Err(StepError::TryAgain { class: Class::Busy(after), .. }) => after,
            Err(StepError::TryAgain { .. }) => None,
            other => panic!("expected to try again, got {other:?}"),
        }
    }

    #[track_caller]
    pub fn then_bad_message(self) {
        assert!(matches!(self.0, Err(StepError::BadMessage(_))), "no bad message: {:?}", self.0);
    }

    #[track_caller]
    pub fn then_superseded(self) {
        assert!(matches!(self.0, Err(StepError::Superseded)), "not superseded: {:?}", self.0);
    }
}

/// The first attempt, with ten seconds left. The keys are the same for every call of one step and
/// differ from another step's, as they must. They are not the real keys, because only the running
/// worker knows its names in the flow.
fn context<S: Step>(direction: Direction, saga_id: SagaId, age: Duration) -> StepContext {
    let deadline = Instant::now() + Duration::from_secs(10);
    let attempt = Attempt { number: 1, deadline, age };
    StepContext::new(KeyNamespace::FIRST, "test", S::Done::TYPES[0], direction, saga_id, attempt)
}

fn saga_id() -> SagaId {
    SagaId::parse("A123").expect("letters and digits")
}
