//! A message is settled once its outcome is stored, and belongs to one worker until then.
//!
//! That a kill at any other place is harmless too is shown by the crash matrix, in `saga/crash.rs`.

use schemas::order_fulfilment::FLOW;
use serde_json::json;
use tests::eventually::eventually;
use tests::stack::{Fate, Launch, Stack};

use crate::by_hand::effects;
use crate::crashes::Armed;

#[tokio::test]
async fn h10_a_message_is_acknowledged_only_once_its_outcome_is_stored() {
    let mut stack = Stack::bare().await;
    stack.start(Launch::of("reserve-inventory")).await;
    stack.fill_stock().await;
    stack.worker("reserve-inventory").shut_down().await;
    let ids = stack.place_all("killed", &[Fate::Completes]).await;
    // Each worker in turn has acted, and dies before it has said so.
    for step in FLOW.steps {
        let armed = Armed::at(&stack, step.worker, "run.after-effect");
        let mut first = stack.launcher().launch(&armed.kills(step.worker));
        first.ended().await;
        assert!(armed.reached(), "{}", first.said());
        stack.start(Launch::of(step.worker)).await;
    }
    stack.closed(&ids).await;
    stack.quiet().await;
    stack.check().await;
}

#[tokio::test]
async fn h10_the_late_acknowledgement_of_a_zombie_is_true() {
    let mut stack = Stack::bare().await;
    for worker in ["reserve-inventory", "ship-order", "complete-order"] {
        stack.start(Launch::of(worker)).await;
    }
    stack.fill_stock().await;
    let mut replicas = Vec::new();
    for name in ["zombie", "other"] {
        let armed = Armed::at(&stack, name, "run.after-effect");
        let mut replica = stack.launcher().launch(&armed.stops("charge-customer"));
        replica.ready().await;
        replicas.push((armed, replica));
        if name == "zombie" {
            stack.place_all("zombie", &[Fate::Completes]).await;
            replicas[0].0.happens().await;
        }
    }
    // The other replica has the message in hand when the first one wakes, after three times the
    // time in which it should have settled it.
    replicas[1].0.happens().await;
    eventually("the message came four times", async || {
        let info = stack.raw.durable(FLOW.stream, "charge-customer").await;
        (info["delivered"]["consumer_seq"].as_u64() >= Some(4)).then_some(())
    })
    .await;
    let (_, mut other) = replicas.pop().unwrap();
    let (_, mut zombie) = replicas.pop().unwrap();
    zombie.resume();
    eventually("the zombie decides", async || {
        let id = crate::by_hand::saga("zombie-0");
        crate::by_hand::holds(&stack, &id, "payment").await
    })
    .await;
    other.kill();
    other.ended().await;
    let ids = [crate::by_hand::saga("zombie-0")];
    stack.closed(&ids).await;
    zombie.shut_down().await;
    stack.start(Launch::of("charge-customer")).await;
    stack.quiet().await;
    stack.check().await;
    assert_eq!(effects(&stack, &ids[0], "captured").await, 1);
}

#[tokio::test]
async fn h11_work_longer_than_ack_wait_runs_once() {
    let mut stack = Stack::bare().await;
    for worker in ["reserve-inventory", "ship-order", "complete-order"] {
        stack.start(Launch::of(worker)).await;
    }
    for _ in 0..2 {
        let launch = Launch::of("charge-customer");
        stack.start(launch.env("QUADRILLE_CHARGE_CUSTOMER__TIMEOUT", "9s")).await;
    }
    stack.fill_stock().await;
    // Three times the time after which a message comes again.
    let slow = json!({ "operations": ["confirm", "refund"], "latency_ms": 3_000 });
    stack.sandbox.set_faults("payment", &slow).await;
    let ids = stack.place_all("slow", &[Fate::Completes, Fate::NoCarrier]).await;
    stack.closed(&ids).await;
    stack.quiet().await;
    stack.check().await;
    for (id, refunds) in ids.iter().zip([0, 1]) {
        assert_eq!(stack.sandbox.calls_for(id, "create").await, 1, "{id}");
        assert_eq!(stack.sandbox.calls_for(id, "confirm").await, 1, "{id}");
        assert_eq!(stack.sandbox.calls_for(id, "refund").await, refunds, "{id}");
    }
}
