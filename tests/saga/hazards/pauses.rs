//! A pause: what may not happen in it, and what ends it.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use quadrille::topology::{Profile, Topology};
use schemas::order_fulfilment::FLOW;
use serde_json::{Value, json};
use tests::eventually::eventually;
use tests::raw::Heard;
use tests::stack::{Fate, Launch, Stack};

use crate::outages::{
    GATEWAY, agreed, charging, is_paused_on_the_server, stack_with, until_phase,
    until_probes_failed,
};

const DURABLE: &str = "charge-customer";

/// Its pauses are longer than a test needs to look into one.
fn patient() -> Launch {
    charging()
        .env("QUADRILLE_BREAKER__PAYMENT_GATEWAY__WAIT", "12s")
        .env("QUADRILLE_BREAKER__PAYMENT_GATEWAY__WAIT_MAX", "12s")
}

/// The gateway fails, these orders come, and both the fleet and the server are paused.
async fn until_paused(stack: &Stack, name: &str, orders: usize) -> Vec<quadrille::SagaId> {
    let down = json!({ "error_rate": 1 });
    stack.sandbox.set_faults("payment", &down).await;
    let ids = stack.place_all(name, &vec![Fate::Completes; orders]).await;
    until_phase(stack, "paused").await;
    eventually("the durable is paused on the server", async || {
        is_paused_on_the_server(stack).await.then_some(())
    })
    .await;
    ids
}

async fn durable(stack: &Stack) -> Value {
    stack.raw.durable(FLOW.stream, DURABLE).await
}

/// Until when the server pauses the durable.
async fn paused_until(stack: &Stack) -> Timestamp {
    let until = durable(stack).await["config"]["pause_until"].as_str().map(str::parse);
    until.expect("it is paused").expect("a time")
}

/// The phases that the replicas have agreed on since the last time that this was asked.
pub(crate) async fn phases(keys: &mut Heard) -> Vec<String> {
    let phase = |(_, entry): (String, Bytes)| {
        let entry: Value = serde_json::from_slice(&entry).unwrap_or_default();
        entry["phase"].as_str().unwrap_or_default().to_owned()
    };
    keys.more().await.into_iter().map(phase).collect()
}

/// Hears what the replicas agree on.
pub(crate) async fn agreements(stack: &Stack) -> Heard {
    stack.raw.hear(&format!("$KV.breakers.{GATEWAY}")).await
}

/// How often each message of the durable was delivered, as its acknowledgements say.
async fn deliveries(acknowledgements: &mut Heard) -> BTreeMap<u64, u64> {
    let mut deliveries = BTreeMap::new();
    for (subject, _) in acknowledgements.more().await {
        let rest = subject.strip_prefix(&format!("$JS.ACK.{}.{DURABLE}.", FLOW.stream));
        let mut numbers = rest.into_iter().flat_map(|rest| rest.split('.'));
        let mut number = || numbers.next()?.parse::<u64>().ok();
        let (Some(delivery), Some(sequence)) = (number(), number()) else { continue };
        let most: &mut u64 = deliveries.entry(sequence).or_default();
        *most = delivery.max(*most);
    }
    deliveries
}

#[tokio::test]
async fn h40_a_reconnect_in_a_pause_pulls_nothing() {
    let mut stack = Stack::bare().await;
    stack.start_others(DURABLE).await;
    for _ in 0..2 {
        stack.start(patient()).await;
    }
    stack.fill_stock().await;
    let ids = until_paused(&stack, "down", 60).await;
    // Only the gates are to hold the replicas back.
    stack.raw.pause(FLOW.stream, DURABLE, Timestamp::UNIX_EPOCH).await;
    let (pause, calls) = (agreed(&stack).await, stack.sandbox.calls("create").await);
    assert!(durable(&stack).await["num_pending"].as_u64() > Some(0), "more is to be pulled");
    let connections = |stack: &Stack| -> usize {
        let charging = stack.workers.iter().filter(|worker| worker.name() == DURABLE);
        charging.map(|worker| worker.said().matches("connected to NATS").count()).sum()
    };
    let before = connections(&stack);
    stack.server.restart().await;
    let delivered = durable(&stack).await["delivered"].clone();
    eventually("both replicas are back", async || {
        (connections(&stack) >= before + 2).then_some(())
    })
    .await;
    // What they hold they still keep, which takes longer than a pull.
    let mut kept = stack.raw.hear(&format!("$JS.ACK.{}.{DURABLE}.>", FLOW.stream)).await;
    let mut progress = BTreeMap::<String, u32>::new();
    eventually("each held message is kept four times", async || {
        for (subject, _) in kept.more().await {
            *progress.entry(subject).or_default() += 1;
        }
        let held = durable(&stack).await["num_ack_pending"].as_u64();
        let all = held.is_some_and(|held| held > 0 && progress.len() as u64 >= held);
        (all && progress.values().all(|times| *times >= 4)).then_some(())
    })
    .await;
    let now = durable(&stack).await;
    assert_eq!(now["num_waiting"], 0, "no pull is open");
    assert_eq!(now["delivered"]["consumer_seq"], delivered["consumer_seq"], "none was delivered");
    assert_eq!(stack.sandbox.calls("create").await, calls, "no call was made");
    assert_eq!(agreed(&stack).await, pause, "all of that was in one pause");
    stack.sandbox.clear_faults().await;
    stack.closed(&ids).await;
    stack.quiet().await;
    stack.check().await;
}

