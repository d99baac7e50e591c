//! A sound history, and the ways to hurt it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use quadrille::ids::Direction::{self, Run, Undo};
use quadrille::ids::event_id;
use quadrille::{IdempotencyKey, KeyNamespace, SagaId};
use schemas::order_fulfilment::events::SAMPLE;
use schemas::stock::{SHELF, receipt_subject};
use serde_json::{Value, json};

use super::super::*;

/// A history, as it is read.
#[derive(Clone, Default)]
pub(super) struct History {
    pub(super) log: Vec<Stored>,
    pub(super) parked: Vec<Stored>,
    pub(super) stock: Vec<Stored>,
    pub(super) ledger: Vec<Value>,
}

pub(super) fn time(sequence: usize) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(i64::try_from(sequence).unwrap())
}

pub(super) fn stored(subject: String, sequence: usize, payload: &Value) -> Stored {
    let (stored_at, payload) = (time(sequence), payload.to_string().into_bytes().into());
    Stored { subject, sequence: sequence as u64, stored_at, headers: Vec::new(), payload }
}

pub(super) fn event_of(order: &str, slot: &str, event_type: &str, source: &str) -> String {
    let saga = SagaId::parse(order).unwrap();
    event_id(FLOW.saga, &saga, slot, event_type, source).to_string()
}

/// What the sample costs, and its pieces.
pub(super) fn sample() -> (i64, Vec<Value>) {
    use quadrille::Event;
    use schemas::order_fulfilment::events::OrderPlaced;
    let placed = OrderPlaced::from_data(FLOW.opens.event, SAMPLE).unwrap();
    let mut pieces: BTreeMap<&str, u64> = BTreeMap::new();
    for line in &placed.lines {
        *pieces.entry(line.sku.as_str()).or_default() += u64::from(line.quantity);
    }
    let piece = |(sku, quantity): (&&str, &u64)| json!({ "sku": sku, "quantity": quantity });
    (placed.total().unwrap().amount, pieces.iter().map(piece).collect())
}

impl History {
    pub(super) fn place(&mut self, order: &str) {
        let mut data: Value = serde_json::from_str(SAMPLE).unwrap();
        data.as_object_mut().unwrap().remove("order_id");
        let sequence = self.log.len() + 1;
        self.log.push(stored(format!("orders.placed.{order}"), sequence, &data));
    }

    /// An event because of what is in the slot `cause`.
    pub(super) fn tell(
        &mut self,
        order: &str,
        slot: &str,
        of: (&str, &str),
        cause: &str,
        data: Value,
    ) {
        let subject = format!("orders.{cause}.{order}");
        let earlier = self.log.iter().find(|message| message.subject == subject).unwrap();
        let told: Value = serde_json::from_slice(&earlier.payload).unwrap();
        let placed = event_of(order, "placed", "order.placed.v1", "client");
        let id = told["id"].as_str().map_or(placed, str::to_owned);
        let (event_type, source) = of;
        let event = json!({
            "specversion": "1.0", "id": event_of(order, slot, event_type, source),
            "type": event_type, "source": source, "subject": order, "causationid": id,
            "causationseq": earlier.sequence, "data": data,
        });
        let sequence = self.log.len() + 1;
        self.log.push(stored(format!("orders.{slot}.{order}"), sequence, &event));
    }

    pub(super) fn effect(&mut self, order: &str, name: &str, of: (&str, Direction, &str)) {
        let (worker, direction, request) = of;
        let saga = SagaId::parse(order).unwrap();
        let key = IdempotencyKey::derive(
            KeyNamespace::FIRST,
            FLOW.saga,
            &saga,
            worker,
            direction,
            request,
        );
        let money = worker == "charge-customer";
        let mut line = json!({
            "at": time(self.log.len()).to_string(), "effect": name, "order": order,
            "key": key.to_string(),
        });
        if money {
            line["amount"] = json!(sample().0);
            line["currency"] = json!("eur");
            line["intent"] = json!(format!("pi_{order}"));
        } else if name == "label-bought" {
            line["label"] = json!(format!("lbl_{order}"));
        }
        self.ledger.push(line);
    }

    pub(super) fn hold(&mut self, order: &str, released: bool) {
        let hold = json!({ "pieces": sample().1, "released": released });
        self.stock.push(stored(format!("stock.hold.{order}"), self.stock.len() + 1, &hold));
    }

    /// The order's hold says that it is shipped; whether its pieces are no longer stocked, too.
    pub(super) fn ship(&mut self, order: &str, off_the_shelf: bool) {
        for message in &mut self.stock {
            let mut record: Value = serde_json::from_slice(&message.payload).unwrap();
            if message.subject == format!("stock.hold.{order}") {
                record["shipped"] = json!(true);
            } else if off_the_shelf && message.subject.starts_with("stock.sku.") {
                record["stocked"] = record["free"].clone();
            }
            message.payload = record.to_string().into_bytes().into();
        }
        for (subject, record) in [
            (SHELF.to_owned(), json!({ "sequence": 15 })),
            (receipt_subject("delivery 1"), json!({ "ROSE-RED": 5 })),
        ] {
            self.stock.push(stored(subject, self.stock.len() + 1, &record));
        }
    }

    pub(super) fn reserve(&mut self, order: &str) {
        let of = ("inventory.reserved.v1", "reserve-inventory");
        self.tell(order, "inventory", of, "placed", json!({}));
    }

