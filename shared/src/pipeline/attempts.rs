//! The attempts at one message: their permits, their context, their waits, and when to stop trying
//! for now.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::alone::{self, Running};
use super::delivery::{Delivery, Ending};
use super::earlier::Earlier;
use super::held::Noted;
use super::permit::{Denied, Turn, used_up};
use super::retry;
use super::worker::{Why, Worker};
use crate::breaker::class::Class;
use crate::breaker::gate::Permit;
use crate::breaker::machine::{Parking, Verdict};
use crate::ids::Direction;
use crate::step::{StepContext, StepError};
use crate::{BadData, Reason, telemetry};

/// A message in hand: what stays the same for all attempts at it.
struct InHand<'w> {
    worker: &'w Worker,
    direction: Direction,
    delivery: &'w Delivery,
    /// When the broker stored the trigger of the run.
    stored_at: Timestamp,
    earlier: Earlier<'w>,
    since: Instant,
}

/// An attempt that may be made, and has not begun.
pub(crate) struct Granted<'w> {
    hand: InHand<'w>,
    /// Of the attempt before.
    before: Option<StepContext>,
    turn: Turn,
    permit: Permit,
    noted: Option<Noted<'w>>,
    waited: Duration,
}

/// An attempt that is being made.
pub(crate) struct Attempt<'w> {
    hand: InHand<'w>,
    context: StepContext,
    turn: Turn,
    permit: Permit,
    running: Running<'w>,
    noted: Option<Noted<'w>>,
}

impl<'w> Granted<'w> {
    /// Waits for the permit of the first attempt. `stored_at` is the time of the run's trigger,
    /// which for an undo is not the delivered message.
    pub(crate) async fn first(
        worker: &'w Worker,
        direction: Direction,
        delivery: &'w Delivery,
        stored_at: Timestamp,
    ) -> Result<Self, Ending> {
        let since = Instant::now();
        let mut earlier = Earlier::of(worker, delivery).await;
        alone::check(worker, direction, &mut earlier).await?;
        let turn = delivery.turn.remembers(earlier.charged(), direction == Direction::Undo);
        let hand = InHand { worker, direction, delivery, stored_at, earlier, since };
        Self::ask(hand, None, turn, None).await
    }

    async fn ask(
        hand: InHand<'w>,
        before: Option<StepContext>,
        turn: Turn,
        mut noted: Option<Noted<'w>>,
    ) -> Result<Self, Ending> {
        let asked = Instant::now();
        match turn.permit(hand.worker, &hand.delivery.saga, &mut noted).await {
            Ok(permit) => Ok(Self { hand, before, turn, permit, noted, waited: asked.elapsed() }),
            Err(denied) => Err(Box::pin(deny(hand, denied)).await),
        }
    }

    /// How long the message waited for this permit.
    pub(crate) fn waited(&self) -> Duration {
        self.waited
    }

    /// Begins the attempt; its time counts from here, because nothing before it is the service's
    /// fault.
    pub(crate) async fn start(mut self) -> Result<Attempt<'w>, Ending> {
        let worker = self.hand.worker;
        loop {
            let Some(running) = Running::begin(worker, &self.hand.earlier).await else {
                let (delay, why) = (Duration::ZERO, Why::Stopping);
                let charged = self.turn.charged();
                return Err(deny(self.hand, Denied::GiveBack { delay, charged, why }).await);
            };
            if self.permit.is_current() {
                let Self { mut hand, before, turn, permit, noted, .. } = self;
                running.write_down(worker, &mut hand.earlier).await;
                let context = hand.context(before.as_ref());
                return Ok(Attempt { hand, context, turn, permit, running, noted });
            }
            // The gate shut while the message passed the pivot or waited for others to run. Nothing
            // keeps the lock while it asks again.
            drop(running);
            let Self { hand, before, turn, permit, noted, .. } = self;
            drop(permit);
            self = Box::pin(Self::ask(hand, before, turn, noted)).await?;
        }
    }
}

