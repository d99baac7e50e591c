//! The log, order by order and slot by slot, and what must be true for each event by itself.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use quadrille::ids::event_id;
use quadrille::{Event, SagaId};
use schemas::order_fulfilment::FLOW;
use schemas::order_fulfilment::events::OrderPlaced;
use serde_json::Value;

use super::{Effect, Findings, History, Rule};
use crate::stack::Logged;

/// One order.
pub(super) struct Story<'h> {
    pub(super) id: SagaId,
    /// By slot name.
    pub(super) told: BTreeMap<String, Told>,
    /// What was ordered, if that can be read.
    pub(super) placed: Option<OrderPlaced>,
    pub(super) effects: Vec<&'h Effect>,
    pub(super) parked: bool,
}

/// One event.
pub(super) struct Told {
    pub(super) sequence: u64,
    pub(super) at: Timestamp,
    pub(super) id: String,
    pub(super) event_type: String,
    pub(super) source: String,
    pub(super) cause: Option<(String, u64)>,
    pub(super) data: Value,
}

impl Story<'_> {
    pub(super) fn slot(&self, name: &str) -> Option<&Told> {
        self.told.get(name)
    }

    /// The event in a slot, if it is of this type.
    pub(super) fn event(&self, name: &str, event_type: &str) -> Option<&Told> {
        self.slot(name).filter(|told| told.event_type == event_type)
    }

    pub(super) fn completed(&self) -> bool {
        let closing = FLOW.closing();
        self.event(closing.slot, closing.done).is_some()
    }

    pub(super) fn cancelled(&self) -> bool {
        let closing = FLOW.closing();
        closing.cancelled.is_some_and(|cancelled| self.event(closing.slot, cancelled).is_some())
    }

    pub(super) fn effects_of<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s Effect> {
        self.effects.iter().copied().filter(move |effect| effect.effect == name)
    }
}

/// Every order that the log, the parked stream or the ledger knows.
pub(super) fn stories<'h>(
    history: &'h History,
    found: &mut Findings,
) -> BTreeMap<String, Story<'h>> {
    let mut stories = BTreeMap::new();
    for (message, expected) in history.log.iter().zip(1..) {
        if message.sequence != expected {
            found.add(Rule::OnePerSlot, format!("sequence {expected} is {}", message.sequence));
            break;
        }
    }
    for message in &history.log {
        let Some((slot, id)) = FLOW.parse_subject(&message.subject) else {
            found.add(Rule::Contract, format!("{} is no slot", message.subject));
            continue;
        };
        let story = stories.entry(id.to_string()).or_insert_with(|| Story::of(id.clone()));
        if slot == FLOW.opens.slot {
            story.placed = placed(message);
        }
        let told = read(slot, &id, message);
        if let Some(fault) = fault(slot, &id, &told) {
            // A mistake in the order itself is the client's, and the order is parked.
            let opening = slot == FLOW.opens.slot;
            found.demand(opening, Rule::Contract, story, format!("{slot}: {fault}"));
        }
        if story.told.insert(slot.to_owned(), told).is_some() {
            found.demand(false, Rule::OnePerSlot, story, format!("two messages in {slot}"));
        }
    }
    for message in &history.parked {
        if let Some(id) = message.subject.rsplit('.').next()
            && let Some(story) = stories.get_mut(id)
        {
            let reason = read_json(&message.payload)["reason"].as_str().map(str::len);
            story.parked |= reason.unwrap_or_default() > 0;
        }
    }
    for effect in &history.ledger {
        if let Some(story) = effect.order.as_ref().and_then(|order| stories.get_mut(order)) {
            story.effects.push(effect);
        }
    }
    stories
}

impl Story<'_> {
    fn of(id: SagaId) -> Self {
        Self { id, told: BTreeMap::new(), placed: None, effects: Vec::new(), parked: false }
    }
}

fn read_json(payload: &[u8]) -> Value {
    serde_json::from_slice(payload).unwrap_or_default()
}

