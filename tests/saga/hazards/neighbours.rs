//! What is wrong with one order, or with one replica, costs the others nothing.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use quadrille::SagaId;
use serde_json::{Value, json};
use tests::eventually::eventually;
use tests::stack::{Fate, Stack, order};
use tokio::time::interval;

use crate::by_hand::{holds, saga};
use crate::outages::{charging, stack_with, until_phase, until_probes_failed};
use crate::pauses::{agreements, phases};

/// Nobody listens there: every connection is refused at once.
const NOWHERE: &str = "http://127.0.0.1:1/payment";

#[tokio::test]
async fn h41_three_replicas_without_egress_pause_no_other() {
    let mut stack = Stack::bare().await;
    stack.start_others("charge-customer").await;
    for replica in 0..8 {
        // Time enough to contradict, on a busy machine too.
        let launch = charging().env("QUADRILLE_BREAKER__PAYMENT_GATEWAY__TIMEOUT", "2s");
        let cut_off = launch.clone().env("QUADRILLE_CHARGE_CUSTOMER__URL", NOWHERE);
        stack.start(if replica < 3 { cut_off } else { launch }).await;
    }
    stack.fill_stock().await;
    let mut keys = agreements(&stack).await;
    let (mut ids, mut seen) = (Vec::new(), Vec::new());
    let mut ticks = interval(Duration::from_millis(50));
    eventually("all three know that they are cut off", async || {
        ticks.tick().await;
        ids.extend(stack.place_all(&format!("wave-{}", ids.len()), &[Fate::Completes; 4]).await);
        seen.extend(phases(&mut keys).await);
        assert!(!seen.contains(&"paused".to_owned()), "{seen:?}");
        let suspects = stack.workers.iter().filter(|one| one.said().contains("local_suspect"));
        (suspects.count() == 3).then_some(())
    })
    .await;
    stack.closed(&ids).await;
    seen.extend(phases(&mut keys).await);
    assert!(seen.contains(&"suspected".to_owned()), "{seen:?}");
    assert!(!seen.contains(&"paused".to_owned()), "{seen:?}");
    assert_eq!(stack.raw.messages("ORDERS_PARKED").await, 0);
    stack.quiet().await;
    stack.check().await;
}

/// An order that alone has this fault, and was called for after that time.
async fn one_alone(stack: &Stack, mut fault: Value, time: SignedDuration) -> SagaId {
    let odd = saga("odd-0");
    fault["order"] = odd.as_str().into();
    stack.sandbox.set_faults("payment", &fault).await;
    stack.place_all("odd", &[Fate::Completes]).await;
    let calls = async || stack.sandbox.calls_for(&odd, "create").await;
    eventually("it is tried", async || (calls().await > 0).then_some(())).await;
    let (began, mut before) = (Timestamp::now(), 0);
    eventually("it is tried after that time", async || {
        let calls = calls().await;
        if Timestamp::now().duration_since(began) < time {
            before = calls;
        }
        (calls > before).then_some(())
    })
    .await;
    odd
}

fn assert_nobody_doubted(stack: &Stack) {
    for worker in &stack.workers {
        assert!(!worker.said().contains("no answers:"), "{}", worker.said());
    }
}

#[tokio::test]
async fn h41_a_403_for_one_order_alone_pauses_nobody() {
    let stack = stack_with(1).await;
    let fault = json!({ "operations": ["create"], "error_rate": 1, "error_status": 403 });
    // Nothing else comes, for longer than few failures may last.
    let odd = one_alone(&stack, fault, SignedDuration::from_secs(11)).await;
    assert_nobody_doubted(&stack);
    let ids = stack.place_all("others", &[Fate::Completes; 20]).await;
    stack.closed(&ids).await;
    assert_nobody_doubted(&stack);
    assert_eq!(holds(&stack, &odd, "payment").await, None);
    stack.sandbox.clear_faults().await;
    stack.closed(&[odd]).await;
    stack.quiet().await;
    stack.check().await;
}

#[tokio::test]
async fn h41_a_429_for_one_order_alone_makes_only_that_order_wait() {
    let stack = stack_with(1).await;
    let fault = json!({ "overload_rate": 1, "retry_after_s": 20, "times": 1 });
    let odd = one_alone(&stack, fault, SignedDuration::ZERO).await;
    let ids = stack.place_all("others", &[Fate::Completes; 40]).await;
    stack.closed(&ids).await;
    assert_eq!(stack.sandbox.calls_for(&odd, "create").await, 1, "it waits as it was told to");
    assert_nobody_doubted(&stack);
    stack.closed(&[odd]).await;
    stack.quiet().await;
    stack.check().await;
}

