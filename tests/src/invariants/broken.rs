//! Histories broken on purpose: the checker must flag each, and for the right reason.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use quadrille::ids::Direction::{Run, Undo};
use quadrille::ids::event_id;
use quadrille::{IdempotencyKey, KeyNamespace, SagaId};
use schemas::order_fulfilment::FLOW;
use serde_json::{Value, json};

use super::ledger::Request;
use super::{Effect, History, Rule, check};
use crate::stack::{Fate, Logged, order};

/// Writes a history as Quadrille would, except for the slots that are left out.
struct Writer {
    history: History,
    left_out: (&'static str, &'static str),
    /// Subject to id and sequence.
    causes: BTreeMap<String, (String, u64)>,
}

fn time(sequence: usize) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(i64::try_from(sequence).expect("few"))
}

fn logged(subject: String, sequence: usize, payload: &Value) -> Logged {
    let (at, sequence) = (time(sequence), sequence as u64);
    Logged { subject, sequence, at, payload: payload.to_string().into_bytes() }
}

impl Writer {
    fn place(&mut self, order_id: &str, fate: Fate) {
        let subject = format!("orders.placed.{order_id}");
        let data = serde_json::to_value(order(fate, 0)).unwrap();
        let sequence = self.history.log.len() + 1;
        let id = id(order_id, "placed", "order.placed.v1", "client");
        self.causes.insert(subject.clone(), (id, sequence as u64));
        self.history.log.push(logged(subject, sequence, &data));
    }

    fn event(&mut self, order: &str, slot: &str, of: (&str, &str), cause: &str, data: Value) {
        if self.left_out == (order, slot) {
            return;
        }
        let (event_type, source) = of;
        let subject = format!("orders.{slot}.{order}");
        let id = id(order, slot, event_type, source);
        let nothing = (String::new(), 0);
        let (causationid, causationseq) =
            self.causes.get(&format!("orders.{cause}.{order}")).unwrap_or(&nothing);
        let event = json!({
            "specversion": "1.0", "id": id, "type": event_type, "source": source,
            "subject": order, "causationid": causationid, "causationseq": causationseq,
            "data": data,
        });
        let sequence = self.history.log.len() + 1;
        self.causes.insert(subject.clone(), (id, sequence as u64));
        self.history.log.push(logged(subject, sequence, &event));
    }

    fn effect(&mut self, order: &str, effect: &str, of: &Request) {
        let Request { worker, direction, name } = of;
        let id = SagaId::parse(order).unwrap();
        let key =
            IdempotencyKey::derive(self.history.keys, FLOW.saga, &id, worker, *direction, name);
        let money = *worker == "charge-customer";
        self.history.ledger.push(Effect {
            at: time(self.history.log.len()),
            effect: effect.to_owned(),
            order: Some(order.to_owned()),
            key: key.to_string(),
            amount: money.then_some(960),
            currency: money.then(|| "eur".to_owned()),
            intent: money.then(|| format!("pi_{order}")),
            label: (effect == "label-bought").then(|| format!("lbl_{order}")),
        });
    }

    fn hold(&mut self, order: &str, pieces: u64, released: bool) {
        let pieces = match pieces {
            0 => json!([]),
            pieces => json!([{ "sku": "ROSE-RED", "quantity": pieces }]),
        };
        let hold = json!({ "pieces": pieces, "released": released });
        self.stock(format!("stock.hold.{order}"), &hold);
    }

    fn stock(&mut self, subject: String, payload: &Value) {
        self.history.stock.push(logged(subject, self.history.stock.len() + 1, payload));
    }

    fn reserve(&mut self, order: &str) {
        let of = ("inventory.reserved.v1", "reserve-inventory");
        self.event(order, "inventory", of, "placed", json!({}));
    }

