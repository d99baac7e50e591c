//! An order ends one way.

use std::collections::BTreeMap;

use futures::future::join_all;
use quadrille::SagaId;
use quadrille::flow::Role;
use schemas::order_fulfilment::FLOW;
use serde_json::{Value, json};
use tests::stack::{Fate, Launch, Stack, order};

use crate::by_hand::{CLOSING, caused_by, event_id, holds, saga, write};
use quadrille::log::envelope::Cause;

/// Orders that reach both endings at once.
const ORDERS: usize = 60;

#[tokio::test]
async fn h31_an_order_that_comes_to_both_endings_has_one() {
    let mut stack = Stack::bare().await;
    for _ in 0..2 {
        stack.start(Launch::of("complete-order")).await;
    }
    // Without the stream's own limit, so that the guard alone decides.
    let unlimited = json!({ "max_msgs_per_subject": -1, "discard_new_per_subject": false });
    stack.raw.change_stream(FLOW.stream, unlimited).await.unwrap();
    let ids: Vec<_> = (0..ORDERS).map(|at| saga(&format!("both-{at}"))).collect();
    join_all(ids.iter().map(|id| force_both_endings(&stack, id))).await;
    stack.closed(&ids).await;
    let both = [Role::Forward, Role::Closing];
    let durables = FLOW.durables(Some("complete-order")).into_iter();
    let durables: Vec<_> = durables.filter(|durable| both.contains(&durable.role)).collect();
    for durable in &durables {
        stack.settled(&durable.name).await;
    }
    let mut endings: BTreeMap<String, usize> = BTreeMap::new();
    let history = stack.history().await;
    for message in
        history.log.iter().filter(|message| message.subject.starts_with("orders.closed."))
    {
        *endings.entry(message.subject.clone()).or_default() += 1;
    }
    assert_eq!(endings.len(), ORDERS);
    assert!(endings.values().all(|count| *count == 1), "{endings:?}");
    // Both endings were tried for each of them.
    for durable in &durables {
        let info = stack.raw.durable(FLOW.stream, &durable.name).await;
        let delivered = info["delivered"]["consumer_seq"].as_u64();
        assert!(delivered >= Some(ORDERS as u64), "{}: {delivered:?}", durable.name);
    }
    // Only what an operator must see is set aside: a parcel that was sent for an order which reads
    // cancelled.
    for message in &history.parked {
        let entry: Value = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!(entry["reason"], "orphan-effect", "{}", message.subject);
        let id = message.subject.strip_prefix("parked.orders.complete-order.").unwrap();
        let ending = holds(&stack, &saga(id), "closed").await;
        assert_eq!(ending.as_deref(), Some("order.cancelled.v1"), "{id}");
    }
}

/// Writes an order that was both taken back and, against all rules, shipped.
async fn force_both_endings(stack: &Stack, id: &SagaId) {
    stack.place(id, &order(Fate::Completes, 0)).await.unwrap();
    let placed = caused_by(stack, id, "placed").await;
    let refused = write(
        stack,
        id,
        ("payment", CLOSING),
        ("payment.refused.v1", json!({ "reason": "deadline" })),
        placed,
    )
    .await;
    let cause =
        || Cause { id: event_id(id, "payment", "payment.refused.v1", CLOSING), sequence: refused };
    let label = json!({ "carrier": "by-hand", "label": "lbl_1", "tracking": "T1" });
    tokio::join!(
        write(
            stack,
            id,
            ("inventory-undo", "reserve-inventory"),
            ("inventory.released.v1", json!({})),
            cause()
        ),
        write(stack, id, ("shipment", "ship-order"), ("shipment.dispatched.v1", label), cause()),
    );
}
