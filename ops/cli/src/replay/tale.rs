//! What a log tells of an order: its events, what was ordered, and how the outside world answered.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use quadrille::SagaId;
use quadrille::broker::Stored;
use schemas::order_fulfilment::FLOW;
use serde_json::Value;

/// The orders of a log, in the order in which they were placed.
#[derive(Debug, Default)]
pub(super) struct Tales {
    pub(super) tales: Vec<Tale>,
    places: BTreeMap<SagaId, usize>,
    /// When the last event of one of them was stored.
    last_at: Timestamp,
}

/// One order.
#[derive(Debug)]
pub(super) struct Tale {
    pub(super) id: SagaId,
    pub(super) placed: Stored,
    /// By slot, the opening left out.
    pub(super) events: BTreeMap<String, Told>,
}

/// An event, as far as it is compared and shown.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Told {
    pub(super) sequence: u64,
    pub(super) event_type: String,
    pub(super) source: String,
    pub(super) data: Value,
}

impl Told {
    pub(super) fn of(message: &Stored) -> Self {
        let event: Value = serde_json::from_slice(&message.payload).unwrap_or_default();
        let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
        let (event_type, source) = (text("type"), text("source"));
        Self { sequence: message.sequence, event_type, source, data: event["data"].clone() }
    }

    pub(super) fn reason(&self) -> &str {
        self.data["reason"].as_str().unwrap_or_default()
    }
}

impl Tales {
    pub(super) fn add(&mut self, slot: &str, saga: &SagaId, message: Stored) {
        self.last_at = self.last_at.max(message.stored_at);
        if slot == FLOW.opens.slot {
            self.places.insert(saga.clone(), self.tales.len());
            let events = BTreeMap::new();
            self.tales.push(Tale { id: saga.clone(), placed: message, events });
        } else if let Some(place) = self.places.get(saga) {
            let told = Told::of(&message);
            self.tales[*place].events.insert(slot.to_owned(), told);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tales.is_empty()
    }

    /// From the first order's opening to the last event of all.
    pub(super) fn span(&self) -> Duration {
        let first = self.tales.iter().map(Tale::placed_at).min().unwrap_or(self.last_at);
        self.last_at.duration_since(first).try_into().unwrap_or_default()
    }
}

impl Tale {
    pub(super) fn event(&self, slot: &str, event_type: &str) -> Option<&Told> {
        self.events.get(slot).filter(|told| told.event_type == event_type)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.events.contains_key(FLOW.closing().slot)
    }

    /// Whether somebody outside the flow's own steps ended it: a cancellation, or a deadline.
    pub(super) fn was_ended_from_outside(&self) -> bool {
        let closing = FLOW.closing();
        FLOW.steps.iter().any(|row| {
            let stopped =
                row.pivot.is_some_and(|pivot| self.event(pivot.slot, pivot.stop).is_some());
            let refused = row.refused.and_then(|refused| self.event(row.slot, refused));
            stopped || refused.is_some_and(|told| told.source == closing.worker)
        })
    }

    pub(super) fn placed_at(&self) -> Timestamp {
        self.placed.stored_at
    }

    /// The SKU of which there was none, or that nobody knew; and which of the two it was.
    pub(super) fn missing(&self) -> Option<(String, Missing)> {
        let told = self.event("inventory", "inventory.refused.v1")?;
        let sku = told.data["sku"].as_str()?.to_owned();
        match told.reason() {
            "unknown-sku" => Some((sku, Missing::Unknown)),
            _ => Some((sku, Missing::Empty)),
        }
    }
}

/// What was wrong with a SKU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    Unknown,
    Empty,
}
