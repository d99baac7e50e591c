//! One event, as far as it decides where a saga stands: small, so that a reader can keep those of
//! many sagas.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;

use super::Kind;
use crate::Flow;
use crate::broker::Stored;
use crate::event::reason_in;
use crate::flow::Row;
use crate::log::envelope::Envelope;
use crate::log::slots::{self, Says};

/// One event of a saga.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// `payment`; also one that the flow table does not have.
    pub slot: Cow<'static, str>,
    pub kind: Kind,
    /// The worker, or `client`; empty where the message cannot be read.
    pub source: Cow<'static, str>,
    /// What the event gives as its reason, as a refusal does; empty if it gives none.
    pub reason: Cow<'static, str>,
    pub sequence: u64,
    /// By the broker's clock.
    pub stored_at: Timestamp,
}

/// Attributes that only a reader of the story wants.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Marks {
    /// See [`Line::attempt`](super::Line::attempt).
    #[serde(default)]
    pub attempt: Option<u64>,
    /// When the worker began, by its estimate of the broker's clock.
    #[serde(default)]
    pub startedat: Option<Timestamp>,
    /// When it made the event, by the same clock: the work took at least as long.
    #[serde(default)]
    pub time: Option<Timestamp>,
}

impl Marks {
    /// When the work began, in the broker's time. The estimate is meant to be too late rather than
    /// too early, so it may even lie behind the moment at which the broker stored the event. No
    /// worker began before the cause was there, and wait and work are to add up.
    pub fn began(&self, cause_at: Option<Timestamp>, stored_at: Timestamp) -> Option<Timestamp> {
        let claimed = self.startedat?;
        let took = self.time.map(|time| time.duration_since(claimed));
        let took = took.filter(|took| took.is_positive()).unwrap_or_default();
        let began = claimed.min(stored_at.checked_sub(took).unwrap_or(claimed));
        let earliest = cause_at.unwrap_or(began).min(stored_at);
        Some(began.clamp(earliest, stored_at))
    }
}

impl Fact {
    /// What a message says; `envelope` is `None` where it could not be read.
    pub fn from_envelope(
        flow: &Flow,
        slot: &str,
        envelope: Option<&Envelope<'_>>,
        stored: &Stored,
    ) -> Self {
        let (event_type, source) =
            envelope.map_or(("", ""), |envelope| (&*envelope.event_type, &*envelope.source));
        let kind = match envelope {
            Some(_) => kind(flow, slot, event_type, source),
            None => unread(flow, slot),
        };
        let reason = envelope.map_or_else(String::new, |envelope| reason_in(envelope.data));
        Self {
            slot: known(flow, slot),
            kind,
            source: known(flow, source),
            reason: Cow::Owned(reason),
            sequence: stored.sequence,
            stored_at: stored.stored_at,
        }
    }
}

/// The type of a bare message, which carries none: it can only be what opens a saga.
pub(super) fn expected(flow: &Flow, slot: &str) -> &'static str {
    if slot == flow.opens.slot { flow.opens.event } else { "" }
}

/// A name of the flow table is not copied.
fn known(flow: &Flow, name: &str) -> Cow<'static, str> {
    let mut names = flow.steps.iter().flat_map(|step| {
        let undo = step.undo.map(|undo| undo.slot);
        let pivot = step.pivot.map(|pivot| pivot.slot);
        [Some(step.worker), Some(step.slot), undo, pivot]
    });
    let own = [flow.opens.slot, flow.turns.slot, crate::log::envelope::CLIENT];
    let found = names.find(|known| *known == Some(name)).flatten();
    match found.or_else(|| own.into_iter().find(|known| *known == name)) {
        Some(known) => Cow::Borrowed(known),
        None => Cow::Owned(name.to_owned()),
    }
}

/// What an event that was read means for its saga.
fn kind(flow: &Flow, slot: &str, event_type: &str, source: &str) -> Kind {
    if slot == flow.opens.slot {
        return Kind::Forward;
    }
    if slot == flow.turns.slot {
        return Kind::Refusal;
    }
    let Some((step, part)) = part_of(flow, slot) else {
        // A slot of a newer flow, or of a client's wish: shown, and not judged here.
        return Kind::Forward;
    };
    let says = match part {
        Part::Decision => slots::decision_says(flow, step, event_type, source),
        Part::Pivot => slots::pivot_says(flow, step, event_type, source),
        Part::Undo => slots::undo_says(step, event_type, source),
    };
    match (says, part) {
        (Says::Alien, _) => Kind::Alien,
        (Says::Done, Part::Undo) => Kind::Undo,
        (Says::Done, Part::Decision | Part::Pivot) => Kind::Forward,
        (Says::Refused, _) if step.cancelled.is_some() => Kind::Undo,
        (Says::Refused, _) => Kind::Refusal,
    }
}

/// What a message that cannot be read means: the signal only wakes, so its body does not count.
fn unread(flow: &Flow, slot: &str) -> Kind {
    if slot == flow.turns.slot {
        Kind::Refusal
    } else if slot == flow.opens.slot || part_of(flow, slot).is_some() {
        Kind::Alien
    } else {
        Kind::Forward
    }
}

/// What a slot is to its step.
#[derive(Clone, Copy)]
enum Part {
    Decision,
    Pivot,
    Undo,
}

fn part_of(flow: &Flow, slot: &str) -> Option<(&'static Row, Part)> {
    flow.steps.iter().find_map(|step| {
        if step.slot == slot {
            Some((step, Part::Decision))
        } else if step.pivot.is_some_and(|pivot| pivot.slot == slot) {
            Some((step, Part::Pivot))
        } else if step.undo.is_some_and(|undo| undo.slot == slot) {
            Some((step, Part::Undo))
        } else {
            None
        }
    })
}
