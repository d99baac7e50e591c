//! A slot holds one decision, no matter who writes, and what happens to the answers.

use std::time::Duration;

use quadrille::SagaId;
use schemas::order_fulfilment::FLOW;
use tests::proxy::Proxy;
use tests::stack::{Armed, Fate, Launch, Stack, order};

use crate::by_hand::{effects, saga};

#[tokio::test]
async fn h02_a_second_message_in_a_slot_is_refused_whoever_sends_it() {
    let stack = Stack::running(1).await;
    let id = saga("A1");
    let body = |fate| serde_json::to_string(&order(fate, 0)).unwrap();
    // As another team's client sends it: without guard or envelope.
    stack.raw.publish("orders.placed.A1", &[], &body(Fate::Completes)).await.unwrap();
    let refused = |answer: tests::raw::Answer| answer.map_err(|(code, _)| code);
    let again = stack.raw.publish("orders.placed.A1", &[], &body(Fate::Declined)).await;
    assert_eq!(refused(again), Err(10077));
    stack.closed(std::slice::from_ref(&id)).await;
    stack.quiet().await;
    let (story, ledger) = (stack.story(&id).await, stack.sandbox.ledger().await);
    for slot in ["placed", "inventory", "payment", "pivot", "shipment", "closed"] {
        let subject = format!("orders.{slot}.A1");
        let unguarded = stack.raw.publish(&subject, &[], "{}").await;
        assert_eq!(refused(unguarded), Err(10077), "{slot}");
        // Knowing the sequence of what is there does not help.
        let last = stack.raw.messages(FLOW.stream).await;
        for sequence in 1..=last {
            let guard = ("Nats-Expected-Last-Subject-Sequence", &*sequence.to_string());
            let answer = stack.raw.publish(&subject, &[guard], "{}").await;
            assert!(answer.is_err(), "{slot} after {sequence}");
        }
    }
    stack.quiet().await;
    stack.check().await;
    assert_eq!(stack.story(&id).await, story);
    assert_eq!(stack.sandbox.ledger().await, ledger);
}

#[tokio::test]
async fn h03_a_lost_acknowledgement_undoes_nothing_on_one_server() {
    lost_acknowledgements_undo_nothing(Stack::bare().await).await;
}

#[tokio::test]
async fn h03_a_lost_acknowledgement_undoes_nothing_on_three_servers() {
    lost_acknowledgements_undo_nothing(Stack::on_three_servers().await).await;
}

async fn lost_acknowledgements_undo_nothing(mut stack: Stack) {
    let mut proxies = Vec::new();
    for step in FLOW.steps {
        let proxy = Proxy::to(&stack.server.url()).await;
        stack.start(Launch::of(step.worker).env("QUADRILLE_NATS__URL", proxy.url())).await;
        proxies.push(proxy);
    }
    stack.fill_stock().await;
    // Every decision is stored, but no worker receives the answer for its own: its connection stops
    // receiving at the publish, and is cut a little later.
    for (step, proxy) in FLOW.steps.iter().zip(&proxies) {
        let slot = format!("HPUB orders.{}.", step.slot);
        proxy.lose_answers_after(&slot, Duration::from_millis(200));
    }
    let deaf = stack.place_all("deaf", &[Fate::Completes; 4]).await;
    stack.closed(&deaf).await;
    for (step, proxy) in FLOW.steps.iter().zip(&proxies) {
        assert!(proxy.triggered() >= deaf.len(), "{} heard its answers", step.worker);
        proxy.heal();
    }
    // Then every connection is dead while work is in hand, and the workers notice only the silence,
    // after some 10 s of it.
    let slow = serde_json::json!({ "operations": ["confirm"], "latency_ms": 500 });
    stack.sandbox.set_faults("payment", &slow).await;
    let silent = stack.place_all("silent", &[Fate::Completes; 8]).await;
    tests::eventually::eventually("a payment is in hand", async || {
        (stack.sandbox.calls_for(&silent[0], "confirm").await > 0).then_some(())
    })
    .await;
    proxies.iter().for_each(Proxy::half_open);
    stack.closed(&silent).await;
    stack.quiet().await;
    stack.check().await;
    for id in deaf.iter().chain(&silent) {
        assert_nothing_was_undone(&stack, id).await;
    }
}

async fn assert_nothing_was_undone(stack: &Stack, id: &SagaId) {
    let story = stack.story(id).await;
    assert!(story.contains("order.completed.v1") && !story.contains("-undo"), "{story}");
    for effect in ["refunded", "canceled", "over-refund-refused"] {
        assert_eq!(effects(stack, id, effect).await, 0, "{effect}\n{story}");
    }
}

#[tokio::test]
async fn h05_two_replicas_that_decide_the_same_undo_nothing() {
    let mut stack = Stack::bare().await;
    stack.start_others("charge-customer").await;
    stack.fill_stock().await;
    // One replica charges, and is stopped before it can record that.
    let armed = Armed::at(&stack, "charged", "run.after-effect");
    let mut first = stack.launcher().launch(&armed.stops("charge-customer"));
    first.ready().await.unwrap();
    let ids = stack.place_all("twice", &[Fate::Completes]).await;
    armed.happens().await;
    // The other one gets the message too, charges under the same idempotency key and decides.
    stack.start(Launch::of("charge-customer")).await;
    stack.closed(&ids).await;
    assert!(stack.sandbox.calls_for(&ids[0], "create").await >= 2);
    // The first wakes, loses, and finds its own decision in the slot.
    first.resume();
    first.shut_down().await;
    stack.quiet().await;
    stack.check().await;
    assert_eq!(effects(&stack, &ids[0], "captured").await, 1);
    assert_nothing_was_undone(&stack, &ids[0]).await;
    // Nor is it reported as a second effect.
    assert_eq!(stack.raw.messages("ORDERS_PARKED").await, 0);
}
