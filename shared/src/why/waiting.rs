//! What a waiting saga waits for: the durable that delivers its next message, and that message.

use jiff::Timestamp;

use crate::flow::Role;
use crate::log::story::{Phase, Story};
use crate::{Flow, SagaId};

/// The message that comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Awaited {
    pub worker: &'static str,
    pub durable: String,
    pub role: Role,
    /// The exact subject that is to be written: `trips.hotel.T1`.
    pub subject: String,
    pub trigger: Trigger,
}

/// What the worker reacts to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    pub sequence: u64,
    pub stored_at: Timestamp,
}

/// What a saga waits for; `None` where it is nobody's turn, or the log does not have the message.
pub fn awaited(flow: &Flow, story: &Story) -> Option<Awaited> {
    let waits = story.state.waits_for.as_ref()?;
    let row = flow.row(&waits.worker)?;
    let is_undo = row.undo.is_some_and(|undo| undo.slot == waits.slot);
    let role = match story.state.phase {
        _ if is_undo => Role::Undo,
        Phase::Cancelling if row.cancelled.is_some() && waits.slot == row.slot => Role::Closing,
        _ => Role::Forward,
    };
    let durables = flow.durables(Some(row.worker));
    let durable = durables.into_iter().find(|durable| durable.role == role)?;
    let delivered = |slot: &str| durable.filters.contains(&flow.filter(slot));
    let trigger = story.events.iter().filter(|line| delivered(&line.slot));
    let trigger = trigger.max_by_key(|line| line.sequence)?;
    Some(Awaited {
        worker: row.worker,
        subject: subject(flow, &waits.slot, &story.id),
        role,
        trigger: Trigger { sequence: trigger.sequence, stored_at: trigger.stored_at },
        durable: durable.name,
    })
}

fn subject(flow: &Flow, slot: &str, saga: &SagaId) -> String {
    format!("{}.{slot}.{saga}", flow.subjects)
}
