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
use crate::{BadData, Reason, SagaId, telemetry};

pub(crate) struct Attempts<'w> {
    worker: &'w Worker,
    context: StepContext,
    /// When the broker stored the trigger of the run.
    stored_at: Timestamp,
    earlier: Earlier<'w>,
    turn: Turn,
    permit: Permit,
    running: Running<'w>,
    noted: Option<Noted<'w>>,
    held_since: Instant,
    waited: Duration,
}

impl<'w> Attempts<'w> {
    /// Waits for the permit of the first attempt. `stored_at` is the time of the run's trigger,
    /// which for an undo is not the delivered message.
    pub(crate) async fn begin(
        worker: &'w Worker,
        direction: Direction,
        delivery: &'w Delivery,
        stored_at: Timestamp,
    ) -> Result<Self, Ending> {
        let (held_since, saga) = (Instant::now(), &delivery.saga);
        let mut earlier = Earlier::of(worker, delivery).await;
        alone::check(worker, direction, &earlier)?;
        let turn = delivery.turn.remembers(earlier.charged(), direction == Direction::Undo);
        let mut noted = None;
        let permit = match turn.permit(worker, saga, &mut noted).await {
            Ok(permit) => permit,
            Err(denied) => return Err(Box::pin(deny(worker, earlier, denied)).await),
        };
        let waited = held_since.elapsed();
        let running = Running::first(worker, &mut earlier).await;
        let context = worker.context(direction, saga, stored_at);
        Ok(Self {
            worker,
            context,
            stored_at,
            earlier,
            turn,
            permit,
            running,
            noted,
            held_since,
            waited,
        })
    }

    /// Gives the first attempt its deadline and its age anew.
    pub(crate) fn starts_now(self, direction: Direction, saga: &SagaId) -> Self {
        Self { context: self.worker.context(direction, saga, self.stored_at), ..self }
    }

    pub(crate) fn context(&self) -> &StepContext {
        &self.context
    }

    /// How long the message waited for the permit of this attempt.
    pub(crate) fn waited(&self) -> Duration {
        self.waited
    }

    /// The service spoke, yes or no.
    pub(crate) async fn answered(mut self) {
        let _settles: Verdict = self.permit.finish(Class::Answered);
        self.running.end(self.worker, &mut self.earlier).await;
    }

    /// Waits for the next attempt; `None` for one that ran out of time.
    pub(crate) async fn failed(self, error: Option<StepError>) -> Result<Self, Ending> {
        let Self { worker, context, stored_at, mut earlier, turn, permit, running, .. } = self;
        let (held_since, mut noted) = (self.held_since, self.noted);
        running.end(worker, &mut earlier).await;
        let saga = context.saga_id();
        let (class, why) = match error {
            Some(StepError::BadMessage(why)) => (Class::Bad, why),
            Some(StepError::TryAgain { class, source }) => (class, telemetry::chain(&*source)),
            Some(StepError::Superseded) => {
                (Class::Answered, "an undo cannot be superseded".to_owned())
            }
            None => (Class::Failed, "the attempt ran out of time, `worker.deadline`".to_owned()),
        };
        telemetry::attempt_failed(worker.name(), saga, context.attempt(), &why);
        if noted.is_none() {
            noted = turn.note(worker, saga);
        }
        if let Some(noted) = &noted {
            noted.failed(context.attempt(), &why);
        }
        let turn = match permit.finish(class) {
            Verdict::Hold(message) => turn.again(message),
            Verdict::GiveBack { delay, charged } => {
                let denied = Denied::GiveBack { delay, charged, why: Why::CutOff };
                return Err(deny(worker, earlier, denied).await);
            }
            Verdict::Park(Parking::Attempts) => return Err(used_up()),
            Verdict::Park(Parking::Bad) => return Err(bad_message(why)),
            Verdict::Settle if class == Class::Bad => return Err(bad_message(why)),
            // No breaker has a say: the step requires no service, or an undo says what it cannot.
            Verdict::Settle => {
                let after = match class {
                    Class::Busy(after) => after.unwrap_or_default(),
                    Class::Answered | Class::Undecided | Class::Bad => Duration::ZERO,
                    Class::NotSent | Class::Failed => Duration::ZERO,
                    Class::Credentials | Class::Local => Duration::ZERO,
                };
                if let Some(delay) = earlier.leaves_after(after) {
                    let denied = Denied::GiveBack { delay, charged: 0, why: Why::Later };
                    return Err(deny(worker, earlier, denied).await);
                }
                let wait = retry::STEP.wait(context.attempt()).max(after);
                if let Some(noted) = &noted {
                    noted.waits_until(Instant::now() + wait);
                }
                worker.pause(wait, held_since).await?;
                turn
            }
        };
        if turn.is_blocked() {
            let bad = BadData::new(Reason::AttemptsUsedUp, "", why);
            telemetry::undo_blocked(worker.name(), saga, &bad);
        }
        let asked = Instant::now();
        let permit = match turn.permit(worker, saga, &mut noted).await {
            Ok(permit) => permit,
            Err(denied) => return Err(deny(worker, earlier, denied).await),
        };
        let waited = asked.elapsed();
        let running = Running::beside(worker).await;
        let deadline = Instant::now() + worker.limits.deadline;
        let context = context.again(deadline, worker.clock.age(stored_at));
        Ok(Self {
            worker,
            context,
            stored_at,
            earlier,
            turn,
            permit,
            running,
            noted,
            held_since,
            waited,
        })
    }
}

fn bad_message(why: String) -> Ending {
    Ending::Park(BadData::new(Reason::BadMessage, "", why))
}

/// Writes down what the next delivery is to know, and lets go of the message.
async fn deny(worker: &Worker, mut earlier: Earlier<'_>, denied: Denied) -> Ending {
    match denied {
        Denied::UsedUp => used_up(),
        Denied::GiveBack { delay, charged, why } => {
            earlier.given_back(worker, charged).await;
            Ending::GiveBack(delay, why)
        }
    }
}