    fn charge(&mut self, order: &str) {
        self.effect(order, "intent-created", &Request::of("charge-customer", Run, "create"));
        self.effect(order, "captured", &Request::of("charge-customer", Run, "confirm"));
        let data = json!({ "payment": format!("pi_{order}") });
        self.event(order, "payment", ("payment.charged.v1", "charge-customer"), "inventory", data);
        self.event(order, "pivot", ("order.go.v1", "ship-order"), "payment", json!({}));
    }

    fn turn(&mut self, order: &str, slot: &str, worker: &str, cause: &str) {
        let refused = format!("{slot}.refused.v1");
        self.event(order, slot, (&refused, worker), cause, json!({ "reason": "no" }));
        self.event(order, "refused", ("order.refused.v1", worker), cause, json!({}));
    }

    fn refund(&mut self, order: &str, cause: &str) {
        let request = format!("refund pi_{order}");
        self.effect(order, "refunded", &Request::of("charge-customer", Undo, request));
        let data = json!({ "payment": format!("pi_{order}") });
        let of = ("payment.refunded.v1", "charge-customer");
        self.event(order, "payment-undo", of, cause, data);
    }

    fn release(&mut self, order: &str, cause: &str) {
        let of = ("inventory.released.v1", "reserve-inventory");
        self.event(order, "inventory-undo", of, cause, json!({}));
    }

    fn close(&mut self, order: &str, event_type: &str, cause: &str) {
        self.event(order, "closed", (event_type, "complete-order"), cause, json!({}));
    }
}

fn id(order: &str, slot: &str, event_type: &str, source: &str) -> String {
    let order = SagaId::parse(order).unwrap();
    event_id(FLOW.saga, &order, slot, event_type, source).to_string()
}

/// One order of each fate: `done`, `short`, `poor` and `far`; without one slot of one order.
fn nothing() -> History {
    let keys = KeyNamespace::FIRST;
    History { keys, log: vec![], parked: vec![], stock: vec![], ledger: vec![] }
}

fn history_without(order: &'static str, slot: &'static str) -> History {
    let mut writer =
        Writer { history: nothing(), left_out: (order, slot), causes: BTreeMap::new() };
    let it = &mut writer;
    it.place("done", Fate::Completes);
    it.reserve("done");
    it.charge("done");
    it.effect("done", "label-bought", &Request::of("ship-order", Run, "label"));
    let data = json!({ "label": "lbl_done" });
    it.event("done", "shipment", ("shipment.dispatched.v1", "ship-order"), "payment", data);
    it.close("done", "order.completed.v1", "shipment");

    it.place("short", Fate::OutOfStock);
    it.turn("short", "inventory", "reserve-inventory", "placed");
    it.release("short", "refused");
    it.close("short", "order.cancelled.v1", "inventory-undo");

    it.place("poor", Fate::Declined);
    it.reserve("poor");
    it.effect("poor", "intent-created", &Request::of("charge-customer", Run, "create"));
    it.effect("poor", "declined", &Request::of("charge-customer", Run, "confirm"));
    it.turn("poor", "payment", "charge-customer", "inventory");
    it.effect("poor", "canceled", &Request::of("charge-customer", Undo, "cancel pi_poor"));
    let of = ("payment.voided.v1", "charge-customer");
    it.event("poor", "payment-undo", of, "refused", json!({}));
    it.release("poor", "payment-undo");
    it.close("poor", "order.cancelled.v1", "inventory-undo");

    it.place("far", Fate::NoCarrier);
    it.reserve("far");
    it.charge("far");
    it.effect("far", "destination-refused", &Request::of("ship-order", Run, "label"));
    it.turn("far", "shipment", "ship-order", "payment");
    it.refund("far", "refused");
    it.release("far", "payment-undo");
    it.close("far", "order.cancelled.v1", "inventory-undo");

    it.hold("done", 3, false);
    it.hold("short", 0, true);
    it.hold("poor", 3, true);
    it.hold("far", 3, true);
    let level = json!({ "sku": "ROSE-RED", "stocked": 100, "free": 97 });
    it.stock("stock.sku.ROSE-RED".to_owned(), &level);
    writer.history
}

