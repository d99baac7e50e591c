//! May the call be made? The circuit breaker of each service that the step requires says so, before
//! the pivot and before every further attempt.
//!
//! A message that waits here is held: it takes no place, in-progress acks keep it ours, and an
//! outage costs it neither a delivery nor an attempt.

use std::time::Duration;

use super::delivery::Ending;
use super::worker::Worker;
use crate::breaker::Message;
use crate::breaker::gate::{Admission, Gate, Permit};
use crate::{BadData, Reason};

/// A message's turn at the services that its step requires; each attempt asks it for a permit.
#[derive(Debug, Clone)]
pub(crate) struct Turn {
    gate: Gate,
    message: Message,
}

impl Turn {
    /// `number` tells the messages of one durable apart: the stream sequence.
    pub(crate) fn of(gate: &Gate, number: u64) -> Self {
        Self { gate: gate.clone(), message: gate.pulled(number, 0) }
    }

    /// The same message after an attempt.
    pub(crate) fn again(&self, message: Message) -> Self {
        Self { gate: self.gate.clone(), message }
    }

    /// Waits until the call may be made, or the process stops.
    pub(crate) async fn permit(&self, worker: &Worker) -> Result<Permit, Ending> {
        let mut shutdown = worker.shutdown.clone();
        let admission = tokio::select! {
            biased;
            admission = self.gate.permit(self.message) => admission,
            _ = shutdown.asked() => {
                return Err(Ending::GiveBack(Duration::from_millis(fastrand::u64(0..500))));
            }
        };
        match admission {
            Admission::Call(permit) => Ok(permit),
            Admission::Park(_) => Err(used_up()),
            Admission::GiveBack { delay, .. } => Err(Ending::GiveBack(delay)),
        }
    }
}

/// A message that its service never answers, though it answers for others.
pub(super) fn used_up() -> Ending {
    let what = "its service gave no answer in all its attempts, and answered for other messages";
    Ending::Park(BadData::new(Reason::AttemptsUsedUp, "", what))
}
