//! A durable that loses its place repeats no call.

use schemas::order_fulfilment::FLOW;
use serde_json::{Value, json};
use tests::stack::{Fate, Launch, Stack};

#[tokio::test]
async fn h12_a_durable_that_begins_anew_repeats_no_call() {
    let mut stack = Stack::bare().await;
    let launch = |worker| Launch::of(worker).env("QUADRILLE_WORKER__READ_AFTER", "0s");
    for step in FLOW.steps {
        stack.start(launch(step.worker)).await;
    }
    stack.fill_stock().await;
    let done = stack.place_all("done", &[Fate::Completes, Fate::Declined, Fate::NoCarrier]).await;
    stack.closed(&done).await;
    let before = calls(&stack, &done).await;
    // In the middle of other work, each durable is deleted and created again at message 1.
    let open = stack.place_all("open", &[Fate::Completes; 6]).await;
    for durable in FLOW.durables(None) {
        let stream = &durable.stream;
        let config = stack.raw.durable(stream, &durable.name).await["config"].clone();
        assert_eq!(config["deliver_policy"], "all");
        let name = &durable.name;
        let delete = format!("CONSUMER.DELETE.{stream}.{name}");
        stack.raw.api(&delete, Value::Null).await.unwrap();
        let create = format!("CONSUMER.CREATE.{stream}.{name}");
        let body = json!({ "stream_name": stream, "config": config, "action": "create" });
        stack.raw.api(&create, body).await.unwrap();
    }
    // The workers that noticed have stopped, as they must; an orchestrator would start them again.
    stack.workers.clear();
    for step in FLOW.steps {
        stack.start(launch(step.worker)).await;
    }
    stack.closed(&open).await;
    stack.quiet().await;
    stack.check().await;
    assert_eq!(calls(&stack, &done).await, before);
}

/// Requests that the sandbox has received for these orders.
async fn calls(stack: &Stack, orders: &[quadrille::SagaId]) -> Vec<Value> {
    let mut calls = Vec::new();
    for order in orders {
        calls.push(stack.sandbox.get(&format!("/calls?order={order}")).await);
    }
    calls
}
