//! An order as the raw events tell it: a fold of its own, which shares no code with the one that
//! the workers and the projections use, so that it cannot share their mistakes.

use std::collections::BTreeMap;

use jiff::Timestamp;
use quadrille::broker::Stored;
use quadrille::ids::event_id;
use quadrille::{Event, SagaId};
use schemas::order_fulfilment::FLOW;
use schemas::order_fulfilment::events::OrderPlaced;
use serde_json::Value;

use super::ledger::Effect;
use super::verdict::{Invariant, Verdict};

/// One order; a few hundred bytes.
#[derive(Debug, Default)]
pub(super) struct Order {
    pub(super) told: BTreeMap<&'static str, Told>,
    /// Total in minor units, and its currency; `None` where the order cannot be read.
    pub(super) price: Option<(i64, String)>,
    /// Pieces of each SKU.
    pub(super) pieces: BTreeMap<String, u64>,
    pub(super) effects: Vec<Effect>,
    pub(super) parked: bool,
}

/// One event.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) sequence: u64,
    pub(super) at: Timestamp,
    pub(super) id: String,
    pub(super) event_type: String,
    pub(super) source: String,
    cause: Option<(String, u64)>,
    /// `payment` or `label`: the outside world's name of what was done.
    pub(super) effect: Option<String>,
    /// Of a refusal.
    pub(super) reason: Option<String>,
}

impl Order {
    /// The event in a slot, if it is of this type.
    pub(super) fn event(&self, slot: &str, event_type: &str) -> Option<&Told> {
        self.told.get(slot).filter(|told| told.event_type == event_type)
    }

    /// A wish to cancel, and its refusal, make no order.
    pub(super) fn is_in_the_log(&self) -> bool {
        let cancels = FLOW.cancels();
        let asks = |slot: &str| {
            cancels.is_some_and(|cancels| {
                [cancels.asked, cancels.refused].iter().any(|one| one.slot == slot)
            })
        };
        self.told.keys().any(|slot| !asks(slot))
    }

    pub(super) fn completed(&self) -> bool {
        let closing = FLOW.closing();
        self.event(closing.slot, closing.done).is_some()
    }

    pub(super) fn cancelled(&self) -> bool {
        let closing = FLOW.closing();
        closing.cancelled.is_some_and(|cancelled| self.event(closing.slot, cancelled).is_some())
    }

    pub(super) fn is_closed(&self) -> bool {
        self.completed() || self.cancelled()
    }

    /// Takes one message in.
    pub(super) fn take(&mut self, slot: &str, id: &SagaId, message: &Stored, found: &mut Verdict) {
        let known = FLOW.events().into_iter().find(|(name, _)| *name == slot);
        let Some((name, _)) = known else {
            return found.add(Invariant::Contract, Some(id.as_str()), unread(message));
        };
        let told = read(slot, id, message);
        if slot == FLOW.opens.slot {
            self.open(message);
        }
        if let Some(fault) = fault(slot, id, &told) {
            let what = format!("{slot} (sequence {}) is {fault}", message.sequence);
            found.add(Invariant::Contract, Some(id.as_str()), what);
        }
        if self.told.insert(name, told).is_some() {
            let what = format!("a second message in {slot} (sequence {})", message.sequence);
            found.add(Invariant::Slots, Some(id.as_str()), what);
        }
    }

    fn open(&mut self, message: &Stored) {
        let value = json(&message.payload);
        let data = if value.get("specversion").is_some() { &value["data"] } else { &value };
        let Ok(placed) = OrderPlaced::from_data(FLOW.opens.event, &data.to_string()) else {
            return;
        };
        self.price = placed
            .total()
            .ok()
            .map(|total| (total.amount, total.currency.code().to_ascii_lowercase()));
        for line in &placed.lines {
            *self.pieces.entry(line.sku.as_str().to_owned()).or_default() +=
                u64::from(line.quantity);
        }
    }

    /// Every event but the first names an earlier one of its order.
    pub(super) fn causes(&self, id: &str, found: &mut Verdict) {
        let written = self.told.iter().filter(|(slot, _)| row_of(slot));
        for (slot, told) in written {
            let resolves = told.cause.as_ref().is_some_and(|(cause, sequence)| {
                let mut earlier = self.told.iter().filter(|(_, one)| one.sequence < told.sequence);
                earlier.any(|(slot, one)| {
                    one.sequence == *sequence && (is_a_wish(slot) || one.id == *cause)
                })
            });
            let what = || format!("{slot} (sequence {}) has no cause in the log", told.sequence);
            found.demand(resolves, Invariant::Causes, id, what);
        }
    }
}

