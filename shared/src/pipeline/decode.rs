//! Is this message a trigger of the step, and is it sound?
//!
//! A step reacts to the event that opens a saga, or to the `Done` of the step before it. It ignores
//! a refusal in that slot. The worker sets everything else aside, because it can never become a
//! trigger.

use jiff::Timestamp;
use tokio::time::Instant;
use uuid::Uuid;

use super::delivery::{Delivery, Ending};
use super::worker::Worker;
use crate::log::envelope::{Cause, Envelope};
use crate::{BadData, Event, Reason, SagaId};

/// Longest `data` of an event that opens a saga, in bytes; a message of the log may be twice as
/// long.
const MAX_DATA: usize = 32 * 1024;

/// Proof that a message is no trigger of this step.
pub(crate) struct NotOurs {
    _made_here: (),
}

impl NotOurs {
    /// A release of what the log does not hold.
    pub(crate) fn released_nothing() -> Self {
        Self { _made_here: () }
    }
}

/// A message that a step can run on.
#[derive(Debug)]
pub(crate) struct Trigger<On> {
    pub(crate) saga: SagaId,
    pub(crate) on: On,
    /// The trigger itself, as the cause of what is written next.
    pub(crate) this: Cause,
    /// What caused the trigger.
    pub(crate) cause: Option<Cause>,
    pub(crate) seal: Option<Uuid>,
    /// When its writer wrote it, by the writer's estimate of the broker's clock.
    pub(crate) written_at: Option<Timestamp>,
    pub(crate) traceparent: Option<String>,
    pub(crate) stored_at: Timestamp,
    /// By this process.
    pub(crate) received: Instant,
    pub(crate) deliveries: u64,
    /// It was parked, and is tried again.
    pub(crate) is_released: bool,
}

/// Reads a delivery of the forward durable.
pub(crate) fn decode<On: Event>(
    worker: &Worker,
    delivery: &Delivery,
) -> Result<Trigger<On>, Ending> {
    let (flow, step, saga) = (worker.flow, worker.row, &delivery.saga);
    let message = delivery.message();
    if let Some(unreadable) = &delivery.delivered.unreadable {
        let bad = BadData::new(Reason::MalformedHeader, "", unreadable.what);
        return Err(Ending::Park(bad));
    }
    let before = flow.decides(step.on);
    let expected = before.map_or(flow.opens.event, |before| before.done);
    let envelope = Envelope::read(flow, step.on, saga, expected, message).map_err(Ending::Park)?;
    if let Some(before) = before {
        if before.refused == Some(envelope.event_type.as_ref()) {
            return Err(Ending::NotOurs(NotOurs { _made_here: () }));
        }
        if envelope.event_type == before.done && envelope.source != before.worker {
            let what = "not written by the worker of its step";
            return Err(Ending::Park(BadData::new(Reason::WrongSource, "/source", what)));
        }
    } else if envelope.data.len() > MAX_DATA {
        let what = "the data of an event that opens a saga is at most 32 KB";
        return Err(Ending::Park(BadData::new(Reason::TooLarge, "", what)));
    }
    let on = envelope.event(saga).map_err(Ending::Park)?;
    Ok(Trigger {
        saga: saga.clone(),
        on,
        this: Cause { id: envelope.id, sequence: message.sequence },
        cause: envelope.cause,
        seal: envelope.seal,
        written_at: envelope.time,
        traceparent: envelope.traceparent.map(|text| text.into_owned()),
        stored_at: message.stored_at,
        received: Instant::now(),
        deliveries: delivery.delivered.deliveries,
        is_released: delivery.released.is_some(),
    })
}
