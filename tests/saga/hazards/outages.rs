//! A service goes away and comes back, or goes on failing for one message: what is asked of it
//! meanwhile, and what that costs the messages.

use quadrille::broker::Broker;
use quadrille::topology::{ATTEMPTS, BREAKERS};
use serde_json::{Value, json};
use tests::eventually::eventually;
use tests::stack::{Fate, Launch, Stack};

pub(crate) const GATEWAY: &str = "payment-gateway";
/// Calls that a replica may have in flight.
pub(crate) const CONCURRENCY: usize = 8;

/// A replica with few slots and short waits, so that a test sees several probes in seconds.
pub(crate) fn charging() -> Launch {
    Launch::of("charge-customer")
        .env("QUADRILLE_WORKER__CONCURRENCY", CONCURRENCY)
        .env("QUADRILLE_BREAKER__PAYMENT_GATEWAY__TIMEOUT", "300ms")
        .env("QUADRILLE_BREAKER__PAYMENT_GATEWAY__WAIT", "1s")
        .env("QUADRILLE_BREAKER__PAYMENT_GATEWAY__WAIT_MAX", "2s")
}

pub(crate) async fn stack_with(replicas: usize) -> Stack {
    let mut stack = Stack::bare().await;
    stack.start_others("charge-customer").await;
    for _ in 0..replicas {
        stack.start(charging()).await;
    }
    stack.fill_stock().await;
    stack
}

/// What the replicas have agreed on; null for nothing.
pub(crate) async fn agreed(stack: &Stack) -> Value {
    let entry = stack.broker.entry(BREAKERS, GATEWAY).await.expect("the server answers");
    entry.map_or(Value::Null, |entry| serde_json::from_slice(&entry.value).expect("JSON"))
}

pub(crate) async fn is_paused_on_the_server(stack: &Stack) -> bool {
    stack.raw.durable("ORDERS", "charge-customer").await["paused"] == true
}

pub(crate) async fn redelivered(stack: &Stack) -> u64 {
    let durable = stack.raw.durable("ORDERS", "charge-customer").await;
    durable["num_redelivered"].as_u64().expect("a number")
}

/// Failures that are written down against a message.
async fn charged(stack: &Stack, subject: &str) -> Value {
    let message = stack.broker.last("ORDERS", subject).await.expect("the server answers");
    let key = format!("charge-customer.{}", message.expect("it is there").sequence);
    let entry = stack.broker.entry(ATTEMPTS, &key).await.expect("the server answers");
    let record = entry.expect("it is written down").value;
    serde_json::from_slice::<Value>(&record).expect("JSON")["charged"].clone()
}

pub(crate) async fn until_phase(stack: &Stack, wanted: &str) {
    eventually(&format!("the gateway's breaker is {wanted}"), async || {
        (agreed(stack).await["phase"] == wanted).then_some(())
    })
    .await;
}