    pub(super) fn charge(&mut self, order: &str) {
        self.effect(order, "intent-created", ("charge-customer", Run, "create"));
        self.effect(order, "captured", ("charge-customer", Run, "confirm"));
        let data = json!({ "payment": format!("pi_{order}") });
        self.tell(order, "payment", ("payment.charged.v1", "charge-customer"), "inventory", data);
        self.tell(order, "pivot", ("order.go.v1", "ship-order"), "payment", json!({}));
    }

    pub(super) fn release(&mut self, order: &str, cause: &str) {
        let of = ("inventory.released.v1", "reserve-inventory");
        self.tell(order, "inventory-undo", of, cause, json!({}));
    }

    pub(super) fn close(&mut self, order: &str, event_type: &str, cause: &str) {
        self.tell(order, "closed", (event_type, "complete-order"), cause, json!({}));
    }

    /// `done` is completed; `far` is refused by the carrier, and taken back.
    pub(super) fn sound() -> Self {
        let mut it = Self::default();
        it.place("done");
        it.reserve("done");
        it.charge("done");
        it.effect("done", "label-bought", ("ship-order", Run, "label"));
        let data = json!({ "label": "lbl_done" });
        it.tell("done", "shipment", ("shipment.dispatched.v1", "ship-order"), "payment", data);
        it.close("done", "order.completed.v1", "shipment");
        it.hold("done", false);

        it.place("far");
        it.reserve("far");
        it.charge("far");
        it.effect("far", "destination-refused", ("ship-order", Run, "label"));
        let refused = ("shipment.refused.v1", "ship-order");
        it.tell("far", "shipment", refused, "payment", json!({ "reason": "no" }));
        it.tell("far", "refused", ("order.refused.v1", "ship-order"), "payment", json!({}));
        it.effect("far", "refunded", ("charge-customer", Undo, "refund pi_far"));
        let data = json!({ "payment": "pi_far" });
        let of = ("payment.refunded.v1", "charge-customer");
        it.tell("far", "payment-undo", of, "refused", data);
        it.release("far", "payment-undo");
        it.close("far", "order.cancelled.v1", "inventory-undo");
        it.hold("far", true);
        for piece in sample().1 {
            let held = piece["quantity"].as_u64().unwrap();
            let level = json!({ "sku": piece["sku"], "stocked": 1_000, "free": 1_000 - held });
            it.stock.push(stored("stock.sku.X".to_owned(), it.stock.len() + 1, &level));
        }
        it
    }

    /// An order that is cancelled because of its payment, which the ledger does not know.
    pub(super) fn refuse_payment(&mut self, order: &str, reason: &str) {
        self.place(order);
        self.reserve(order);
        let refused = ("payment.refused.v1", "charge-customer");
        self.tell(order, "payment", refused, "inventory", json!({ "reason": reason }));
        let signal = ("order.refused.v1", "charge-customer");
        self.tell(order, "refused", signal, "inventory", json!({}));
        let voided = ("payment.voided.v1", "charge-customer");
        self.tell(order, "payment-undo", voided, "refused", json!({}));
        self.release(order, "payment-undo");
        self.close(order, "order.cancelled.v1", "inventory-undo");
        self.hold(order, true);
    }

    pub(super) fn message(&mut self, subject: &str) -> &mut Stored {
        self.log.iter_mut().find(|message| message.subject == subject).unwrap()
    }

    /// Changes a field of an event.
    pub(super) fn change(&mut self, subject: &str, field: &str, value: Value) {
        let message = self.message(subject);
        let mut event: Value = serde_json::from_slice(&message.payload).unwrap();
        event[field] = value;
        message.payload = event.to_string().into_bytes().into();
    }

    /// Takes a message out; what follows moves up, so that no hole stays.
    pub(super) fn lose(&mut self, subject: &str) {
        self.log.retain(|message| message.subject != subject);
        let sequences: BTreeMap<u64, u64> =
            self.log.iter().zip(1..).map(|(message, new)| (message.sequence, new)).collect();
        for message in &mut self.log {
            let mut event: Value = serde_json::from_slice(&message.payload).unwrap();
            let cause = event["causationseq"].as_u64().and_then(|old| sequences.get(&old));
            if let Some(cause) = cause {
                event["causationseq"] = json!(cause);
                message.payload = event.to_string().into_bytes().into();
            }
            message.sequence = sequences[&message.sequence];
        }
    }

    pub(super) fn line(&mut self, order: &str, effect: &str) -> &mut Value {
        let mut lines = self.ledger.iter_mut();
        lines.find(|line| line["order"] == order && line["effect"] == effect).unwrap()
    }

    pub(super) fn audit(&self, parts: u64) -> Verdict {
        let mut found = Verdict::default();
        for number in 0..parts {
            let mut part = Part::new(number, parts, true, Some(KeyNamespace::FIRST));
            for line in &self.ledger {
                part.effect(serde_json::from_value(line.clone()).unwrap(), &mut found);
            }
            self.log.iter().for_each(|message| part.message(message, true, &mut found));
            self.parked.iter().for_each(|message| part.parked(message, &mut found));
            self.stock.iter().for_each(|message| part.stock(message, &mut found));
            part.judge(true, true, &mut found);
        }
        found
    }
}
