//! Once an order reads cancelled, nothing that comes late takes effect.

use std::time::Duration;

use quadrille::SagaId;
use schemas::order_fulfilment::FLOW;
use serde_json::{Value, json};
use tests::eventually::eventually;
use tests::stack::{Fate, Launch, Stack, order};
use tokio::time::{Instant, interval};

use crate::by_hand::{effects, holds, refuse, saga};
use crate::crashes::Mortal;

/// How late the gateway carries out a request.
const LATE: Duration = Duration::from_secs(5);

/// An order whose charge is under way at the gateway, and which is refused on the worker's behalf.
async fn refused_while_the_charge_is_in_flight(stack: &Stack) -> SagaId {
    let late = json!({
        "operations": ["confirm"], "times": 1, "commit_late_ms": LATE.as_millis() as u64,
    });
    stack.sandbox.set_faults("payment", &late).await;
    let ids = stack.place_all("late", &[Fate::Completes]).await;
    eventually("the charge is in flight", async || {
        (stack.sandbox.calls_for(&ids[0], "confirm").await > 0).then_some(())
    })
    .await;
    refuse(stack, &ids[0], "charge-customer").await;
    saga("late-0")
}

/// Looks until the late charge must have arrived: whenever the order reads cancelled, no money is
/// held.
async fn assert_no_money_is_held_once_it_reads_cancelled(stack: &Stack, id: &SagaId) {
    let end = Instant::now() + LATE + Duration::from_secs(1);
    let mut looks = interval(Duration::from_millis(50));
    while Instant::now() < end {
        looks.tick().await;
        if holds(stack, id, "closed").await.is_some() {
            assert_eq!(stack.sandbox.balance(id).await, 0, "{}", stack.story(id).await);
        }
    }
    stack.closed(std::slice::from_ref(id)).await;
    assert_eq!(holds(stack, id, "closed").await.as_deref(), Some("order.cancelled.v1"));
    assert_eq!(stack.sandbox.balance(id).await, 0);
    assert_eq!(effects(stack, id, "captured").await, effects(stack, id, "refunded").await);
}

#[tokio::test]
async fn h24_a_charge_that_comes_late_is_not_kept() {
    let stack = Stack::running(1).await;
    let id = refused_while_the_charge_is_in_flight(&stack).await;
    assert_no_money_is_held_once_it_reads_cancelled(&stack, &id).await;
    stack.quiet().await;
    stack.check().await;
}

#[tokio::test]
async fn h24_a_charge_that_comes_late_is_not_kept_though_whoever_asked_for_it_is_dead() {
    let mut stack = Stack::running(1).await;
    let id = refused_while_the_charge_is_in_flight(&stack).await;
    stack.worker("charge-customer").kill();
    stack.start(Launch::of("charge-customer")).await;
    assert_no_money_is_held_once_it_reads_cancelled(&stack, &id).await;
    stack.quiet().await;
    stack.check().await;
}

#[tokio::test]
async fn h25_a_hold_that_comes_after_its_undo_is_not_made() {
    let mut stack = Stack::bare().await;
    stack.start_others("reserve-inventory").await;
    // The worker that makes the late hold dies before it can take it back.
    let _inventory = Mortal::at_each(&stack, "late", "reserve-inventory", &["run.after-effect"]);
    stack.fill_stock().await;
    let before = stack.free_stock().await;
    let pause = format!("CONSUMER.PAUSE.{}.reserve-inventory", FLOW.stream);
    stack.raw.api(&pause, json!({ "pause_until": "2100-01-01T00:00:00Z" })).await.unwrap();
    eventually("nothing is delivered forward", async || {
        let info = stack.raw.durable(FLOW.stream, "reserve-inventory").await;
        (info["paused"] == true).then_some(())
    })
    .await;
    let ids = stack.place_all("late", &[Fate::Completes]).await;
    refuse(&stack, &ids[0], "reserve-inventory").await;
    stack.closed(&ids).await;
    let info = stack.raw.durable(FLOW.stream, "reserve-inventory").await;
    assert_eq!(info["num_pending"], 1, "the order was delivered too early");
    stack.raw.api(&pause, Value::Null).await.unwrap();
    stack.quiet().await;
    stack.check().await;
    assert_eq!(holds(&stack, &ids[0], "closed").await.as_deref(), Some("order.cancelled.v1"));
    assert_eq!(stack.free_stock().await, before);
    assert_eq!(stack.hold(&ids[0]).await.unwrap()["released"], true);
}

#[tokio::test]
async fn h25_a_run_behind_a_fence_waits_until_it_sees_why() {
    let mut stack = Stack::running(1).await;
    let id = saga("fenced");
    // As an old leader shows it: the fence is there, and the refusal before it is not yet.
    let fence = json!({ "pieces": [], "released": true }).to_string();
    stack.raw.publish(&format!("stock.hold.{id}"), &[], &fence).await.unwrap();
    stack.place(&id, &order(Fate::Completes, 0)).await.unwrap();
    eventually("it looks again", async || {
        let said = stack.worker("reserve-inventory").said();
        let looks = |line: &str| line.contains("fenced off") && line.contains("\"attempt\":2");
        said.lines().any(looks).then_some(())
    })
    .await;
    refuse(&stack, &id, "reserve-inventory").await;
    stack.closed(std::slice::from_ref(&id)).await;
    assert_eq!(holds(&stack, &id, "closed").await.as_deref(), Some("order.cancelled.v1"));
    assert_eq!(stack.raw.messages("ORDERS_PARKED").await, 0);
    stack.quiet().await;
    stack.check().await;
}
