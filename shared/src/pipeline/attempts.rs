//! The attempts at one message: their permits, their context, their waits, and when to stop trying
//! for now.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::delivery::Ending;
use super::permit::{Turn, used_up};
use super::retry;
use super::worker::Worker;
use crate::breaker::class::Class;
use crate::breaker::gate::Permit;
use crate::breaker::machine::Verdict;
use crate::ids::Direction;
use crate::step::{StepContext, StepError};
use crate::{BadData, Reason, SagaId, telemetry};

/// What the broker says of the message in hand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    /// When it stored the trigger of the run.
    pub(crate) stored_at: Timestamp,
    /// How often it has delivered the message, from 1.
    pub(crate) deliveries: u64,
}

pub(crate) struct Attempts<'w> {
    worker: &'w Worker,
    context: StepContext,
    seen: Seen,
    turn: Turn,
    permit: Permit,
    held_since: Instant,
}

impl<'w> Attempts<'w> {
    /// Waits for the permit of the first attempt.
    pub(crate) async fn begin(
        worker: &'w Worker,
        direction: Direction,
        saga: &SagaId,
        seen: Seen,
        turn: &Turn,
    ) -> Result<Self, Ending> {
        let permit = turn.permit(worker).await?;
        let context = worker.context(direction, saga, seen.stored_at);
        let (turn, held_since) = (turn.clone(), Instant::now());
        Ok(Self { worker, context, seen, turn, permit, held_since })
    }

    /// Gives the first attempt its deadline and its age anew.
    pub(crate) fn starts_now(self, direction: Direction, saga: &SagaId) -> Self {
        Self { context: self.worker.context(direction, saga, self.seen.stored_at), ..self }
    }

    pub(crate) fn context(&self) -> &StepContext {
        &self.context
    }

    /// The service spoke, yes or no.
    pub(crate) fn answered(self) {
        let _settles: Verdict = self.permit.finish(Class::Answered);
    }

    /// Waits for the next attempt; `None` for one that ran out of time.
    pub(crate) async fn failed(self, error: Option<StepError>) -> Result<Self, Ending> {
        let Self { worker, context, seen, turn, permit, held_since } = self;
        let (class, why) = match error {
            Some(StepError::BadMessage(why)) => {
                let _parks: Verdict = permit.finish(Class::Bad);
                return Err(Ending::Park(BadData::new(Reason::BadMessage, "", why)));
            }
            Some(StepError::TryAgain { class, source }) => (class, telemetry::chain(&*source)),
            Some(StepError::Superseded) => {
                (Class::Answered, "an undo cannot be superseded".to_owned())
            }
            None => (Class::Failed, "the attempt ran out of time, `worker.deadline`".to_owned()),
        };
        telemetry::attempt_failed(worker.name(), context.saga_id(), context.attempt(), &why);
        let turn = match permit.finish(class) {
            Verdict::Hold(message) => turn.again(message),
            Verdict::GiveBack { delay, .. } => return Err(Ending::GiveBack(delay)),
            Verdict::Park(_) => return Err(used_up()),
            // No breaker has a say: the step requires no service, or an undo says what it cannot.
            Verdict::Settle => {
                let after = match class {
                    Class::Busy(after) => after.unwrap_or_default(),
                    Class::Answered | Class::Bad | Class::NotSent | Class::Failed => Duration::ZERO,
                    Class::Credentials | Class::Local => Duration::ZERO,
                };
                back_off(worker, context.attempt(), seen, after, held_since).await?;
                turn
            }
        };
        let permit = turn.permit(worker).await?;
        let deadline = Instant::now() + worker.limits.deadline;
        let context = context.again(deadline, worker.clock.age(seen.stored_at));
        Ok(Self { worker, context, seen, turn, permit, held_since })
    }
}

/// Waits in hand before another attempt.
///
/// Only at its first delivery is a message held. A message that comes again has one attempt and
/// makes room, because the broker delivers it before everything new: otherwise a few messages that
/// never succeed would keep all others waiting.
async fn back_off(
    worker: &Worker,
    attempt: u32,
    seen: Seen,
    after: Duration,
    held_since: Instant,
) -> Result<(), Ending> {
    if seen.deliveries > 1 {
        let returns = u32::try_from(seen.deliveries - 1).unwrap_or(u32::MAX);
        return Err(Ending::GiveBack(retry::STEP.wait(returns).max(after)));
    }
    Ok(worker.pause(retry::STEP.wait(attempt).max(after), held_since).await?)
}