fn sound() -> History {
    history_without("", "")
}

/// Changes a field of the event in a slot.
fn change(history: &mut History, subject: &str, field: &str, value: Value) {
    let message = history.log.iter_mut().find(|message| message.subject == subject).unwrap();
    let mut event: Value = serde_json::from_slice(&message.payload).unwrap();
    event[field] = value;
    message.payload = event.to_string().into_bytes();
}

fn effect<'h>(history: &'h mut History, order: &str, name: &str) -> &'h mut Effect {
    let mut effects = history.ledger.iter_mut();
    effects.find(|it| it.order.as_deref() == Some(order) && it.effect == name).unwrap()
}

fn restock(history: &mut History, subject: &str, payload: &Value) {
    let message = history.stock.iter_mut().find(|message| message.subject == subject).unwrap();
    message.payload = payload.to_string().into_bytes();
}

/// Writes one more event into a sound history.
fn more(write: impl FnOnce(&mut Writer)) -> History {
    let history = sound();
    let read = |message: &Logged| {
        let value: Value = serde_json::from_slice(&message.payload).unwrap();
        let id = value["id"].as_str().unwrap_or_default().to_owned();
        (message.subject.clone(), (id, message.sequence))
    };
    let causes = history.log.iter().map(read).collect();
    let mut writer = Writer { history, left_out: ("", ""), causes };
    write(&mut writer);
    writer.history
}

#[track_caller]
fn flagged(history: &History, expected: &[Rule]) {
    let violations = check(history);
    let mut rules: Vec<_> = violations.iter().map(|violation| violation.rule).collect();
    rules.sort();
    rules.dedup();
    assert_eq!(rules, expected, "{violations:#?}");
}

#[track_caller]
fn broken(expected: &[Rule], hurt: impl FnOnce(&mut History)) {
    let mut history = sound();
    hurt(&mut history);
    flagged(&history, expected);
}

#[test]
fn a_sound_history_is_not_flagged() {
    flagged(&sound(), &[]);
}

#[test]
fn what_the_log_may_not_hold_is_flagged() {
    let again = |it: &mut Writer| it.close("done", "order.completed.v1", "shipment");
    flagged(&more(again), &[Rule::OnePerSlot]);
    broken(&[Rule::OnePerSlot], |it| it.log.last_mut().unwrap().sequence += 1);
    broken(&[Rule::Contract], |it| change(it, "orders.closed.done", "id", json!("another")));
    broken(&[Rule::Contract], |it| {
        it.log.push(logged("orders.a.b.c".into(), it.log.len() + 1, &json!({})));
    });
    broken(&[Rule::Cause], |it| change(it, "orders.closed.done", "causationseq", json!(99)));
    broken(&[Rule::Cause], |it| change(it, "orders.closed.done", "causationid", json!("other")));
    broken(&[Rule::Cause], |it| change(it, "orders.closed.far", "causationseq", Value::Null));
}

#[test]
fn an_event_of_somebody_who_may_not_write_it_is_flagged() {
    let of = ("shipment.refused.v1", "complete-order");
    let forged = |it: &mut Writer| {
        it.place("forged", Fate::Completes);
        it.event("forged", "shipment", of, "placed", json!({}));
    };
    flagged(&more(forged), &[Rule::Contract, Rule::Ending]);
}

#[test]
fn an_order_that_does_not_end_is_flagged_unless_it_is_parked() {
    let mut history = history_without("far", "closed");
    flagged(&history, &[Rule::Ending]);
    let parked = json!({ "reason": "not-json" });
    history.parked.push(logged("parked.orders.complete-order.far".into(), 1, &parked));
    flagged(&history, &[]);
}

