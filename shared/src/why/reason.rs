//! What explains the wait: the first reason that something which was seen speaks for.

use jiff::Timestamp;

use super::{Awaited, Code, Seen, Service};
use crate::Flow;
use crate::breaker::fleet::{self, Mode};
use crate::broker::{Pause, StreamState};
use crate::flow::Role;
use crate::log::parked::Parked;
use crate::log::story::{Kind, Line, Occupied, Phase, Story};
use crate::topology::EVENT_BYTES;
use crate::worker::held::Held;

/// Failures that count against a message before it is set aside, or before an undo is tried more
/// slowly: a breaker's `max_attempts`, unless the operator changed it.
pub(super) const MOST_ATTEMPTS: u32 = 8;

/// The share of its deadline that a saga has left when the deadline is near.
const NEAR: i64 = 10;

/// What the code is of, as far as its words need it.
#[derive(Debug)]
pub(super) enum Reason<'s> {
    Ended(Phase),
    NotOpened,
    Parked(&'s Parked),
    Occupied(Occupied),
    Newer(&'s Line),
    NoDurable,
    NotDelivered,
    LogFull(&'s StreamState),
    UndoBlocked(&'s Held),
    /// What the undo reacts to is of a type that is not known here.
    UndoUnknown(&'s Line),
    Paused {
        service: &'s Service,
        held: Option<&'s Held>,
    },
    Foreign {
        until: Timestamp,
    },
    Retrying(&'s Held),
    Held(&'s Held),
    NoWorker,
    Lag {
        before: u64,
    },
    InHand,
    Near {
        until: Timestamp,
    },
    Unknown,
}

/// The first that fits; what helps to know comes before what only follows from it.
pub(super) fn reason<'s>(flow: &Flow, story: &'s Story, seen: &'s Seen) -> Reason<'s> {
    match story.state.phase {
        phase @ (Phase::Completed | Phase::Cancelled) => return Reason::Ended(phase),
        Phase::Unknown => return Reason::NotOpened,
        Phase::Open | Phase::Parked | Phase::Cancelling => {}
    }
    if let Some(occupied) = story.occupied(flow) {
        return Reason::Occupied(occupied);
    }
    let next = story.next_slots(flow);
    let is_alien = |line: &&Line| line.kind == Kind::Alien && next.contains(&&*line.slot);
    if let Some(line) = story.events.iter().find(is_alien) {
        return Reason::Newer(line);
    }
    let Some(awaited) = &seen.awaited else { return Reason::Unknown };
    let parked = |entry: &&Parked| {
        awaited.role != Role::Released
            && entry.sequence == awaited.trigger.sequence
            && entry.durable.starts_with(awaited.worker)
    };
    if let Some(entry) = story.parked.iter().rev().find(parked) {
        return Reason::Parked(entry);
    }
    let held = seen.held(awaited);
    let blocked = |held: &&Held| awaited.role == Role::Undo && held.charged >= MOST_ATTEMPTS;
    if let Some(held) = held.filter(blocked) {
        return Reason::UndoBlocked(held);
    }
    if let Some(service) = seen.services.iter().find(|service| service.pauses()) {
        return Reason::Paused { service, held };
    }
    if let Some(held) = held {
        let full = seen.full().filter(|_| held.last_error.is_none());
        return full.map_or_else(|| waits(held), Reason::LogFull);
    }
    match unknown_to_its_undo(flow, story, awaited) {
        Some(line) => Reason::UndoUnknown(line),
        None => at_the_broker(seen, awaited),
    }
}

/// What a step would have run on, if its undo cannot tell whether it did.
fn unknown_to_its_undo<'s>(flow: &Flow, story: &'s Story, awaited: &Awaited) -> Option<&'s Line> {
    let row = flow.row(awaited.worker).filter(|_| awaited.role == Role::Undo)?;
    let line = story.events.iter().find(|line| line.slot == row.on)?;
    let is_opening = line.slot == flow.opens.slot && line.kind != Kind::Alien;
    (is_opening && line.event_type != flow.opens.event).then_some(line)
}

fn waits(held: &Held) -> Reason<'_> {
    match held.last_error {
        Some(_) => Reason::Retrying(held),
        None => Reason::Held(held),
    }
}

/// What no replica holds.
fn at_the_broker<'s>(seen: &'s Seen, awaited: &Awaited) -> Reason<'s> {
    let Some(durable) = &seen.durable else {
        return if seen.unanswered.is_empty() { Reason::NoDurable } else { Reason::Unknown };
    };
    let trigger = awaited.trigger.sequence;
    let settled =
        durable.settled >= trigger || durable.in_hand == 0 && durable.delivered >= trigger;
    // Everything that a replica holds was named above, unless it held too many to name.
    let all_named = seen.replicas.iter().all(|one| one.held.len() == one.held_total);
    if settled && all_named && seen.slot_taken == Some(false) {
        return Reason::NotDelivered;
    }
    if let Some(log) = seen.full().filter(|_| !settled && durable.delivered >= trigger) {
        return Reason::LogFull(log);
    }
    if let Pause::On { until, .. } = durable.pause
        && durable.pause.is_longer_than(seen.explained(&awaited.durable))
    {
        return Reason::Foreign { until };
    }
    if seen.replicas.is_empty() && durable.pulls == 0 {
        return Reason::NoWorker;
    }
    if durable.delivered < trigger && durable.pending > 1 {
        let before = (trigger - durable.delivered - 1).min(durable.pending - 1);
        return Reason::Lag { before };
    }
    if !settled && durable.delivered >= trigger {
        return Reason::InHand;
    }
    match seen.deadline {
        Some((from, until)) if is_near(from, until, seen.now) => Reason::Near { until },
        Some(_) | None => Reason::Unknown,
    }
}

/// Whether no delivery is to come of what is awaited.
pub(super) fn is_lost(flow: &Flow, story: &Story, seen: &Seen) -> bool {
    matches!(reason(flow, story, seen), Reason::NotDelivered)
}

pub(super) fn is_near(from: Timestamp, until: Timestamp, now: Timestamp) -> bool {
    let (whole, left) = (until.duration_since(from), until.duration_since(now));
    left.as_millis() * i128::from(NEAR) <= whole.as_millis()
}

impl Reason<'_> {
    pub(super) fn code(&self) -> Code {
        match self {
            Self::Ended(Phase::Completed) => Code::Completed,
            Self::Ended(_) => Code::Cancelled,
            Self::NotOpened => Code::NotOpened,
            Self::Parked(entry) if entry.reason == crate::Reason::UnknownVersion.code() => {
                Code::UnknownVersion
            }
            Self::Parked(_) => Code::Parked,
            Self::Occupied(_) | Self::Newer(_) => Code::AlienEvent,
            Self::NoDurable => Code::NoDurable,
            Self::NotDelivered => Code::StepNotDelivered,
            Self::LogFull(_) => Code::LogFull,
            Self::UndoBlocked(_) | Self::UndoUnknown(_) => Code::UndoBlocked,
            Self::Paused { service, .. } if service.lacks_credentials() => Code::Credentials,
            Self::Paused { .. } => Code::BreakerPaused,
            Self::Foreign { .. } => Code::ForeignPause,
            Self::Retrying(_) => Code::Retrying,
            Self::Held(_) => Code::Held,
            Self::NoWorker => Code::NoWorker,
            Self::Lag { .. } => Code::ConsumerLag,
            Self::InHand => Code::InHand,
            Self::Near { .. } => Code::DeadlineNear,
            Self::Unknown => Code::Unknown,
        }
    }
}

