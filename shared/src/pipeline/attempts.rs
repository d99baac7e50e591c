//! The attempts at one message: their context, their waits, and when to stop trying for now.

use jiff::Timestamp;
use tokio::time::Instant;

use super::delivery::Ending;
use super::retry;
use super::worker::Worker;
use crate::ids::Direction;
use crate::step::{StepContext, StepError};
use crate::{BadData, Reason, SagaId, telemetry};

/// What the broker says about the message in hand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    /// When it stored the trigger of the run.
    pub(crate) stored_at: Timestamp,
    /// How often it has delivered the message, from 1.
    pub(crate) deliveries: u64,
}

pub(crate) struct Attempts<'k> {
    worker: &'k Worker,
    context: StepContext,
    seen: Seen,
    held_since: Instant,
}

impl<'k> Attempts<'k> {
    pub(crate) fn new(worker: &'k Worker, direction: Direction, saga: &SagaId, seen: Seen) -> Self {
        let context = worker.context(direction, saga, seen.stored_at);
        Self { worker, context, seen, held_since: Instant::now() }
    }

    pub(crate) fn context(&self) -> &StepContext {
        &self.context
    }

    /// Waits for the next attempt; `error` is `None` when the last one ran out of time.
    ///
    /// The worker holds a message only at its first delivery. A redelivered message has one attempt
    /// and then makes room, because the broker hands it out before any new message: otherwise a few
    /// messages that never succeed would keep all others waiting.
    pub(crate) async fn failed(&mut self, error: Option<StepError>) -> Result<(), Ending> {
        let attempt = self.context.attempt();
        let (after, why) = match error {
            Some(StepError::BadMessage(why)) => {
                return Err(Ending::Park(BadData::new(Reason::BadMessage, "", why)));
            }
            Some(StepError::TryAgain { after, source }) => (after, source.to_string()),
            Some(StepError::Superseded) => (None, "an undo cannot be superseded".to_owned()),
            None => (None, "the attempt ran out of time".to_owned()),
        };
        telemetry::attempt_failed(self.worker.name(), self.context.saga_id(), attempt, &why);
        let after = after.unwrap_or_default();
        if self.seen.deliveries > 1 {
            let returns = u32::try_from(self.seen.deliveries - 1).unwrap_or(u32::MAX);
            return Err(Ending::GiveBack(retry::STEP.wait(returns).max(after)));
        }
        let wait = retry::STEP.wait(attempt).max(after);
        self.worker.pause(wait, self.held_since).await?;
        let deadline = Instant::now() + self.worker.limits.deadline;
        self.context = self.context.again(deadline, self.worker.clock.age(self.seen.stored_at));
        Ok(())
    }
}