#[tokio::test]
async fn h40_an_edge_that_says_400_while_the_service_is_away_ends_no_pause() {
    let stack = stack_with(2).await;
    let ids = until_paused(&stack, "edge", 60).await;
    let mut keys = agreements(&stack).await;
    let edge = json!({ "error_rate": 1, "error_status": 400 });
    stack.sandbox.set_faults("payment", &edge).await;
    let mut seen = Vec::new();
    eventually("the replicas have probed three times", async || {
        seen.extend(phases(&mut keys).await);
        (seen.iter().filter(|phase| *phase == "paused").count() >= 3).then_some(())
    })
    .await;
    assert!(!seen.contains(&"flowing".to_owned()), "{seen:?}");
    assert_eq!(stack.raw.messages("ORDERS_PARKED").await, 0, "it was the edge that said so");
    stack.sandbox.clear_faults().await;
    stack.closed(&ids).await;
    until_phase(&stack, "flowing").await;
    stack.quiet().await;
    stack.check().await;
}

#[tokio::test]
async fn h44_a_drain_in_a_pause_loses_nothing_and_costs_a_message_one_delivery() {
    // Far longer than this test takes, so that a message which was dropped is late.
    let ack_wait = Duration::from_secs(300);
    let topology = Topology { ack_wait, ..Topology::new(&FLOW, Profile::Dev) };
    let mut stack = Stack::bare_with(topology).await;
    stack.start_others(DURABLE).await;
    for _ in 0..2 {
        stack.start(patient()).await;
    }
    stack.fill_stock().await;
    let mut acknowledgements = stack.raw.hear("$JS.ACK.>").await;
    let ids = until_paused(&stack, "drained", 60).await;
    let held = durable(&stack).await["num_ack_pending"].as_u64().expect("a number");
    assert!(held > 0, "the replicas hold messages");
    for worker in stack.workers.iter_mut().filter(|worker| worker.name() == DURABLE) {
        let status = worker.shut_down().await;
        let said = worker.said();
        assert!(status.success() && said.contains("\"in_time\":true"), "{said}");
    }
    for _ in 0..2 {
        stack.start(patient()).await;
    }
    stack.sandbox.clear_faults().await;
    stack.closed(&ids).await;
    stack.quiet().await;
    let deliveries = deliveries(&mut acknowledgements).await;
    assert_eq!(deliveries.len(), ids.len());
    let again = deliveries.values().filter(|times| **times == 2).count() as u64;
    assert!(deliveries.values().all(|times| *times <= 2) && again <= held, "{deliveries:?}");
    stack.check().await;
}

#[tokio::test]
async fn h42_an_outage_that_ends_while_the_queue_is_empty_ends_the_pause() {
    let mut stack = stack_with(1).await;
    until_paused(&stack, "given-up", 30).await;
    stack.worker(DURABLE).kill();
    stack.worker(DURABLE).ended().await;
    stack.sandbox.clear_faults().await;
    // An operator settles all that waits, as a stock client.
    eventually("the queue is empty", async || {
        stack.raw.acknowledge_all(FLOW.stream, DURABLE).await.ok()?;
        let info = durable(&stack).await;
        (info["num_pending"] == 0 && info["num_ack_pending"] == 0).then_some(())
    })
    .await;
    assert_ne!(agreed(&stack).await["phase"], "flowing");
    stack.start(charging()).await;
    until_phase(&stack, "flowing").await;
    assert_eq!(agreed(&stack).await["reason"], "recovered");
    let ids = stack.place_all("after", &[Fate::Completes; 5]).await;
    stack.closed(&ids).await;
}

#[tokio::test]
async fn h42_a_pause_of_an_operator_is_neither_shortened_nor_ended() {
    let stack = stack_with(2).await;
    let ids = until_paused(&stack, "paused", 40).await;
    let longest = paused_until(&stack).await.duration_since(Timestamp::now());
    assert!(longest <= SignedDuration::from_secs(20), "their own pause ends by itself: {longest}");
    let hour = Timestamp::now() + SignedDuration::from_hours(1);
    stack.raw.pause(FLOW.stream, DURABLE, hour).await;
    let k = agreed(&stack).await["k"].as_u64().expect("a number");
    until_probes_failed(&stack, k + 2).await;
    assert_eq!(paused_until(&stack).await, hour, "they paused it twice");
    let said: String = stack.workers.iter().map(|worker| worker.said()).collect();
    assert!(said.contains("foreign_pause"), "{said}");
    // An operator lets work flow: whoever paused ends its own pause, and no other.
    let forced = json!({
        "mode": "flowing", "by": "a test", "reason": "to be seen",
        "until_ms": hour.as_millisecond(),
    });
    stack.sandbox.clear_faults().await;
    let key = format!("$KV.breakers.{GATEWAY}.override");
    stack.raw.publish(&key, &[], &forced.to_string()).await.expect("stored");
    eventually("what is held is charged", async || {
        (durable(&stack).await["num_ack_pending"] == 0).then_some(())
    })
    .await;
    assert!(durable(&stack).await["num_pending"].as_u64() > Some(0), "the rest waits");
    assert_eq!(paused_until(&stack).await, hour, "it is the operator's");
    stack.raw.pause(FLOW.stream, DURABLE, Timestamp::UNIX_EPOCH).await;
    stack.closed(&ids).await;
    stack.quiet().await;
    stack.check().await;
}