impl InHand<'_> {
    fn context(&self, before: Option<&StepContext>) -> StepContext {
        let Self { worker, direction, delivery, stored_at, .. } = self;
        match before {
            None => worker.context(*direction, &delivery.saga, *stored_at),
            Some(before) => {
                let deadline = Instant::now() + worker.limits.deadline;
                before.again(deadline, worker.clock.age(*stored_at))
            }
        }
    }

    /// Waits where no breaker does it.
    async fn waits(
        self,
        class: Class,
        attempt: u32,
        noted: Option<&Noted<'_>>,
    ) -> Result<Self, Ending> {
        let after = match class {
            Class::Busy(after) => after.unwrap_or_default(),
            Class::Answered | Class::Undecided | Class::Bad => Duration::ZERO,
            Class::NotSent | Class::Failed => Duration::ZERO,
            Class::Credentials | Class::Local => Duration::ZERO,
        };
        if let Some(delay) = self.earlier.leaves_after(after) {
            let denied = Denied::GiveBack { delay, charged: 0, why: Why::Later };
            return Err(deny(self, denied).await);
        }
        let wait = retry::STEP.wait(attempt).max(after);
        if let Some(noted) = noted {
            noted.waits_until(Instant::now() + wait);
        }
        self.worker.pause(wait, self.since).await?;
        Ok(self)
    }
}

impl<'w> Attempt<'w> {
    pub(crate) fn context(&self) -> &StepContext {
        &self.context
    }

    /// The service spoke, yes or no.
    pub(crate) async fn answered(mut self) {
        let (worker, saga) = (self.hand.worker.name(), &self.hand.delivery.saga);
        telemetry::attempt_answered(worker, saga, self.context.attempt());
        let _settles: Verdict = self.permit.finish(Class::Answered);
        self.turn.called();
        self.running.end(self.hand.worker, &mut self.hand.earlier).await;
    }

    /// Waits for the permit of the next attempt; `None` for one that ran out of time.
    pub(crate) async fn failed(self, error: Option<StepError>) -> Result<Granted<'w>, Ending> {
        let Self { mut hand, context, turn, permit, running, mut noted } = self;
        let (worker, saga) = (hand.worker, &hand.delivery.saga);
        running.end(worker, &mut hand.earlier).await;
        let (class, why) = came_to(error);
        let requires = worker.row.requires;
        telemetry::attempt_failed(worker.name(), requires, saga, context.attempt(), &why);
        if noted.is_none() {
            noted = turn.note(worker, saga);
        }
        if let Some(noted) = &noted {
            noted.failed(context.attempt(), &why);
        }
        let verdict = permit.finish(class);
        turn.called();
        let turn = match verdict {
            Verdict::Hold(_) if turn.is_ahead() => return Err(deny(hand, Denied::AHEAD).await),
            Verdict::Hold(message) => turn.again(message),
            Verdict::GiveBack { delay, charged } => {
                let denied = Denied::GiveBack { delay, charged, why: Why::CutOff };
                return Err(deny(hand, denied).await);
            }
            Verdict::Park(Parking::Attempts) => return Err(used_up(Some(&why))),
            Verdict::Park(Parking::Bad) => return Err(bad_message(why)),
            Verdict::Settle if class == Class::Bad => return Err(bad_message(why)),
            // No breaker has a say: the step requires no service, or an undo says what it cannot.
            Verdict::Settle => {
                hand = hand.waits(class, context.attempt(), noted.as_ref()).await?;
                turn
            }
        };
        if turn.is_blocked() {
            let bad = BadData::new(Reason::AttemptsUsedUp, "", why);
            telemetry::undo_blocked(worker.name(), saga, &bad);
        }
        Granted::ask(hand, Some(context), turn, noted).await
    }
}

/// The class of a failed call, and its reason.
fn came_to(error: Option<StepError>) -> (Class, String) {
    match error {
        Some(StepError::BadMessage(why)) => (Class::Bad, why),
        Some(StepError::TryAgain { class, source }) => (class, telemetry::chain(&*source)),
        Some(StepError::Superseded) => (Class::Answered, "an undo cannot be superseded".to_owned()),
        None => (Class::Failed, "the attempt ran out of time, `worker.deadline`".to_owned()),
    }
}

fn bad_message(why: String) -> Ending {
    Ending::Park(BadData::new(Reason::BadMessage, "", why))
}

/// Writes down what the next delivery is to know, and lets go of the message.
async fn deny(mut hand: InHand<'_>, denied: Denied) -> Ending {
    match denied {
        Denied::UsedUp { last_error } => used_up(last_error.as_deref()),
        Denied::GiveBack { delay, charged, why } => {
            // Its deliveries are still to come, and none of them has ended.
            if !hand.earlier.is_ahead() {
                hand.earlier.given_back(hand.worker, charged).await;
            }
            Ending::GiveBack(delay, why)
        }
    }
}
