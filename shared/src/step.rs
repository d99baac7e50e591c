//! A step as its author writes it: what happened, never how it is delivered or stored.
//!
//! A step returns an [`Outcome`]; it does not publish, acknowledge, sleep, retry, spawn or read the
//! environment. A refusal is an outcome; an error means "could not find out", and `?` means "try
//! again".

mod never;
mod not_sent;
mod settle;

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use crate::breaker::class::{Class, Classified};
use crate::clock::Asked;
use crate::ids::Direction;
use crate::{Event, IdempotencyKey, KeyNamespace, Refusal, SagaId};

pub use never::Never;
pub use not_sent::NotSent;
pub use settle::Settle;

/// One worker's part of a saga.
///
/// ```
/// use quadrille::step::{Outcome, Step, StepContext, StepError};
/// use quadrille::{event, refusal};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct TripRequested { hotel: String, nights: u32 }
/// event!(TripRequested = "trip.requested.v1");
///
/// #[derive(Serialize, Deserialize)]
/// struct HotelBooked { room: u32 }
/// event!(HotelBooked = "hotel.booked.v1");
///
/// #[derive(Serialize, Deserialize)]
/// struct HotelRefused { reason: String }
/// event!(HotelRefused = "hotel.refused.v1");
/// refusal!(HotelRefused);
///
/// struct BookHotel;
///
/// impl Step for BookHotel {
///     type On = TripRequested;
///     type Done = HotelBooked;
///     type Refused = HotelRefused;
///
///     async fn run(
///         &self,
///         trip: &TripRequested,
///         context: &StepContext,
///     ) -> Result<Outcome<HotelBooked, HotelRefused>, StepError> {
///         if trip.nights > 14 {
///             return Ok(Outcome::Refused(HotelRefused { reason: "too-long".into() }));
///         }
///         let room = book(&trip.hotel, trip.nights, &context.key("book").to_string()).await?;
///         Ok(Outcome::Done(HotelBooked { room }))
///     }
/// }
/// # async fn book(_: &str, _: u32, _key: &str) -> Result<u32, std::io::Error> { Ok(7) }
/// ```
pub trait Step: Send + Sync + 'static {
    /// What it reacts to.
    type On: Event;
    /// What it records.
    type Done: Event;
    /// Why it said no; [`Never`] for a step that cannot.
    type Refused: Refusal;

    /// Does the step's work, or finds that it is already done. The runtime may call it again (*at
    /// least once*), and at the same time in another replica, so every outside request carries the
    /// idempotency key [`StepContext::key`].
    ///
    /// # Errors
    /// [`StepError`] when the outcome could not be found out.
    fn run(
        &self,
        on: &Self::On,
        context: &StepContext,
    ) -> impl Future<Output = Result<Outcome<Self::Done, Self::Refused>, StepError>> + Send;
}

/// A step before the pivot, which can be taken back (*compensation*).
///
/// The law of every undo: once `undo` with [`Evidence::Unknown`] has returned, no `run` of that
/// saga, earlier or later, can take effect. `quadrille::testing` checks it. The easiest fence is a
/// service that can bar an idempotency key: cancel there under [`StepContext::run_key`], whatever
/// the evidence. Where the service cannot, let one request open and a second one take effect.
pub trait Undo: Step {
    /// What it records when the effect is gone.
    type Undone: Event;

    /// Takes the effect back; undoing nothing is a success.
    ///
    /// # Errors
    /// [`StepError`] when it could not be done yet. The runtime tries it again for ever.
    fn undo(
        &self,
        on: &Self::On,
        evidence: Evidence<&Self::Done>,
        context: &StepContext,
    ) -> impl Future<Output = Result<Self::Undone, StepError>> + Send;

    /// What is recorded when `run` can never have started, because its trigger was unreadable.
    fn never_ran() -> Self::Undone;
}

/// What a step decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<Done, Refused> {
    Done(Done),
    Refused(Refused),
}

/// What is known about the effect that `undo` takes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence<Done> {
    /// `run` happened, and this is what it recorded.
    Recorded(Done),
    /// `run` may have happened, may be happening now, or may be about to.
    Unknown,
}

/// Why a step could not find out what happened.
#[derive(Debug)]
pub enum StepError {
    /// Try again. The class says what the call to the outside service came to.
    TryAgain { class: Class, source: Box<dyn std::error::Error + Send + Sync> },
    /// Trying again cannot help: the runtime parks the message (a *dead letter*). Says why, without
    /// the payload.
    BadMessage(String),
    /// An undo fenced this run off: whatever it did is, or will be, taken back.
    Superseded,
}

type BoxedError = Box<dyn std::error::Error + Send + Sync>;

