//! The flow as it runs now: who takes messages, what waits, and what is paused.

use std::time::Duration;

use quadrille::broker::Broker;
use quadrille::flow::Role;
use schemas::order_fulfilment::FLOW;
use serde_json::Value;
use tests::eventually::eventually;
use tests::stack::{Fate, Stack};

use crate::asked::Query;

fn arrow<'f>(flow: &'f Value, durable: &str) -> &'f Value {
    let arrows = flow["arrows"].as_array().unwrap();
    arrows.iter().find(|arrow| arrow["durable"] == durable).unwrap()
}

/// Asks until the arrow of a durable is in this condition, and `holds`.
async fn until(
    query: &Query,
    durable: &str,
    condition: &str,
    holds: impl Fn(&Value) -> bool,
) -> Value {
    eventually(&format!("{durable} is {condition}"), async || {
        let flow = query.ok("/flow").await;
        let arrow = arrow(&flow, durable);
        (arrow["condition"] == condition && holds(arrow)).then(|| flow.clone())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_flow_tells_who_runs_who_is_stopped_and_what_waits() {
    let mut stack = Stack::running(1).await;
    let query = Query::start(&stack, "query").await;
    let arrows = [Role::Forward, Role::Undo, Role::Closing];
    let durables = FLOW.durables(None).into_iter();
    for durable in durables.filter(|durable| arrows.contains(&durable.role)) {
        let one = |arrow: &Value| arrow["replicas"] == 1 && arrow["error"].is_null();
        until(&query, &durable.name, "running", one).await;
    }
    let ids = stack.place_all("flow", &[Fate::Completes, Fate::Declined]).await;
    stack.closed(&ids).await;
    let moved = |arrow: &Value| arrow["per_second"].as_f64() > Some(0.0);
    for durable in ["reserve-inventory", "reserve-inventory-undo", "complete-order-closing"] {
        until(&query, durable, "running", moved).await;
    }

    // One that hangs is as good as stopped, until it goes on.
    stack.worker("ship-order").pause();
    until(&query, "ship-order", "stopped", |arrow| arrow["replicas"] == 0).await;
    stack.worker("ship-order").resume();
    until(&query, "ship-order", "running", |arrow| arrow["replicas"] == 1).await;
    stack.worker("ship-order").kill();
    let flow = until(&query, "ship-order", "stopped", |arrow| arrow["replicas"] == 0).await;
    assert_eq!(arrow(&flow, "charge-customer")["condition"], "running", "{flow}");
    stack.place_all("late", &[Fate::Completes]).await;
    let waits = |arrow: &Value| arrow["pending"] == 1 && arrow["waiting"]["count"] == 1;
    let flow = until(&query, "ship-order", "stopped", waits).await;
    assert!(arrow(&flow, "ship-order")["waiting"]["oldest_ms"].is_u64(), "{flow}");
    assert_eq!(flow["services"][0]["service"], "payment-gateway");
    assert_eq!(flow["services"][0]["phase"], "flowing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_by_hand_is_seen_as_one() {
    let mut stack = Stack::bare().await;
    stack.start_others("").await;
    let query = Query::start(&stack, "query").await;
    until(&query, "charge-customer", "running", |_| true).await;
    let now = stack.broker.state(FLOW.stream).await.unwrap().unwrap().server_time;
    let end = now + Duration::from_secs(600);
    stack.broker.pause(FLOW.stream, "charge-customer", end).await.unwrap();
    let by_hand = |arrow: &Value| arrow["pause"]["foreign"] == true;
    let flow = until(&query, "charge-customer", "paused", by_hand).await;
    assert_eq!(arrow(&flow, "charge-customer-undo")["condition"], "running", "{flow}");
}