#[tokio::test]
async fn h41_a_message_that_always_fails_among_many_is_parked_after_exactly_its_attempts() {
    let mut stack = Stack::bare().await;
    stack.start_others("charge-customer").await;
    // Half of the usual number, because eight take up to two minutes.
    stack.start(charging().env("QUADRILLE_BREAKER__PAYMENT_GATEWAY__MAX_ATTEMPTS", 5)).await;
    stack.fill_stock().await;
    // First an outage, in which it fails as the others do.
    stack.sandbox.set_faults("payment", &json!({ "error_rate": 1 })).await;
    let poison = saga("poison-0");
    stack.place_all("poison", &[Fate::Completes]).await;
    let mut good = stack.place_all("outage", &[Fate::Completes; 60]).await;
    until_probes_failed(&stack, 2).await;
    let fails = json!({ "order": "poison-0", "operations": ["create"], "error_rate": 1 });
    stack.sandbox.set_faults("payment", &fails).await;
    stack.closed(&good).await;
    until_phase(&stack, "flowing").await;
    let mut keys = agreements(&stack).await;
    let in_the_outage = stack.sandbox.calls_for(&poison, "create").await;
    let mut ticks = interval(Duration::from_millis(500));
    eventually("the message is parked", async || {
        // Others are answered between its attempts, so that a failure is its own.
        ticks.tick().await;
        let more = stack.place_all(&format!("good-{}", good.len()), &[Fate::Completes; 4]).await;
        stack.closed(&more).await;
        good.extend(more);
        (stack.raw.messages("ORDERS_PARKED").await > 0).then_some(())
    })
    .await;
    let calls = stack.sandbox.calls_for(&poison, "create").await;
    // A failure right after the outage proves nothing either, so there may be one more.
    let attempts = calls - in_the_outage;
    assert!((5..=6).contains(&attempts), "{attempts} attempts, {in_the_outage} in the outage");
    assert!(good.len() >= 100);
    assert_eq!(phases(&mut keys).await, Vec::<String>::new(), "nobody doubts because of it");
    let parked = stack.history().await.parked;
    assert_eq!(parked.len(), 1);
    let parked: Value = serde_json::from_slice(&parked[0].payload).expect("JSON");
    assert_eq!(parked["reason"], "attempts-used-up");
    assert_eq!(parked["subject"], "orders.inventory.poison-0");
    stack.quiet().await;
    stack.check().await;
}

#[tokio::test]
async fn h41_two_hundred_payments_that_stay_processing_delay_no_good_order() {
    let stack = stack_with(2).await;
    let (mut slow, mut among) = (Vec::new(), Vec::new());
    for at in 0..200 {
        let id = saga(&format!("slow-{at}"));
        let mut order = order(Fate::Completes, at);
        order.payment_method = "pm_card_processing".parse().expect("a reference");
        stack.place(&id, &order).await.expect("a new order");
        slow.push(id);
        if at % 40 == 20 {
            among.extend(stack.place_all(&format!("among-{at}"), &[Fate::Completes; 2]).await);
        }
    }
    stack.closed(&among).await;
    let behind = stack.place_all("behind", &[Fate::Completes; 10]).await;
    stack.closed(&behind).await;
    for id in &slow {
        assert_eq!(holds(&stack, id, "payment").await, None, "{id} is processing");
    }
    assert_nobody_doubted(&stack);
    assert_eq!(stack.raw.messages("ORDERS_PARKED").await, 0);
}

/// The service fails for the first three hundred that wait, one after the other, which looks like
/// an outage: only what comes after them says otherwise.
#[tokio::test]
async fn h41_three_hundred_orders_that_always_fail_keep_no_good_one_waiting() {
    let stack = stack_with(2).await;
    let mut failing = Vec::new();
    for at in 0..300 {
        let id = saga(&format!("fails-{at}"));
        let mut order = order(Fate::Completes, at);
        order.payment_method = "pm_card_broken500".parse().expect("a reference");
        stack.place(&id, &order).await.expect("a new order");
        failing.push(id);
    }
    let mut good = Vec::new();
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    while good.len() < 80 {
        ticks.tick().await;
        good.extend(stack.place_all(&format!("good-{}", good.len()), &[Fate::Completes]).await);
    }
    stack.closed(&good).await;
    for id in &failing {
        assert_eq!(holds(&stack, id, "payment").await, None, "{id} was never answered");
    }
}
