//! A message is settled once its outcome is stored, and belongs to one worker until then.
//!
//! The crash matrix, in `saga/crash.rs`, shows that a kill at any other place is harmless too.

use schemas::order_fulfilment::FLOW;
use serde_json::json;
use tests::eventually::eventually;
use tests::stack::{ACK_WAIT, Armed, Fate, Launch, Stack};
use tokio::time::{Instant, interval};

use crate::by_hand::{effects, holds};

#[tokio::test]
async fn h10_a_message_is_acknowledged_only_once_its_outcome_is_stored() {
    let mut stack = Stack::bare().await;
    stack.start(Launch::of("reserve-inventory")).await;
    stack.fill_stock().await;
    stack.worker("reserve-inventory").shut_down().await;
    let ids = stack.place_all("killed", &[Fate::Completes]).await;
    // Each worker in turn acts, and dies before it has recorded that.
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
    stack.start_others("charge-customer").await;
    stack.fill_stock().await;
    let armed = Armed::at(&stack, "zombie", "run.after-effect");
    let mut zombie = stack.launcher().launch(&armed.stops("charge-customer"));
    zombie.ready().await.unwrap();
    let ids = stack.place_all("zombie", &[Fate::Completes]).await;
    armed.happens().await;
    // The other replica holds the message for three times the time in which the first one should
    // have settled it.
    let slow = json!({ "latency_ms": 6_000 });
    stack.sandbox.set_faults("payment", &slow).await;
    let slow = Launch::of("charge-customer").env("QUADRILLE_CHARGE_CUSTOMER__TIMEOUT", "9s");
    let mut other = stack.launcher().launch(&slow);
    other.ready().await.unwrap();
    eventually("the other replica is at work", async || {
        (stack.sandbox.calls_for(&ids[0], "create").await == 2).then_some(())
    })
    .await;
    // Two; or three, if one went to a request that the zombie had made before it stopped.
    let delivered = async || {
        stack.raw.durable(FLOW.stream, "charge-customer").await["delivered"]["consumer_seq"].clone()
    };
    let before = delivered().await;
    let (woken, mut looks) = (Instant::now() + 3 * ACK_WAIT, interval(ACK_WAIT / 10));
    while Instant::now() < woken {
        looks.tick().await;
        assert_eq!(delivered().await, before, "it came once more");
    }
    assert_eq!(holds(&stack, &ids[0], "payment").await, None);
    // The zombie wakes, decides, and acknowledges the message that the other one holds; then the
    // other one dies.
    zombie.resume();
    eventually("the zombie decides", async || holds(&stack, &ids[0], "payment").await).await;
    stack.settled("charge-customer").await;
    other.kill();
    other.ended().await;
    stack.sandbox.clear_faults().await;
    stack.closed(&ids).await;
    stack.quiet().await;
    stack.check().await;
    assert_eq!(effects(&stack, &ids[0], "captured").await, 1);
}

/// As an operator may set it who takes nanoseconds for seconds: every delivery comes again at once.
#[tokio::test]
async fn orders_end_though_the_broker_gives_a_worker_no_time_at_all() {
    let mut stack = Stack::running(1).await;
    let none = json!({ "ack_wait": 2 });
    for durable in ["charge-customer", "charge-customer-undo"] {
        stack.raw.change_durable("ORDERS", durable, none.clone()).await.unwrap();
    }
    stack.workers.retain(|worker| worker.name() != "charge-customer");
    stack.start(Launch::of("charge-customer")).await;
    let ids = stack.place_all("hasty", &[Fate::Completes, Fate::NoCarrier]).await;
    stack.closed(&ids).await;
    let said = stack.worker("charge-customer").said();
    assert!(!said.contains("panicked"), "{said}");
    stack.quiet().await;
    stack.check().await;
}

#[tokio::test]
async fn h11_work_longer_than_ack_wait_runs_once() {
    let mut stack = Stack::bare().await;
    stack.start_others("charge-customer").await;
    for _ in 0..2 {
        let launch = Launch::of("charge-customer");
        stack.start(launch.env("QUADRILLE_CHARGE_CUSTOMER__TIMEOUT", "9s")).await;
    }
    stack.fill_stock().await;
    // Three times the time after which the broker delivers a message again.
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
