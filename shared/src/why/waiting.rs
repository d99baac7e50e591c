//! What a waiting saga waits for: the durable that delivers its next message, and that message.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::flow::Role;
use crate::log::story::{Coming, Phase, Story};
use crate::{Flow, SagaId};

/// The message that comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Awaited {
    pub worker: &'static str,
    /// Where the durable is.
    pub stream: String,
    pub durable: String,
    pub role: Role,
    /// The exact subject that is to be written: `trips.hotel.T1`.
    pub subject: String,
    pub trigger: Trigger,
}

/// What the worker reacts to, or what brings that back to it.
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
    let set_aside = |coming: &&Coming| {
        coming.parked.sequence == trigger.sequence && coming.parked.durable == durable.name
    };
    let (durable, trigger) = match story.coming.iter().find(set_aside) {
        None => (durable, Trigger { sequence: trigger.sequence, stored_at: trigger.stored_at }),
        Some(coming) => {
            let mut durables = flow.durables(Some(row.worker)).into_iter();
            let released = durables.find(|durable| durable.role == Role::Released)?;
            let &Coming { sequence, stored_at, .. } = coming;
            (released, Trigger { sequence, stored_at })
        }
    };
    Some(Awaited {
        worker: row.worker,
        stream: durable.stream,
        durable: durable.name,
        role: durable.role,
        subject: subject(flow, &waits.slot, &story.id),
        trigger,
    })
}

/// From when to when the saga has time by its flow's own deadlines: until it passes its pivot, or
/// until the awaited step decides, whichever is over first. `None` once no deadline can end it.
pub(super) fn deadline(
    flow: &Flow,
    story: &Story,
    awaited: &Awaited,
) -> Option<(Timestamp, Timestamp)> {
    let is_forward = matches!(awaited.role, Role::Forward | Role::Released);
    if story.state.turned_by.is_some() || !is_forward || story.is_past_its_pivot(flow) {
        return None;
    }
    let opening = story.events.iter().find(|line| line.slot == flow.opens.slot);
    let closing = flow.closing();
    let saga = opening.map(|line| line.stored_at).zip(closing.within);
    let step = flow.row(awaited.worker).filter(|row| row.worker != closing.worker);
    let waits = story.state.waits_for.as_ref();
    let step = waits.map(|waits| waits.since).zip(step.and_then(|row| row.within));
    let times = saga.into_iter().chain(step).filter_map(|(from, within)| until(from, within));
    times.min_by_key(|(_, until)| *until)
}

fn until(from: Timestamp, within: Duration) -> Option<(Timestamp, Timestamp)> {
    let until = from.checked_add(SignedDuration::try_from(within).ok()?).ok()?;
    Some((from, until))
}

fn subject(flow: &Flow, slot: &str, saga: &SagaId) -> String {
    format!("{}.{slot}.{saga}", flow.subjects)
}