/// Of a message whose subject is none of the flow's.
pub(super) fn unread(message: &Stored) -> String {
    let Stored { subject, sequence, .. } = message;
    format!("nothing reads {subject:?} (sequence {sequence}), because the flow has no such slot")
}

fn json(payload: &[u8]) -> Value {
    serde_json::from_slice(payload).unwrap_or_default()
}

fn read(slot: &str, saga: &SagaId, message: &Stored) -> Told {
    let value = json(&message.payload);
    let header = |name: &str| {
        let mut headers = message.headers.iter();
        headers.find(|(key, _)| key == name).map(|(_, value)| value.clone())
    };
    let bare = value.get("specversion").is_none();
    let text = |field: &str| match bare {
        true => header(&format!("ce-{field}")).unwrap_or_default(),
        false => value[field].as_str().unwrap_or_default().to_owned(),
    };
    let (sequence, at) = (message.sequence, message.stored_at);
    if slot == FLOW.opens.slot && bare && header("ce-type").is_none() {
        let (event_type, source) = (FLOW.opens.event.to_owned(), "client".to_owned());
        let id = event_id(FLOW.saga, saga, slot, &event_type, &source).to_string();
        return Told {
            sequence,
            at,
            id,
            event_type,
            source,
            cause: None,
            effect: None,
            reason: None,
        };
    }
    let cause = value["causationseq"].as_u64().map(|sequence| (text("causationid"), sequence));
    let data = &value["data"];
    let effect = data["payment"].as_str().or(data["label"].as_str()).map(str::to_owned);
    let reason = data["reason"].as_str().map(str::to_owned);
    let (id, event_type, source) = (text("id"), text("type"), text("source"));
    Told { sequence, at, id, event_type, source, cause, effect, reason }
}

/// Whether only that something is there counts: its bytes are a client's, and may be junk.
fn is_a_wish(slot: &str) -> bool {
    FLOW.cancels().is_some_and(|cancels| cancels.asked.slot == slot)
}

/// Whether a worker's row decides this slot; any client may write the others.
fn row_of(slot: &str) -> bool {
    FLOW.steps.iter().any(|row| {
        row.slot == slot
            || row.cancels.is_some_and(|cancels| cancels.refused.slot == slot)
            || row.undo.is_some_and(|undo| undo.slot == slot)
            || row.pivot.is_some_and(|pivot| pivot.slot == slot)
    })
}

/// Which workers may write this type into a slot.
fn authors(slot: &str, event_type: &str) -> Vec<&'static str> {
    let closing = FLOW.closing().worker;
    let mut authors = Vec::new();
    for row in FLOW.steps {
        let refuses = row.slot == slot && row.refused == Some(event_type);
        let decides =
            row.slot == slot && (row.done == event_type || row.cancelled == Some(event_type));
        let undoes =
            row.undo.is_some_and(|undo| undo.slot == slot && undo.events.contains(&event_type));
        let pivot = row.pivot.filter(|pivot| pivot.slot == slot);
        let answers = row.cancels.map(|cancels| cancels.refused);
        let answers = answers.is_some_and(|it| it.slot == slot && it.event == event_type);
        if answers
            || refuses
            || decides
            || undoes
            || pivot.is_some_and(|pivot| pivot.go == event_type)
        {
            authors.push(row.worker);
        }
        if pivot.is_some_and(|pivot| pivot.stop == event_type) || refuses && row.undo.is_some() {
            authors.push(closing);
        }
    }
    authors
}

/// Why an event does not belong into its slot.
fn fault(slot: &str, id: &SagaId, told: &Told) -> Option<String> {
    // Anybody may write these, and a mistake in them is the client's.
    if !row_of(slot) {
        return None;
    }
    let (event_type, source) = (told.event_type.as_str(), told.source.as_str());
    if !authors(slot, event_type).contains(&source) {
        return Some(format!("a {event_type:?} by {source:?}"));
    }
    let derived = event_id(FLOW.saga, id, slot, event_type, source).to_string();
    (told.id != derived).then(|| format!("of the id {}, and {derived} follows from it", told.id))
}
