//! What anybody may send as an order: the worker sets it aside with a reason and a place, and no
//! other order waits.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use quadrille::topology::{Profile, Topology};
use schemas::order_fulfilment::FLOW;
use serde_json::{Value, json};
use tests::eventually::eventually;
use tests::stack::{ACK_WAIT, Fate, Launch, SPARSE_SKU, Stack, order};

use crate::by_hand::{holds, saga};

/// A bad order: its name, its bytes, and the reason and place with which it is set aside.
type Case = (&'static str, String, &'static str, &'static str);

/// A sound order, changed.
fn changed(change: impl FnOnce(&mut Value)) -> String {
    let mut body = serde_json::to_value(order(Fate::Completes, 0)).unwrap();
    change(&mut body);
    body.to_string()
}

fn cases() -> Vec<Case> {
    let line = |at: usize, field: &'static str, value: Value| {
        changed(|body| {
            let second = body["lines"][0].clone();
            body["lines"].as_array_mut().unwrap().push(second);
            body["lines"][at][field] = value;
        })
    };
    let price = |amount: Value, currency: &str| json!({ "amount": amount, "currency": currency });
    let many = |lines: usize| {
        changed(|body| body["lines"] = Value::Array(vec![body["lines"][0].clone(); lines]))
    };
    vec![
        ("empty", String::new(), "not-json", ""),
        ("not-json", "no order at all".into(), "not-json", ""),
        ("cut-off", changed(|_| ()).split_at(60).0.to_owned(), "not-json", ""),
        ("two-documents", format!("{}{{}}", changed(|_| ())), "not-json", ""),
        ("deep-list", format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)), "invalid-field", ""),
        (
            "deep",
            format!("{{\"lines\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000)),
            "not-json",
            "",
        ),
        ("junk", "x".repeat(60 * 1024), "too-large", ""),
        ("a-list", "[1, 2]".into(), "invalid-field", ""),
        ("no-lines", changed(|body| body["lines"] = json!([])), "invalid-field", "/lines"),
        ("wrong-type", line(1, "quantity", json!("3")), "invalid-field", "/lines/1/quantity"),
        ("negative", line(0, "quantity", json!(-3)), "invalid-field", "/lines/0/quantity"),
        ("zero", line(1, "quantity", json!(0)), "invalid-field", "/lines/1/quantity"),
        (
            "fraction",
            line(0, "unit_price", price(json!(1.5), "EUR")),
            "invalid-field",
            "/lines/0/unit_price/amount",
        ),
        (
            "unknown-currency",
            line(0, "unit_price", price(json!(1), "EURO")),
            "invalid-field",
            "/lines/0/unit_price/currency",
        ),
        (
            "mixed",
            line(1, "unit_price", price(json!(320), "USD")),
            "mixed-currencies",
            "/lines/1/unit_price/currency",
        ),
        (
            "overflow",
            line(0, "unit_price", price(json!(i64::MAX), "EUR")),
            "total-overflows",
            "/lines",
        ),
        ("too-many", many(201), "too-many-lines", "/lines"),
        (
            "another-id",
            changed(|body| body["order_id"] = json!("somebody-else")),
            "id-mismatch",
            "/order_id",
        ),
    ]
}

#[tokio::test]
async fn a_bad_order_is_set_aside_with_its_reason_and_place_and_no_other_waits() {
    let stack = Stack::running(1).await;
    let cases = cases();
    let mut good = Vec::new();
    for (at, (name, body, ..)) in cases.iter().enumerate() {
        stack.raw.publish(&format!("orders.placed.{name}"), &[], body).await.unwrap();
        good.extend(stack.place_all(&format!("good-{at}"), &[Fate::Completes]).await);
    }
    stack.closed(&good).await;
    stack.quiet().await;
    let parked = stack.history().await.parked;
    for (name, body, reason, pointer) in &cases {
        let subject = format!("parked.orders.reserve-inventory.{name}");
        let entries: Vec<_> = parked.iter().filter(|entry| entry.subject == subject).collect();
        assert_eq!(entries.len(), 1, "{name} is parked {} times", entries.len());
        let entry: Value = serde_json::from_slice(&entries[0].payload).unwrap();
        assert_eq!(
            (&entry["reason"], &entry["pointer"]),
            (&json!(reason), &json!(pointer)),
            "{name}"
        );
        let bytes = STANDARD.decode(entry["payload_base64"].as_str().unwrap()).unwrap();
        assert!(bytes == body.as_bytes(), "{name} is not parked as it was sent");
    }
    assert_eq!(parked.len(), cases.len());
    // The process that received all of them is still the first one, and well.
    let mut stack = stack;
    stack.ready().await;
    stack.check().await;
}

#[tokio::test]
async fn a_subject_that_names_no_saga_is_set_aside_and_no_order_waits() {
    let stack = Stack::running(1).await;
    // The stream takes any token in the place of an id.
    let subject = "orders.placed.näh";
    stack.raw.publish(subject, &[], &changed(|_| ())).await.unwrap();
    let good = stack.place_all("good", &[Fate::Completes]).await;
    stack.closed(&good).await;
    stack.quiet().await;
    let parked = stack.history().await.parked;
    assert_eq!(parked.len(), 1);
    assert_eq!(parked[0].subject, "parked.orders.reserve-inventory.-");
    let parked: Value = serde_json::from_slice(&parked[0].payload).unwrap();
    assert_eq!((&parked["subject"], &parked["reason"]), (&json!(subject), &json!("invalid-id")));
}