impl Seen {
    /// Stream and sequence of the message that is awaited.
    pub(super) fn place<'s>(&'s self, flow: &'s Flow) -> (&'s str, u64) {
        let awaited = self.awaited.as_ref();
        awaited.map_or((flow.stream, 0), |one| (&one.stream, one.trigger.sequence))
    }

    /// What a replica says of the message that is awaited.
    fn held(&self, awaited: &Awaited) -> Option<&Held> {
        let mut held = self.replicas.iter().flat_map(|replica| &replica.held);
        held.find(|held| {
            held.durable == awaited.durable && held.sequence == awaited.trigger.sequence
        })
    }

    /// The log, if the largest event has no room in it any longer.
    fn full(&self) -> Option<&StreamState> {
        let log = self.log.as_ref()?;
        let left = log.max_bytes?.saturating_sub(log.bytes);
        (left < EVENT_BYTES as u64).then_some(log)
    }

    /// Until when the breakers' own pause of a durable lasts.
    fn explained(&self, durable: &str) -> Timestamp {
        let keys = self.services.iter().filter_map(|service| service.key.as_ref());
        let until = keys.filter_map(|key| key.pauses.get(durable)).max();
        until.map_or(Timestamp::UNIX_EPOCH, |until| moment(*until))
    }
}

impl Service {
    /// Whether no replica takes messages for it now: the operator's word beats the fleet's.
    fn pauses(&self) -> bool {
        match &self.forced {
            Some(forced) => forced.mode == Mode::Paused,
            None => self.key.as_ref().is_some_and(|key| {
                matches!(key.phase, fleet::Phase::Paused | fleet::Phase::Probing)
            }),
        }
    }

    pub(super) fn lacks_credentials(&self) -> bool {
        let key = self.key.as_ref().filter(|_| self.forced.is_none());
        key.is_some_and(|key| key.reason == fleet::Reason::Credentials)
    }
}

/// Milliseconds since the Unix epoch as a time.
pub(super) fn moment(milliseconds: u64) -> Timestamp {
    let milliseconds = i64::try_from(milliseconds).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::MAX)
}