impl StepError {
    /// No answer, or none that can be read: what `?` means on any error.
    pub fn try_again(source: impl Into<BoxedError>) -> Self {
        Self::TryAgain { class: Class::Failed, source: source.into() }
    }

    /// The service asks for time: this long, if it says so. Counts neither against the service nor
    /// against the message.
    pub fn busy(after: Option<Duration>, source: impl Into<BoxedError>) -> Self {
        Self::TryAgain { class: Class::Busy(after), source: source.into() }
    }

    /// The service works on it and has not decided: ask again later. Counts neither against the
    /// service nor against the message.
    pub fn undecided(source: impl Into<BoxedError>) -> Self {
        Self::TryAgain { class: Class::Undecided, source: source.into() }
    }

    /// The service does not accept our credentials, which no retry within seconds mends.
    pub fn credentials(source: impl Into<BoxedError>) -> Self {
        Self::TryAgain { class: Class::Credentials, source: source.into() }
    }

    /// The call was not made or not finished for a reason of our own: it says nothing about the
    /// service.
    pub fn local(source: impl Into<BoxedError>) -> Self {
        Self::TryAgain { class: Class::Local, source: source.into() }
    }
}

impl Classified for StepError {
    fn class(&self) -> Class {
        match self {
            Self::TryAgain { class, .. } => *class,
            Self::BadMessage(_) => Class::Bad,
            Self::Superseded => Class::Answered,
        }
    }
}

/// `?` on any error means: could not find out, try again. An error that a [`NotSent`] caused says
/// so by its class.
impl<E: std::error::Error + Send + Sync + 'static> From<E> for StepError {
    fn from(error: E) -> Self {
        let first: &(dyn std::error::Error + 'static) = &error;
        let mut chain = std::iter::successors(Some(first), |error| error.source());
        let class = match chain.any(|error| error.is::<NotSent>()) {
            true => Class::NotSent,
            false => Class::Failed,
        };
        Self::TryAgain { class, source: error.into() }
    }
}

/// One attempt at a message.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    /// 1 on the first attempt of this process at this message.
    pub number: u32,
    /// When the runtime gives this attempt up and tries again.
    pub deadline: Instant,
    /// Of `run`'s trigger when the attempt began, by the broker's clock.
    pub age: Duration,
}

/// What a step may know besides its event.
#[derive(Debug, Clone)]
pub struct StepContext {
    log: KeyNamespace,
    /// The saga type: `order`.
    saga: &'static str,
    step: &'static str,
    direction: Direction,
    saga_id: SagaId,
    attempt: Attempt,
    since: Asked,
}

impl StepContext {
    /// For the runtime and for tests. `saga` and `step` name the saga type and the worker, as in
    /// the flow: keys are derived from them and from the log's own namespace.
    pub fn new(
        log: KeyNamespace,
        saga: &'static str,
        step: &'static str,
        direction: Direction,
        saga_id: SagaId,
        attempt: Attempt,
    ) -> Self {
        Self { log, saga, step, direction, saga_id, attempt, since: Asked::now() }
    }

    /// What tells this log's requests from those of another log with the same ids: for searches,
    /// because keys have it in them.
    pub fn log(&self) -> KeyNamespace {
        self.log
    }

    pub fn saga_id(&self) -> &SagaId {
        &self.saga_id
    }

    /// The idempotency key of one outside request, named within this direction of the step
    /// (`create`): the same on every attempt, replica and redelivery.
    pub fn key(&self, request: &str) -> IdempotencyKey {
        self.key_of(self.direction, request)
    }

    /// The key that `run` used, or would use, for `request`: with it, `undo` reaches the effect of
    /// a run that is still in flight.
    pub fn run_key(&self, request: &str) -> IdempotencyKey {
        self.key_of(Direction::Run, request)
    }

    fn key_of(&self, direction: Direction, request: &str) -> IdempotencyKey {
        IdempotencyKey::derive(self.log, self.saga, &self.saga_id, self.step, direction, request)
    }

    /// 1 on the first attempt of this process at this message.
    pub fn attempt(&self) -> u32 {
        self.attempt.number
    }

    /// When the runtime gives up this attempt and tries again.
    pub fn deadline(&self) -> Instant {
        self.attempt.deadline
    }

    /// Age of `run`'s trigger by the broker's clock: it decides whether a key may have expired.
    pub fn age(&self) -> Duration {
        self.attempt.age + self.since.passed()
    }

    /// The next attempt at the same message, which has aged meanwhile.
    pub(crate) fn again(&self, deadline: Instant, age: Duration) -> Self {
        let attempt = Attempt { number: self.attempt.number + 1, deadline, age };
        Self { attempt, since: Asked::now(), ..self.clone() }
    }
}
