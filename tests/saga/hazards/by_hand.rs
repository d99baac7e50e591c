//! Events that a test writes itself: as a worker that is not running, as the closing worker on a
//! step's behalf, or as a client that may not.

use jiff::Timestamp;
use quadrille::broker::{Broker, Published};
use quadrille::log::envelope::{Cause, Envelope, Occasion, Outgoing};
use quadrille::{Flow, KeyNamespace, SagaId};
use schemas::order_fulfilment::FLOW;
use serde_json::{Value, json};
use tests::eventually::eventually;
use tests::stack::Stack;

/// The worker that may refuse a step on its behalf.
pub(crate) const CLOSING: &str = "complete-order";

static ORDERS: &Flow = &FLOW;

pub(crate) fn saga(id: &str) -> SagaId {
    SagaId::parse(id).expect("a test's id is sound")
}

/// The event in a slot, as the cause of another one; waits until it is there.
pub(crate) async fn caused_by(stack: &Stack, id: &SagaId, slot: &'static str) -> Cause {
    let subject = ORDERS.slot(slot, id);
    eventually(&format!("{} is written", subject.subject()), async || {
        let stored = stack.broker.last(FLOW.stream, subject.subject()).await.ok()??;
        let expected = if slot == FLOW.opens.slot { FLOW.opens.event } else { "" };
        let envelope = Envelope::read(&FLOW, slot, id, expected, &stored).ok()?;
        Some(Cause { id: envelope.id, sequence: stored.sequence })
    })
    .await
}

/// The id that `source` gives an event of this type in this slot.
pub(crate) fn event_id(id: &SagaId, slot: &str, event: &str, source: &str) -> String {
    quadrille::ids::event_id(FLOW.saga, id, slot, event, source).to_string()
}

/// Writes an event with the guard, and returns what the broker said.
pub(crate) async fn try_write(
    stack: &Stack,
    id: &SagaId,
    author: (&'static str, &'static str),
    event: (&'static str, Value),
    cause: Cause,
) -> Published {
    publish(stack, id, author, event, occasion(cause)).await
}

/// As a worker of the log of `keys`, to which the message stored as `sealed` was delivered, and
/// which wrote the event at `time`.
pub(crate) async fn write_sealed(
    stack: &Stack,
    id: &SagaId,
    author: (&'static str, &'static str),
    event: (&'static str, Value),
    cause: Cause,
    (keys, made, subject, sealed): (KeyNamespace, i128, &str, u64),
    time: Timestamp,
) {
    let seal = Some(keys.seal(made, subject, sealed));
    let occasion = Occasion { seal, time, ..occasion(cause) };
    let stored = publish(stack, id, author, event, occasion).await;
    assert!(matches!(stored, Published::Stored { .. }), "{stored:?}");
}

fn occasion(cause: Cause) -> Occasion {
    let (cause, time) = (Some(cause), Timestamp::now());
    Occasion { cause, traceparent: None, time, seal: None, work: None }
}

async fn publish(
    stack: &Stack,
    id: &SagaId,
    (slot, source): (&'static str, &'static str),
    (event, data): (&'static str, Value),
    occasion: Occasion,
) -> Published {
    let data = serde_json::value::to_raw_value(&data).expect("JSON");
    let slot = ORDERS.slot(slot, id);
    let event = Outgoing::new(&FLOW, slot, source, (event, &data), &occasion);
    stack.broker.publish_once(&event.slot, event.payload).await
}

/// As [`try_write`]; it must be stored.
pub(crate) async fn write(
    stack: &Stack,
    id: &SagaId,
    author: (&'static str, &'static str),
    event: (&'static str, Value),
    cause: Cause,
) -> u64 {
    match try_write(stack, id, author, event, cause).await {
        Published::Stored { sequence } => sequence,
        other => panic!("{author:?} of {id} is not stored: {other:?}"),
    }
}

/// Refuses a step on its behalf, as a deadline does, and leaves the signal to others.
pub(crate) async fn refuse_without_signal(stack: &Stack, id: &SagaId, worker: &str) {
    let row = FLOW.row(worker).expect("a row of the table");
    let refused = row.refused.expect("it can say no");
    let cause = caused_by(stack, id, row.on).await;
    write(stack, id, (row.slot, CLOSING), (refused, json!({ "reason": "deadline" })), cause).await;
}

/// Refuses a step on its behalf: the refusal, then the signal.
pub(crate) async fn refuse(stack: &Stack, id: &SagaId, worker: &str) {
    refuse_without_signal(stack, id, worker).await;
    let slot = FLOW.row(worker).expect("a row of the table").slot;
    let data = json!({ "step": worker, "reason": "deadline", "by": CLOSING });
    let cause = caused_by(stack, id, slot).await;
    // A worker that found the refusal may have been faster.
    try_write(stack, id, (FLOW.turns.slot, CLOSING), (FLOW.turns.event, data), cause).await;
}

/// The type of what a slot holds; `None` if it is empty.
pub(crate) async fn holds(stack: &Stack, id: &SagaId, slot: &'static str) -> Option<String> {
    let subject = ORDERS.slot(slot, id);
    let stored = stack.broker.last(FLOW.stream, subject.subject()).await.expect("an answer")?;
    let event: Value = serde_json::from_slice(&stored.payload).unwrap_or_default();
    Some(event["type"].as_str().unwrap_or_default().to_owned())
}

/// How often an effect of an order is in the sandbox's ledger.
pub(crate) async fn effects(stack: &Stack, id: &SagaId, effect: &str) -> usize {
    let of_order = |line: &tests::invariants::Effect| line.order.as_deref() == Some(id.as_str());
    let ledger = stack.sandbox.ledger().await;
    ledger.iter().filter(|line| of_order(line) && line.effect == effect).count()
}