/// The order, bare or in an envelope.
fn placed(message: &Logged) -> Option<OrderPlaced> {
    let value = read_json(&message.payload);
    let data = if value.get("specversion").is_some() { value["data"].clone() } else { value };
    OrderPlaced::from_data(FLOW.opens.event, &data.to_string()).ok()
}

fn read(slot: &str, id: &SagaId, message: &Logged) -> Told {
    let value = read_json(&message.payload);
    let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let (sequence, at) = (message.sequence, message.at);
    if slot == FLOW.opens.slot && value.get("specversion").is_none() {
        let (event_type, source) = (FLOW.opens.event.to_owned(), "client".to_owned());
        let derived = event_id(FLOW.saga, id, slot, &event_type, &source).to_string();
        let (cause, data) = (None, value);
        return Told { sequence, at, id: derived, event_type, source, cause, data };
    }
    let cause = value["causationseq"].as_u64().map(|sequence| (text("causationid"), sequence));
    Told {
        sequence,
        at,
        id: text("id"),
        event_type: text("type"),
        source: text("source"),
        cause,
        data: value["data"].clone(),
    }
}

/// Which worker may write which type into a slot.
fn authors(slot: &str, event_type: &str) -> Vec<&'static str> {
    let closing = FLOW.closing();
    let mut authors = Vec::new();
    for row in FLOW.steps {
        let refused = row.slot == slot && row.refused == Some(event_type);
        let decides = row.slot == slot
            && (row.done == event_type || refused || row.cancelled == Some(event_type));
        let undoes =
            row.undo.is_some_and(|undo| undo.slot == slot && undo.events.contains(&event_type));
        let goes = row.pivot.is_some_and(|pivot| pivot.slot == slot && pivot.go == event_type);
        let stops = row.pivot.is_some_and(|pivot| pivot.slot == slot && pivot.stop == event_type);
        if decides || undoes || goes {
            authors.push(row.worker);
        }
        let cancels = FLOW.cancels().map(|cancels| cancels.refused);
        let answers = cancels.is_some_and(|it| it.slot == slot && it.event == event_type);
        if answers || stops || (refused && row.undo.is_some()) {
            authors.push(closing.worker);
        }
    }
    authors
}

/// Why an event does not belong in its slot.
fn fault(slot: &str, id: &SagaId, told: &Told) -> Option<String> {
    let (event_type, source) = (told.event_type.as_str(), told.source.as_str());
    if is_a_wish(slot) {
        return None;
    }
    if [FLOW.opens.slot, FLOW.turns.slot].contains(&slot) {
        // Any client may write these; they decide nothing by themselves.
        let known = [FLOW.opens.event, FLOW.turns.event].contains(&event_type);
        return (!known).then(|| format!("a {event_type:?}"));
    }
    if !authors(slot, event_type).contains(&source) {
        return Some(format!("a {event_type:?} by {source:?}"));
    }
    let derived = event_id(FLOW.saga, id, slot, event_type, source).to_string();
    (told.id != derived).then(|| format!("its id is {}, not {derived}", told.id))
}

/// Whether only that something is there counts: its bytes are a client's, and may be junk.
fn is_a_wish(slot: &str) -> bool {
    FLOW.cancels().is_some_and(|cancels| cancels.asked.slot == slot)
}

/// Every event except the first names an earlier one of its order.
pub(super) fn causes(story: &Story<'_>, found: &mut Findings) {
    let by_sequence: HashMap<u64, (&str, &Told)> =
        story.told.iter().map(|(slot, told)| (told.sequence, (slot.as_str(), told))).collect();
    for (slot, told) in &story.told {
        if is_a_wish(slot) || *slot == FLOW.opens.slot {
            continue;
        }
        let resolves = told.cause.as_ref().is_some_and(|(id, sequence)| {
            *sequence < told.sequence
                && by_sequence
                    .get(sequence)
                    .is_some_and(|(slot, cause)| is_a_wish(slot) || cause.id == *id)
        });
        found.demand(resolves, Rule::Cause, story, format!("{slot} has no cause in the log"));
    }
}
