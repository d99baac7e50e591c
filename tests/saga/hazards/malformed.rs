//! Messages and requests with headers that no client can read: each harms itself alone.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use quadrille::broker::{Broker, Care};
use schemas::order_fulfilment::FLOW;
use serde_json::Value;
use tests::eventually::eventually;
use tests::raw::publish_bytes;
use tests::stack::{Fate, Launch, Stack, order};

use crate::by_hand::{holds, saga};

/// A bare CR ends the task of a client, the others its connection.
const SHAPES: [&[u8]; 3] = [
    b"NATS/1.0\r\nA: b\rc\r\n\r\n",
    b"NATS/1.0\r\nno colon\r\n\r\n",
    b"NATS/1.0\r\nA: \xff\r\n\r\n",
];

async fn parked(stack: &Stack) -> Vec<Value> {
    let page = stack.broker.read_page("ORDERS_PARKED", 1, 100, Care::Careful).await;
    let messages = page.expect("the server answers").messages;
    let entries = messages.iter().filter(|stored| stored.subject.starts_with("parked."));
    entries.map(|stored| serde_json::from_slice(&stored.payload).unwrap()).collect()
}

fn assert_nobody_ended(stack: &mut Stack) {
    for worker in &mut stack.workers {
        assert_eq!(worker.has_ended(), None, "{}", worker.said());
    }
}

#[tokio::test]
async fn h52_a_message_that_no_client_can_read_is_parked_with_its_bytes_and_harms_nobody_else() {
    let mut stack = Stack::running(1).await;
    let mut ids = Vec::new();
    for (at, shape) in SHAPES.iter().enumerate() {
        // What comes in one read of the socket with it is lost with its connection.
        stack.worker("reserve-inventory").pause();
        ids.extend(stack.place_all(&format!("before-{at}"), &[Fate::Completes; 6]).await);
        let url = stack.server.url();
        publish_bytes(&url, &format!("orders.placed.bad-{at}"), shape, "{}").await;
        ids.extend(stack.place_all(&format!("behind-{at}"), &[Fate::Completes; 6]).await);
        stack.worker("reserve-inventory").resume();
    }
    stack.closed(&ids).await;
    let parked = eventually("each is parked", async || {
        let parked = parked(&stack).await;
        (parked.len() >= SHAPES.len()).then_some(parked)
    })
    .await;
    assert_eq!(parked.len(), SHAPES.len(), "each of them once");
    for (at, shape) in SHAPES.iter().enumerate() {
        let subject = format!("orders.placed.bad-{at}");
        let entry = parked.iter().find(|entry| entry["subject"] == subject).expect("it is parked");
        assert_eq!(entry["reason"], "malformed-header");
        let raw = STANDARD.decode(entry["raw_headers_base64"].as_str().unwrap()).unwrap();
        assert_eq!(raw, *shape);
        let said = stack.worker("reserve-inventory").said();
        let named = format!("\"sequence\":{}", entry["sequence"]);
        let is_told = |line: &str| line.contains("ERROR") && line.contains(&named);
        assert!(said.lines().any(is_told), "{said}");
    }
    stack.quiet().await;
    assert_nobody_ended(&mut stack);
}

#[tokio::test]
async fn h52_a_parked_message_comes_back_though_no_client_can_read_it_or_its_release() {
    let mut stack = Stack::running(1).await;
    let url = stack.server.url();
    let ids: Vec<_> = (0..SHAPES.len()).map(|at| saga(&format!("back-{at}"))).collect();
    for ((at, id), shape) in ids.iter().enumerate().zip(SHAPES) {
        let order = serde_json::to_string(&order(Fate::Completes, at)).unwrap();
        publish_bytes(&url, &format!("orders.placed.{id}"), shape, &order).await;
    }
    eventually("each is parked", async || (parked(&stack).await.len() == ids.len()).then_some(()))
        .await;
    for (id, shape) in ids.iter().zip(SHAPES) {
        let release = FLOW.released("reserve-inventory", id);
        publish_bytes(&url, &release, shape, "").await;
    }
    stack.closed(&ids).await;
    for id in &ids {
        assert_eq!(holds(&stack, id, "closed").await.as_deref(), Some("order.completed.v1"));
    }
    stack.quiet().await;
    assert_eq!(parked(&stack).await.len(), ids.len(), "none of them again");
    assert_nobody_ended(&mut stack);
}

#[tokio::test]
async fn h52_a_signal_that_no_client_can_read_still_turns_its_order_around() {
    let mut stack = Stack::running(1).await;
    let ids = ["declined-0", "declined-1", "declined-2"].map(saga);
    for (id, shape) in ids.iter().zip(SHAPES) {
        let url = stack.server.url();
        publish_bytes(&url, &format!("orders.refused.{id}"), shape, "junk").await;
    }
    for id in &ids {
        stack.place(id, &order(Fate::Declined, 0)).await.unwrap();
    }
    eventually("each is refused", async || {
        for id in &ids {
            holds(&stack, id, "payment").await?;
        }
        Some(())
    })
    .await;
    assert_nobody_ended(&mut stack);
    // Once the signal has its turn again, which is minutes later; a worker that starts looks.
    for worker in ["charge-customer", "reserve-inventory"] {
        stack.worker(worker).shut_down().await;
        stack.workers.retain(|one| one.name() != worker);
        stack.start(Launch::of(worker)).await;
    }
    stack.closed(&ids).await;
    for id in &ids {
        assert_eq!(holds(&stack, id, "closed").await.as_deref(), Some("order.cancelled.v1"));
    }
    assert_eq!(parked(&stack).await.len(), 0);
    stack.quiet().await;
    assert_nobody_ended(&mut stack);
}

#[tokio::test]
async fn h52_a_request_that_no_client_can_read_ends_no_replica() {
    let mut stack = Stack::running(2).await;
    let url = stack.server.url();
    for shape in SHAPES {
        for subject in ["$SRV.PING", "inventory.stock.show"] {
            publish_bytes(&url, subject, shape, "{}").await;
        }
        let ids = stack.place_all(&format!("o{}", shape.len()), &[Fate::Completes; 3]).await;
        stack.closed(&ids).await;
        eventually("the stock is shown", async || {
            let shown = stack.broker.request("inventory.stock.show", Bytes::from_static(b"{}"));
            shown.await.ok()?.ok()
        })
        .await;
    }
    stack.quiet().await;
    assert_nobody_ended(&mut stack);
    stack.check().await;
    assert_eq!(stack.raw.messages(FLOW.stream).await, 9 * 6);
}