/// A phase may be too short to be seen; that probes failed stays in the entry.
pub(crate) async fn until_probes_failed(stack: &Stack, times: u64) {
    eventually("probes fail and the pause goes on", async || {
        (agreed(stack).await["k"].as_u64() >= Some(times)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn h15_an_outage_costs_no_delivery_and_no_attempt_and_parks_nothing() {
    let mut stack = Stack::bare().await;
    stack.start_others("charge-customer").await;
    for _ in 0..2 {
        // One failure of its own is enough to park a message.
        stack.start(charging().env("QUADRILLE_BREAKER__PAYMENT_GATEWAY__MAX_ATTEMPTS", 1)).await;
    }
    stack.fill_stock().await;
    let before = stack.place_all("before", &[Fate::Completes; 20]).await;
    stack.closed(&before).await;
    let down = json!({ "operations": ["create", "confirm"], "error_rate": 1 });
    stack.sandbox.set_faults("payment", &down).await;
    let ids = stack.place_all("outage", &[Fate::Completes; 60]).await;
    until_probes_failed(&stack, 2).await;
    assert_eq!(redelivered(&stack).await, 0, "a held message burns no delivery");
    stack.sandbox.clear_faults().await;
    stack.closed(&ids).await;
    assert_eq!(stack.raw.messages("ORDERS_PARKED").await, 0);
    until_phase(&stack, "flowing").await;
    stack.quiet().await;
    stack.check().await;
}

#[tokio::test]
async fn h40_a_service_that_gives_no_answer_is_asked_by_probes_alone() {
    let replicas = 3;
    let stack = stack_with(replicas).await;
    let down = json!({ "operations": ["create"], "error_rate": 1 });
    stack.sandbox.set_faults("payment", &down).await;
    let ids = stack.place_all("down", &[Fate::Completes; 120]).await;
    until_phase(&stack, "paused").await;
    eventually("the durable is paused on the server", async || {
        is_paused_on_the_server(&stack).await.then_some(())
    })
    .await;
    until_probes_failed(&stack, 3).await;
    let calls = stack.sandbox.calls("create").await;
    // What each replica has in flight, the run that makes it doubt, and two calls a probe.
    let most = replicas * (CONCURRENCY + 24) + 2 * 4;
    assert!(calls <= most as u64, "{calls} calls, and at most {most} are allowed");
    stack.sandbox.clear_faults().await;
    stack.closed(&ids).await;
    stack.quiet().await;
    stack.check().await;
}

fn charging_at_most(attempts: u64) -> Launch {
    charging().env("QUADRILLE_BREAKER__PAYMENT_GATEWAY__MAX_ATTEMPTS", attempts)
}

/// Orders are answered, and one is in hand that never will be.
async fn poisoned(attempts: u64) -> Stack {
    let mut stack = Stack::bare().await;
    stack.start_others("charge-customer").await;
    stack.start(charging_at_most(attempts)).await;
    stack.fill_stock().await;
    let fails = json!({ "order": "poison-0", "operations": ["create"], "error_rate": 1 });
    stack.sandbox.set_faults("payment", &fails).await;
    let good = stack.place_all("before", &[Fate::Completes; 20]).await;
    stack.closed(&good).await;
    stack.place_all("poison", &[Fate::Completes]).await;
    stack
}

/// Between the attempts at the one that fails, so that a failure is its own.
async fn others_are_answered(stack: &Stack, round: &mut u32) {
    let more = stack.place_all(&format!("good-{round}"), &[Fate::Completes; 5]).await;
    *round += 1;
    stack.closed(&more).await;
}

#[tokio::test]
async fn h41_a_message_that_always_fails_is_parked_alone_and_pauses_nobody() {
    let stack = poisoned(3).await;
    let mut round = 0;
    eventually("the message is parked", async || {
        others_are_answered(&stack, &mut round).await;
        assert_eq!(agreed(&stack).await, Value::Null, "no replica ever doubted");
        (stack.raw.messages("ORDERS_PARKED").await > 0).then_some(())
    })
    .await;
    let parked: Value = serde_json::from_slice(&stack.history().await.parked[0].payload).unwrap();
    assert_eq!(parked["reason"], "attempts-used-up");
    let message = parked["message"].as_str().unwrap();
    assert!(message.contains("; the last error: ") && message.contains("503"), "{message}");
    assert_eq!(parked["subject"], "orders.inventory.poison-0");
    assert_eq!(parked["deliveries"], 1);
    let poison = "poison-0".parse().unwrap();
    assert_eq!(stack.sandbox.calls_for(&poison, "create").await, 3);
}

#[tokio::test]
async fn h41_attempts_that_count_are_remembered_when_their_worker_is_restarted() {
    // Enough that it is not parked while the others below are answered.
    let most = 6;
    let mut stack = poisoned(most).await;
    let poison = "poison-0".parse().unwrap();
    let mut round = 0;
    let mut before = None;
    eventually("the message is parked", async || {
        others_are_answered(&stack, &mut round).await;
        if before.is_none() && stack.sandbox.calls_for(&poison, "create").await >= 3 {
            let more = stack.place_all("surely-after", &[Fate::Completes; 5]).await;
            stack.closed(&more).await;
            stack.worker("charge-customer").shut_down().await;
            let charged = charged(&stack, "orders.inventory.poison-0").await;
            let written = charged.as_u64().expect("a number");
            assert!((3..most).contains(&written), "{written}");
            before = Some(stack.sandbox.calls_for(&poison, "create").await);
            stack.start(charging_at_most(most)).await;
        }
        (stack.raw.messages("ORDERS_PARKED").await > 0).then_some(())
    })
    .await;
    let calls = stack.sandbox.calls_for(&poison, "create").await;
    let calls = calls - before.expect("the worker was restarted");
    // A failure among the first few calls of a process counts against nobody.
    assert!(calls < most, "{calls} calls: the new process counted from zero");
}

#[tokio::test]
async fn h42_a_pause_ends_though_every_replica_died_in_it() {
    let mut stack = stack_with(2).await;
    let down = json!({ "operations": ["create"], "error_rate": 1 });
    stack.sandbox.set_faults("payment", &down).await;
    let ids = stack.place_all("dead", &[Fate::Completes; 40]).await;
    eventually("the durable is paused on the server", async || {
        is_paused_on_the_server(&stack).await.then_some(())
    })
    .await;
    for worker in &mut stack.workers {
        if worker.name() == "charge-customer" {
            worker.kill();
            worker.ended().await;
        }
    }
    stack.sandbox.clear_faults().await;
    eventually("the durable runs again by itself", async || {
        (!is_paused_on_the_server(&stack).await).then_some(())
    })
    .await;
    stack.start(charging()).await;
    stack.closed(&ids).await;
    stack.quiet().await;
    stack.check().await;
}

#[tokio::test]
async fn h42_a_key_that_is_deleted_or_purged_in_a_pause_stops_nobody() {
    let stack = stack_with(2).await;
    let down = json!({ "operations": ["create"], "error_rate": 1 });
    for (round, way) in ["deleted", "purged"].into_iter().enumerate() {
        stack.sandbox.set_faults("payment", &down).await;
        let ids = stack.place_all(way, &[Fate::Completes; 40]).await;
        until_probes_failed(&stack, 1).await;
        if round == 0 {
            let key = format!("$KV.{BREAKERS}.{GATEWAY}");
            stack.raw.publish(&key, &[("KV-Operation", "DEL")], "").await.expect("stored");
        } else {
            let purge = format!("STREAM.PURGE.KV_{BREAKERS}");
            stack.raw.api(&purge, Value::Null).await.expect("the bucket allows it");
        }
        // They agree on it anew, because the service still gives no answer.
        until_phase(&stack, "paused").await;
        stack.sandbox.clear_faults().await;
        stack.closed(&ids).await;
        until_phase(&stack, "flowing").await;
    }
    stack.quiet().await;
    stack.check().await;
}
