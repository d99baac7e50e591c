//! What is seen of an order that waits, piece by piece.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::super::*;
use crate::breaker::FleetMode;
use crate::breaker::fleet::{Phase, Reason};
use crate::broker::{Incarnation, Pause, Stored};
use crate::worker::held::{Breaker, Held};

pub(super) fn at(seconds: i64) -> Timestamp {
    let noon: Timestamp = "2026-01-02T12:00:00Z".parse().unwrap();
    noon.checked_add(SignedDuration::from_secs(seconds)).unwrap()
}

/// The trigger of a saga that waits has this sequence, and was stored at second 0.
pub(super) const TRIGGER: u64 = 7;

pub(super) fn stored(slot: &str, sequence: u64, payload: serde_json::Value) -> Stored {
    let (subject, payload) = (format!("orders.{slot}.A1"), payload.to_string().into());
    Stored { subject, sequence, stored_at: at(0), headers: vec![], payload }
}

pub(super) fn event(slot: &str, source: &str, event_type: &str, sequence: u64) -> Stored {
    let event = json!({
        "specversion": "1.0", "id": slot, "type": event_type, "source": source, "subject": "A1",
        "causationid": "x", "causationseq": 1, "data": { "reason": "why-not" },
    });
    stored(slot, sequence, event)
}

/// Waits for `charge-customer`.
pub(super) fn reserved() -> Vec<Stored> {
    let placed = stored("placed", 1, json!({ "customer": "cus_1" }));
    let inventory = event("inventory", "reserve-inventory", "inventory.reserved.v1", TRIGGER);
    vec![placed, inventory]
}

/// Waits for the undo of `charge-customer`.
pub(super) fn turned() -> Vec<Stored> {
    let mut events = reserved();
    events[1] = event("inventory", "reserve-inventory", "inventory.reserved.v1", 2);
    events.push(event("payment", "charge-customer", "payment.charged.v1", 3));
    events.push(event("pivot", "ship-order", "order.go.v1", 4));
    events.push(event("shipment", "ship-order", "shipment.refused.v1", 5));
    events.push(event("refused", "ship-order", "order.refused.v1", TRIGGER));
    events
}

/// What is seen of a durable that waits for this very message, while a replica pulls.
pub(super) fn seen(flow: &Flow, story: &Story) -> Seen {
    let durable = DurableState {
        pending: 1,
        in_hand: 0,
        most_in_hand: 1_000,
        redelivered: 0,
        pulls: 1,
        delivered: TRIGGER - 1,
        settled: TRIGGER - 1,
        ack_wait: Duration::from_secs(30),
        pause: Pause::Off,
    };
    let created = Timestamp::UNIX_EPOCH;
    let log = StreamState {
        incarnation: Incarnation { stream: "ORDERS".into(), created },
        server_time: at(60),
        last_sequence: TRIGGER,
        bytes: 1_000,
        max_bytes: Some(1 << 30),
    };
    let service = Service { name: "payment-gateway", key: None, forced: None };
    Seen {
        now: at(60),
        awaited: awaited(flow, story),
        durable: Some(durable),
        log: Some(log),
        replicas: vec![report(Vec::new())],
        services: vec![service],
        slot_taken: Some(false),
        deadline: None,
        unanswered: Vec::new(),
    }
}

pub(super) fn report(held: Vec<Held>) -> Report {
    Report {
        saga: "order".into(),
        worker: "charge-customer".into(),
        instance: "charge-customer-1".into(),
        breakers: Vec::new(),
        held_total: held.len(),
        held,
    }
}

pub(super) fn held(durable: &str, last_error: Option<&str>, charged: u32) -> Held {
    Held {
        durable: durable.into(),
        saga: "A1".into(),
        sequence: TRIGGER,
        attempt: 3,
        charged,
        last_error: last_error.map(str::to_owned),
        since: at(1),
        next_try: Some(at(70)),
    }
}

pub(super) fn breaker(doubting_since: Option<Timestamp>) -> Breaker {
    Breaker {
        dependency: "payment-gateway".into(),
        phase: Phase::Flowing,
        gate_open: true,
        doubting_since,
        cut_off: false,
        limit: 64,
        out: 0,
        held: 1,
        on_its_own: false,
        fleet: FleetMode::On,
        forced: None,
    }
}

pub(super) fn paused(reason: Reason) -> Option<fleet::Entry> {
    Some(fleet::Entry { phase: Phase::Paused, reason, ..fleet::Entry::default() })
}

pub(super) fn parked(reason: &str) -> Stored {
    let entry = json!({
        "parked_at": at(2).to_string(), "durable": "charge-customer", "reason": reason,
        "pointer": "/data/x", "message": "it is what it is", "deliveries": 1,
        "subject": "orders.inventory.A1", "sequence": TRIGGER,
    });
    stored("x", 1, entry)
}