#[tokio::test]
async fn no_event_repeats_the_names_and_addresses_that_an_order_may_have() {
    let stack = Stack::running(1).await;
    let body = changed(|body| {
        for field in ["name", "email", "note"] {
            body[field] = json!("Jane Canary");
        }
        body["ship_to"]["street"] = json!("Canary Row 1");
        body["lines"][0]["engraving"] = json!("Canary");
    });
    stack.raw.publish("orders.placed.jane", &[], &body).await.unwrap();
    stack.closed(&[saga("jane")]).await;
    let history = stack.history().await;
    let stored: Vec<_> = history.log.iter().chain(&history.stock).collect();
    let telling: Vec<_> = stored
        .iter()
        .filter(|one| String::from_utf8_lossy(&one.payload).contains("Canary"))
        .map(|one| one.subject.as_str())
        .collect();
    assert!(stored.len() > 6);
    assert_eq!(telling, ["orders.placed.jane"]);
}

#[tokio::test]
async fn h18_a_full_parked_stream_holds_up_no_good_order_and_loses_no_bad_one() {
    let topology = Topology { ack_wait: ACK_WAIT, ..Topology::new(&FLOW, Profile::Dev) };
    let mut stack = Stack::bare_with(Topology { parked_max_bytes: 4_096, ..topology }).await;
    for row in FLOW.steps {
        stack.start(Launch::of(row.worker)).await;
    }
    stack.fill_stock().await;
    // More than a worker has places.
    let bad: Vec<_> = (0..80).map(|at| format!("bad-{at}")).collect();
    for id in &bad {
        stack.raw.publish(&format!("orders.placed.{id}"), &[], "no order").await.unwrap();
    }
    let good = stack.place_all("good", &[Fate::Completes; 10]).await;
    stack.closed(&good).await;
    assert!(stack.raw.messages("ORDERS_PARKED").await < 20, "the stream is full");
    let room = json!({ "max_bytes": 1 << 20 });
    stack.raw.change_stream("ORDERS_PARKED", room).await.unwrap();
    stack.quiet().await;
    let parked = stack.history().await.parked;
    let parked: BTreeSet<_> = parked.iter().map(|entry| entry.subject.as_str()).collect();
    for id in &bad {
        assert!(parked.contains(&*format!("parked.orders.reserve-inventory.{id}")), "{id}");
    }
    stack.check().await;
}

#[tokio::test]
async fn an_order_over_64_kb_is_refused_by_the_broker() {
    let stack = Stack::bare().await;
    let huge = "x".repeat(64 * 1024 + 1);
    let (code, words) = stack.raw.publish("orders.placed.huge", &[], &huge).await.unwrap_err();
    assert_eq!((code, words.as_str()), (10054, "message size exceeds maximum allowed"));
    assert_eq!(stack.raw.messages("ORDERS").await, 0);
}

#[tokio::test]
async fn a_second_order_does_not_mend_a_bad_first_one() {
    let stack = Stack::running(1).await;
    stack.raw.publish("orders.placed.A1", &[], "bad").await.unwrap();
    let sound = serde_json::to_string(&order(Fate::Completes, 0)).unwrap();
    let (code, _) = stack.raw.publish("orders.placed.A1", &[], &sound).await.unwrap_err();
    assert_eq!(code, 10077);
    eventually("the first is set aside", async || {
        (stack.raw.messages("ORDERS_PARKED").await > 0).then_some(())
    })
    .await;
    stack.quiet().await;
    stack.check().await;
    assert_eq!(stack.raw.messages("ORDERS").await, 1);
}

#[tokio::test]
async fn an_unknown_sku_and_too_little_stock_are_refusals() {
    let stack = Stack::running(1).await;
    let mut unknown = order(Fate::Completes, 0);
    unknown.lines[0].sku = "NO-SUCH-ROSE".parse().unwrap();
    let cases = [("unknown-sku", unknown), ("out-of-stock", order(Fate::OutOfStock, 0))];
    assert_eq!(cases[1].1.lines[0].sku.as_str(), SPARSE_SKU);
    for (name, order) in &cases {
        stack.place(&saga(name), order).await.unwrap();
    }
    let ids = cases.each_ref().map(|(name, _)| saga(name));
    stack.closed(&ids).await;
    for (id, (reason, _)) in ids.iter().zip(&cases) {
        assert_eq!(holds(&stack, id, "closed").await.as_deref(), Some("order.cancelled.v1"));
        let story = stack.story(id).await;
        assert!(story.contains(&format!("\"reason\":\"{reason}\"")), "{story}");
    }
    stack.quiet().await;
    stack.check().await;
    assert_eq!(stack.raw.messages("ORDERS_PARKED").await, 0);
}
