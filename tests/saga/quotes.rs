//! The quote service, which `ship-order` prefers and does not need: it goes away, comes back, and
//! says no, and every order completes at once.

use quadrille::SagaId;
use quadrille::broker::Broker;
use schemas::order_fulfilment::FLOW;
use serde_json::{Value, json};
use tests::eventually::eventually;
use tests::stack::{Fate, Launch, Stack};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What is recorded of an order's parcel.
async fn dispatched(stack: &Stack, id: &SagaId) -> Value {
    let slot = FLOW.slot("shipment", id);
    let stored = stack.broker.last(FLOW.stream, slot.subject()).await.expect("the server answers");
    let mut event: Value =
        serde_json::from_slice(&stored.expect("it is shipped").payload).expect("JSON");
    event["data"].take()
}

async fn is_degraded(stack: &Stack, id: &SagaId) -> bool {
    dispatched(stack, id).await["degraded"] == true
}

/// The order's only label, as the carrier has it.
async fn label(stack: &Stack, id: &SagaId) -> Value {
    let bought = format!("/ledger?order={id}&effect=label-bought");
    let bought = stack.sandbox.get(&bought).await;
    assert_eq!(bought.as_array().map(Vec::len), Some(1), "{id}: {bought}");
    let key = bought[0]["key"].as_str().expect("a label has a key");
    stack.sandbox.get(&format!("/carrier/labels?key={key}")).await
}

/// What the event says is what the carrier says.
async fn agrees_with_its_label(stack: &Stack, id: &SagaId) {
    let (event, label) = (dispatched(stack, id).await, label(stack, id).await);
    for field in ["label", "tracking", "carrier"] {
        assert_eq!(event[field], label[field], "{id}: {field}");
    }
    assert_eq!(event["degraded"] == true, label["rate"] == "flat", "{id}: {event} {label}");
}

/// `ship-order`'s count of fallbacks for a reason, from its metrics.
async fn fallbacks(stack: &mut Stack, reason: &str) -> u64 {
    let said = stack.worker("ship-order").said();
    let served = said.lines().find(|line| line.contains("/metrics")).expect("it says where");
    let served: Value = serde_json::from_str(served).expect("a line of JSON");
    let address = served["address"].as_str().expect("an address");
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await.expect("sent");
    let mut page = String::new();
    stream.read_to_string(&mut page).await.expect("an answer");
    let labels = format!("{{dependency=\"quote-service\",reason=\"{reason}\"}} ");
    let line = page.lines().find_map(|line| line.strip_prefix("quadrille_fallbacks_total"));
    assert!(line.is_some(), "no such metric: {page}");
    let value = page.lines().find_map(|line| line.split_once(&*labels)).expect("a known reason").1;
    value.parse().expect("a count")
}

async fn completes(stack: &Stack, ids: &[SagaId]) {
    stack.closed(ids).await;
    for id in ids {
        agrees_with_its_label(stack, id).await;
    }
}

/// A stack whose quote service may take its time, because a busy machine must not look like an
/// outage; its first orders are quoted.
async fn quoted() -> Stack {
    let mut stack = Stack::bare().await;
    stack.start_others("ship-order").await;
    stack.start(Launch::of("ship-order").env("QUADRILLE_SHIP_ORDER__QUOTE_TIMEOUT", "5s")).await;
    stack.fill_stock().await;
    let ids = stack.place_all("quoted", &[Fate::Completes; 3]).await;
    completes(&stack, &ids).await;
    for id in &ids {
        let event = dispatched(&stack, id).await;
        assert_eq!(event.get("degraded"), None, "a quoted parcel says nothing of it: {event}");
    }
    stack
}

#[tokio::test]
async fn while_the_quote_service_is_down_orders_complete_degraded_and_afterwards_fresh() {
    let mut stack = quoted().await;
    for reason in ["doubting", "full", "busy", "not-sent", "failed", "refused"] {
        assert_eq!(fallbacks(&mut stack, reason).await, 0, "it is there from the start");
    }
    for (name, down) in [
        ("fails", json!({ "error_rate": 1 })),
        ("overloaded", json!({ "overload_rate": 1 })),
        ("severed", json!({ "drop_before_rate": 1 })),
        ("says-no", json!({ "error_rate": 1, "error_status": 400 })),
    ] {
        stack.sandbox.set_faults("quote", &down).await;
        let ids = stack.place_all(name, &[Fate::Completes; 20]).await;
        completes(&stack, &ids).await;
        for id in &ids {
            assert!(is_degraded(&stack, id).await, "{id} goes at the flat rate");
        }
        if name == "fails" {
            let said = stack.worker("ship-order").said();
            let lines = said.lines().filter(|line| line.contains("going on with the fallback"));
            assert_eq!(lines.count(), 1, "one line when it begins");
            assert!(fallbacks(&mut stack, "failed").await > 0);
        }
        stack.sandbox.clear_faults().await;
        let mut round = 0;
        eventually("orders are quoted again", async || {
            let ids = stack.place_all(&format!("after-{name}-{round}"), &[Fate::Completes]).await;
            round += 1;
            completes(&stack, &ids).await;
            (!is_degraded(&stack, &ids[0]).await).then_some(())
        })
        .await;
    }
    assert!(fallbacks(&mut stack, "refused").await > 0);
    assert_eq!(stack.raw.messages("ORDERS_PARKED").await, 0);
    stack.quiet().await;
    stack.check().await;
}

#[tokio::test]
async fn without_any_quote_service_orders_complete() {
    let mut stack = Stack::bare().await;
    stack.start_others("ship-order").await;
    let nobody = "http://127.0.0.1:9/quote";
    stack.start(Launch::of("ship-order").env("QUADRILLE_SHIP_ORDER__QUOTE_URL", nobody)).await;
    stack.fill_stock().await;
    let ids = stack.place_all("alone", &[Fate::Completes; 20]).await;
    completes(&stack, &ids).await;
    assert_eq!(stack.sandbox.calls("rates").await, 0);
    for id in &ids {
        assert!(is_degraded(&stack, id).await, "{id}");
    }
}

#[tokio::test]
async fn a_lost_label_of_a_degraded_attempt_is_what_the_quoted_one_records() {
    let stack = quoted().await;
    let refused = SagaId::parse("lost-refusal-0").unwrap();
    // One after the other, because a retry of the first would meet a fault of the second.
    let fail_once = async || {
        stack.sandbox.set_faults("quote", &json!({ "error_rate": 1, "times": 1 })).await;
        let lost = json!({ "operations": ["label"], "drop_reply_rate": 1, "times": 1 });
        stack.sandbox.set_faults("carrier", &lost).await;
    };
    fail_once().await;
    let ids = stack.place_all("lost", &[Fate::Completes]).await;
    stack.closed(&ids).await;
    fail_once().await;
    stack.place_all("lost-refusal", &[Fate::NoCarrier]).await;
    stack.closed(std::slice::from_ref(&refused)).await;
    for id in [&ids[0], &refused] {
        assert_eq!(stack.sandbox.calls_for(id, "rates").await, 2, "each attempt asks once");
        assert_eq!(stack.sandbox.calls_for(id, "lookup").await, 1, "the rates differed");
    }
    agrees_with_its_label(&stack, &ids[0]).await;
    assert!(is_degraded(&stack, &ids[0]).await);
    assert_eq!(stack.raw.messages("ORDERS_PARKED").await, 0);
    stack.quiet().await;
    stack.check().await;
}