#[test]
fn a_completed_order_that_skipped_a_step_or_undid_one_is_flagged() {
    flagged(&history_without("done", "pivot"), &[Rule::Completed, Rule::Parcel]);
    let undone = |it: &mut Writer| it.release("done", "shipment");
    flagged(&more(undone), &[Rule::Completed]);
}

#[test]
fn a_cancelled_order_that_did_not_turn_in_order_is_flagged() {
    flagged(&history_without("short", "inventory-undo"), &[Rule::Cause, Rule::Cancelled]);
    flagged(&history_without("far", "payment-undo"), &[Rule::Cause, Rule::Cancelled]);
    flagged(&history_without("short", "inventory"), &[Rule::Cancelled]);
    flagged(&history_without("far", "refused"), &[Rule::Cause, Rule::Cancelled]);
    let early = |it: &mut Writer| {
        it.place("early", Fate::NoCarrier);
        it.reserve("early");
        it.charge("early");
        it.effect("early", "destination-refused", &Request::of("ship-order", Run, "label"));
        it.turn("early", "shipment", "ship-order", "payment");
        it.release("early", "refused");
        it.refund("early", "refused");
        it.close("early", "order.cancelled.v1", "inventory-undo");
        it.hold("early", 3, true);
    };
    flagged(&more(early), &[Rule::Cancelled]);
}

#[test]
fn stock_that_does_not_add_up_is_flagged() {
    let level = json!({ "sku": "ROSE-RED", "stocked": 100, "free": 98 });
    broken(&[Rule::Stock], |it| restock(it, "stock.sku.ROSE-RED", &level));
    broken(&[Rule::Stock], |it| {
        let pieces = json!([{ "sku": "ROSE-RED", "quantity": 3 }]);
        restock(it, "stock.hold.poor", &json!({ "pieces": pieces, "released": false }));
        let level = json!({ "sku": "ROSE-RED", "stocked": 100, "free": 94 });
        restock(it, "stock.sku.ROSE-RED", &level);
    });
    broken(&[Rule::Stock], |it| {
        it.stock.retain(|message| message.subject != "stock.hold.done");
        let level = json!({ "sku": "ROSE-RED", "stocked": 100, "free": 100 });
        restock(it, "stock.sku.ROSE-RED", &level);
    });
}

#[test]
fn money_that_does_not_add_up_is_flagged() {
    broken(&[Rule::Money], |it| effect(it, "done", "captured").amount = Some(961));
    broken(&[Rule::Money], |it| effect(it, "far", "refunded").amount = Some(961));
    broken(&[Rule::Money], |it| effect(it, "done", "captured").currency = Some("usd".into()));
    broken(&[Rule::Money, Rule::Recorded], |it| {
        it.ledger.retain(|effect| effect.effect != "refunded");
    });
    broken(&[Rule::Money, Rule::OneEffectPerKey], |it| {
        let again = effect(it, "done", "captured").clone();
        it.ledger.push(again);
    });
    broken(&[Rule::Money], |it| {
        let refused = Effect { effect: "over-refund-refused".into(), ..it.ledger[0].clone() };
        it.ledger.push(refused);
    });
}

#[test]
fn an_effect_without_its_reason_is_flagged() {
    let label = |it: &mut Writer| {
        it.effect("poor", "label-bought", &Request::of("ship-order", Run, "label"));
    };
    flagged(&more(label), &[Rule::Parcel]);
    broken(&[Rule::Parcel], |it| effect(it, "done", "label-bought").at = Timestamp::UNIX_EPOCH);
    broken(&[Rule::OneEffectPerKey], |it| effect(it, "done", "captured").key = "mine".into());
    broken(&[Rule::OneEffectPerKey], |it| {
        let stranger = Effect { order: Some("unknown".into()), ..it.ledger[0].clone() };
        it.ledger.push(stranger);
    });
    broken(&[Rule::Recorded], |it| effect(it, "done", "label-bought").label = Some("x".into()));
}
