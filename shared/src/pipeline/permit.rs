//! May the call be made? The circuit breaker of each service that the step requires says so, before
//! the pivot and before every further attempt.
//!
//! A message that waits here is held: it takes no place, in-progress acks keep it ours, and an
//! outage costs it neither a delivery nor an attempt.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::delivery::Ending;
use super::held::{MAX_ERROR, Noted, one_line};
use super::worker::{Why, Worker};
use crate::breaker::Message;
use crate::breaker::gate::{Admission, Expected, Gate, Permit, TWICE};
use crate::{BadData, Reason, SagaId};

/// A message's turn at the services that its step requires; each attempt asks it for a permit.
#[derive(Debug)]
pub(crate) struct Turn {
    gate: Gate,
    message: Message,
    /// Of a message that is handled before it is delivered, and neither waits here nor stays: its
    /// call.
    ahead: Option<Arc<watch::Sender<CallAhead>>>,
    /// Until it first asks.
    expected: Option<Expected>,
}

/// The call of a message that is handled before it is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallAhead {
    NotYet,
    Made,
    Ended,
}

/// There is no permit for this message in this process.
pub(crate) enum Denied {
    /// It failed as often as it may, last like this if that was in this process.
    UsedUp { last_error: Option<String> },
    /// Back to the broker with this delay, and with the failures that count against it.
    GiveBack { delay: Duration, charged: u32, why: Why },
}

impl Denied {
    /// Its delivery is still to come.
    pub(crate) const AHEAD: Self =
        Self::GiveBack { delay: Duration::ZERO, charged: 0, why: Why::Ahead };
}

impl Turn {
    /// `number` tells the messages of one durable apart: the stream sequence.
    pub(crate) fn of(gate: &Gate, number: u64) -> Self {
        let expected = Some(gate.expects_one());
        Self { gate: gate.clone(), message: gate.pulled(number), ahead: None, expected }
    }

    /// That of a message that is still to be delivered; `call` hears of its call.
    pub(crate) fn ahead(gate: &Gate, number: u64, call: watch::Sender<CallAhead>) -> Self {
        Self { ahead: Some(Arc::new(call)), ..Self::of(gate, number) }
    }

    pub(crate) fn is_ahead(&self) -> bool {
        self.ahead.is_some()
    }

    /// The same message, of which this many failures were written down earlier; `undo` if its call
    /// takes something back.
    pub(crate) fn remembers(&self, charged: u32, undo: bool) -> Self {
        if let Some(expected) = &self.expected {
            expected.comes();
        }
        self.gate.remember(self.message.id, charged);
        let again = self.again(Message { undo, ..self.message });
        // What this process did itself it takes back itself.
        Self { ahead: again.ahead.filter(|_| !undo), ..again }
    }

    /// The same message after an attempt.
    pub(crate) fn again(&self, message: Message) -> Self {
        Self { gate: self.gate.clone(), message, ahead: self.ahead.clone(), expected: None }
    }

    /// Failures that count against the message.
    pub(crate) fn charged(&self) -> u32 {
        self.gate.charged(self.message.id)
    }

    /// Whether it is an undo that failed as often as a message may: it goes on, and slowly.
    pub(crate) fn is_blocked(&self) -> bool {
        self.message.undo && self.gate.has_used_up(self.message.id)
    }

    /// Waits until the call may be made, or the process stops.
    /// From then on the message is `noted`.
    pub(crate) async fn permit<'w>(
        &self,
        worker: &'w Worker,
        saga: &SagaId,
        noted: &mut Option<Noted<'w>>,
    ) -> Result<Permit, Denied> {
        if let Some(call) = &self.ahead {
            let permit = self.gate.try_ahead(self.message).ok_or(Denied::AHEAD)?;
            call.send_replace(CallAhead::Made);
            return Ok(permit);
        }
        if let Some(permit) = self.gate.try_permit(self.message) {
            return Ok(permit);
        }
        if noted.is_none() {
            *noted = self.note(worker, saga);
        }
        let mut shutdown = worker.shutdown.clone();
        let admission = tokio::select! {
            biased;
            admission = self.gate.permit(self.message) => admission,
            _ = shutdown.asked() => {
                let delay = Duration::from_millis(fastrand::u64(0..500));
                let charged = self.gate.charged(self.message.id);
                return Err(Denied::GiveBack { delay, charged, why: Why::Stopping });
            }
        };
        match admission {
            Admission::Call(permit) => Ok(permit),
            Admission::Park(_) => {
                let last_error = noted.as_ref().and_then(Noted::last_error);
                Err(Denied::UsedUp { last_error })
            }
            Admission::GiveBack { delay, charged } => {
                Err(Denied::GiveBack { delay, charged, why: why(delay) })
            }
        }
    }

    /// The call has ended; its message may be long in hand yet.
    pub(crate) fn called(&self) {
        if let Some(call) = &self.ahead {
            call.send_replace(CallAhead::Ended);
        }
    }

    pub(crate) fn note<'w>(&self, worker: &'w Worker, saga: &SagaId) -> Option<Noted<'w>> {
        worker.held.note(worker, self.message.id, saga)
    }
}

/// A breaker gives back with no delay what other replicas can do, and with this one of its own what
/// waits here already.
fn why(delay: Duration) -> Why {
    match delay {
        Duration::ZERO => Why::CutOff,
        TWICE => Why::Twice,
        _ => Why::Holds,
    }
}

/// A message that its service never answers, though it answers for others.
pub(super) fn used_up(last_error: Option<&str>) -> Ending {
    let mut what = "its service failed at each attempt, and answered for other messages".to_owned();
    if let Some(last) = last_error {
        what += &format!("; the last error: {}", one_line(last, MAX_ERROR));
    }
    Ending::Park(BadData::new(Reason::AttemptsUsedUp, "", what))
}
