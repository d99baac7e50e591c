//! Writes stories of orders into the log as workers, clients and strangers would: whole ones, torn
//! ones, in any order, with junk and forgeries among them.

use jiff::Timestamp;
use quadrille::SagaId;
use quadrille::ids::event_id;
use schemas::order_fulfilment::FLOW;
use serde_json::{Value, json};
use tests::raw::Raw;
use tests::stack::{Fate, order};

/// What one write puts into the log.
#[derive(Clone)]
pub(crate) struct Written {
    pub(crate) subject: String,
    pub(crate) payload: String,
}

struct Story<'s> {
    id: &'s str,
    events: Vec<Written>,
}

impl Story<'_> {
    fn put(&mut self, slot: &str, payload: String) {
        self.events.push(Written { subject: format!("orders.{slot}.{}", self.id), payload });
    }

    fn event(&mut self, slot: &str, source: &str, event_type: &str, data: &Value) {
        let saga = SagaId::parse(self.id).unwrap();
        let number = self.events.len();
        let event = json!({
            "specversion": "1.0",
            "id": event_id(FLOW.saga, &saga, slot, event_type, source),
            "type": event_type, "source": source, "subject": self.id,
            "traceparent": format!("00-{:032x}-{:016x}-01", fastrand::u128(1..), 7),
            "causationid": "x", "causationseq": number,
            "attempt": 1 + number % 3,
            "startedat": Timestamp::UNIX_EPOCH.to_string(),
            "data": data,
        });
        self.put(slot, event.to_string());
    }
}

/// The events of one order, in the order in which they would happen.
pub(crate) fn story(id: &str, fate: Fate, turn: usize) -> Vec<Written> {
    let mut story = Story { id, events: Vec::new() };
    let placed = order(fate, turn);
    let mut document = serde_json::to_value(&placed).unwrap();
    document["customer"] = json!(format!("cus_{}", turn % 7));
    if turn.is_multiple_of(9) {
        let second = json!({
            "sku": "VASE-GLASS", "quantity": 1, "unit_price": { "amount": 5, "currency": "EUR" },
        });
        document["lines"].as_array_mut().unwrap().push(second);
    }
    let money = json!({ "amount": 960, "currency": "EUR" });
    let ship_to = json!({ "country": "DE", "postcode": "10115" });
    let reserved = json!({
        "customer": "cus_1", "payment_method": "pm", "ship_to": ship_to, "pieces": 3,
        "total": money,
    });
    let charged = json!({
        "payment": format!("pay_{id}"), "amount": money, "ship_to": ship_to, "pieces": 3,
    });
    story.put("placed", document.to_string());
    let refusal = |step: &str| json!({ "step": step, "reason": "no-luck", "by": step });
    if fate == Fate::OutOfStock {
        let source = "reserve-inventory";
        story.event("inventory", source, "inventory.refused.v1", &json!({ "reason": "no-luck" }));
        story.event("refused", source, "order.refused.v1", &refusal(source));
    } else {
        story.event("inventory", "reserve-inventory", "inventory.reserved.v1", &reserved);
    }
    if fate == Fate::Declined {
        let source = "charge-customer";
        story.event("payment", source, "payment.refused.v1", &json!({ "reason": "no-luck" }));
        story.event("refused", source, "order.refused.v1", &refusal(source));
        story.event("payment-undo", source, "payment.voided.v1", &json!({}));
    }
    if matches!(fate, Fate::Completes | Fate::NoCarrier) {
        let source = "ship-order";
        story.event("payment", "charge-customer", "payment.charged.v1", &charged);
        story.event("pivot", source, "order.go.v1", &json!({}));
        if fate == Fate::Completes {
            let sent = json!({
                "carrier": "post", "label": format!("lbl_{id}"), "tracking": format!("TR{id}"),
            });
            story.event("shipment", source, "shipment.dispatched.v1", &sent);
            story.event("closed", "complete-order", "order.completed.v1", &json!({}));
            return story.events;
        }
        story.event("shipment", source, "shipment.refused.v1", &json!({ "reason": "far" }));
        story.event("refused", source, "order.refused.v1", &refusal(source));
        let refunded = json!({ "payment": format!("pay_{id}"), "amount": money });
        story.event("payment-undo", "charge-customer", "payment.refunded.v1", &refunded);
    }
    story.event("inventory-undo", "reserve-inventory", "inventory.released.v1", &json!({}));
    story.event("closed", "complete-order", "order.cancelled.v1", &json!({}));
    story.events
}

/// What a stranger, or a broken worker, does to a story.
fn torn(mut events: Vec<Written>, id: &str) -> Vec<Written> {
    match fastrand::u32(0..20) {
        0 => fastrand::shuffle(&mut events),
        1 => events.truncate(fastrand::usize(1..events.len())),
        2 => events[0].payload = "{\"customer\": 7}".to_owned(),
        3 => events[0].payload = "\u{1}junk".to_owned(),
        4 => events[1].payload = "[]".to_owned(),
        5 => {
            let subject = format!("orders.refused.{id}");
            let forged = Written { subject, payload: "forged".to_owned() };
            events.insert(1, forged);
        }
        6 => {
            let subject = format!("orders.some-other-slot.{id}");
            events.push(Written { subject, payload: "{}".to_owned() });
        }
        7 => {
            let subject = format!("orders.UPPER.{id}");
            events.push(Written { subject, payload: "{}".to_owned() });
        }
        8 => events[1].payload = events[1].payload.replace("reserve-inventory", "a-stranger"),
        _ => {}
    }
    events
}

/// Writes this many orders, several at a time, and returns the sequence of the last event.
pub(crate) async fn write(raw: &Raw, name: &str, orders: usize) -> u64 {
    // A server that has just started may not take events yet.
    raw.publish(&format!("orders.placed.{name}-begin"), &[], "{}").await.expect("a new order");
    let mut open: Vec<std::vec::IntoIter<Written>> = Vec::new();
    let mut next = 0;
    while next < orders || !open.is_empty() {
        while open.len() < 20 && next < orders {
            let id = format!("{name}-{next}");
            let fate = Fate::ALL[fastrand::usize(..Fate::ALL.len())];
            open.push(torn(story(&id, fate, next), &id).into_iter());
            next += 1;
        }
        let at = fastrand::usize(..open.len());
        match open[at].next() {
            // Without waiting for the answer, as many at a time as the client takes.
            Some(Written { subject, payload }) => {
                raw.client.publish(subject, payload.into()).await.unwrap();
            }
            None => drop(open.swap_remove(at)),
        }
    }
    raw.client.flush().await.unwrap();
    // A mark: the last of all.
    raw.publish(&format!("orders.placed.{name}-end"), &[], "{}").await.expect("a new order")
}
