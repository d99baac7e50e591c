//! An order whose time is over is taken back, unless it has passed its pivot. No outage is a reason
//! to end one.

use futures::future::join_all;
use quadrille::SagaId;
use quadrille::broker::Broker;
use rstest::rstest;
use schemas::order_fulfilment::FLOW;
use serde_json::json;
use tests::eventually::eventually;
use tests::stack::{Armed, Fate, Launch, Stack, order};
use tokio::time::Instant;

use crate::by_hand::{effects, holds, saga};
use crate::cancels::races;

/// The closing worker, with another deadline.
fn within(deadline: &str) -> Launch {
    Launch::of("complete-order").env("QUADRILLE_DEADLINE__SAGA", deadline)
}

async fn comes(stack: &Stack, id: &SagaId, slot: &'static str) -> String {
    eventually(&format!("{slot} of {id} is written"), async || holds(stack, id, slot).await).await
}

#[rstest]
#[case::unpaid("charge-customer", "payment", "payment.refused.v1")]
#[case::unsent("ship-order", "pivot", "order.stop.v1")]
#[tokio::test]
async fn h36_a_deadline_that_passed_while_everything_was_stopped_is_found_at_the_start(
    #[case] missing: &'static str,
    #[case] slot: &'static str,
    #[case] refusal: &str,
) {
    let mut stack = Stack::bare().await;
    let before: Vec<_> = FLOW.steps.iter().map(|row| row.worker).collect();
    for worker in before.iter().filter(|worker| **worker != missing) {
        let launch = if *worker == "complete-order" { within("1h") } else { Launch::of(worker) };
        stack.start(launch).await;
    }
    stack.fill_stock().await;
    let ids = stack.place_all("late", &[Fate::Completes; 3]).await;
    let last = if missing == "ship-order" { "payment" } else { "inventory" };
    for id in &ids {
        comes(&stack, id, last).await;
    }
    // Everything is stopped over the deadline, which was an hour when the orders came.
    stack.workers.clear();
    for worker in before.iter().filter(|worker| **worker != missing) {
        let launch = if *worker == "complete-order" { within("10ms") } else { Launch::of(worker) };
        stack.start(launch).await;
    }
    for id in &ids {
        assert_eq!(comes(&stack, id, slot).await, refusal);
        comes(&stack, id, FLOW.turns.slot).await;
        if missing == "charge-customer" {
            let closed = holds(&stack, id, "closed").await;
            assert_eq!(closed, None, "it reads cancelled while charge-customer may have acted");
        }
    }
    stack.start(Launch::of(missing)).await;
    stack.closed(&ids).await;
    stack.quiet().await;
    stack.check().await;
    for id in &ids {
        assert_eq!(holds(&stack, id, "closed").await.as_deref(), Some("order.cancelled.v1"));
        assert_eq!(stack.sandbox.balance(id).await, 0);
    }
}

#[tokio::test]
async fn h36_what_a_lost_replica_held_is_over_before_what_is_due_later() {
    let mut stack = Stack::bare().await;
    for worker in ["reserve-inventory", "ship-order"] {
        stack.start(Launch::of(worker)).await;
    }
    stack.fill_stock().await;
    let held = async |stack: &Stack, count: u64| {
        let durable = || stack.raw.durable("ORDERS", "complete-order-deadline");
        eventually("the deadline's readers hold them", async || {
            (durable().await["num_ack_pending"].as_u64() == Some(count)).then_some(())
        })
        .await;
    };
    let mut first = stack.launcher().launch(&within("8s"));
    first.ready().await.unwrap();
    let mut ids = stack.place_all("first", &[Fate::Completes]).await;
    held(&stack, 1).await;
    stack.start(within("8s")).await;
    ids.extend(stack.place_all("second", &[Fate::Completes]).await);
    held(&stack, 2).await;
    first.kill();
    for id in &ids {
        assert_eq!(comes(&stack, id, "payment").await, "payment.refused.v1");
    }
    let refused = async |id: &SagaId| {
        let slot = format!("orders.payment.{id}");
        stack.broker.last(FLOW.stream, &slot).await.unwrap().unwrap().sequence
    };
    assert!(refused(&ids[0]).await < refused(&ids[1]).await, "the later one was over first");
    stack.start(Launch::of("charge-customer")).await;
    stack.closed(&ids).await;
    stack.quiet().await;
    stack.check().await;
}

#[tokio::test]
async fn h06_a_charge_that_was_never_recorded_is_refunded_once_its_time_is_over() {
    let mut stack = Stack::bare().await;
    for worker in ["reserve-inventory", "ship-order"] {
        stack.start(Launch::of(worker)).await;
    }
    stack.start(within("2s")).await;
    stack.fill_stock().await;
    let armed = Armed::at(&stack, "charged", "run.after-effect");
    let mut first = stack.launcher().launch(&armed.kills("charge-customer"));
    let ids = stack.place_all("overdue", &[Fate::Completes]).await;
    first.ended().await;
    assert!(armed.reached());
    assert_eq!(comes(&stack, &ids[0], "payment").await, "payment.refused.v1");
    assert_eq!(stack.sandbox.balance(&ids[0]).await, 960);
    stack.start(Launch::of("charge-customer")).await;
    stack.closed(&ids).await;
    stack.quiet().await;
    stack.check().await;
    assert_eq!(effects(&stack, &ids[0], "refunded").await, 1);
}

#[tokio::test]
async fn h08_an_order_turns_around_though_its_deadline_died_before_the_signal() {
    let mut stack = Stack::bare().await;
    for worker in ["reserve-inventory", "ship-order"] {
        stack.start(Launch::of(worker)).await;
    }
    stack.fill_stock().await;
    let ids = stack.place_all("mute", &[Fate::Completes]).await;
    comes(&stack, &ids[0], "inventory").await;
    let armed = Armed::at(&stack, "ends", "undo.after-commit");
    let dies = armed.kills("complete-order").env("QUADRILLE_DEADLINE__SAGA", "10ms");
    let mut dying = stack.launcher().launch(&dies);
    dying.ended().await;
    assert!(armed.reached());
    assert_eq!(holds(&stack, &ids[0], "refused").await, None);
    // Another deadline does not matter: the refusal is in the log, and its message comes again.
    stack.start(within("10ms")).await;
    stack.start(Launch::of("charge-customer")).await;
    stack.closed(&ids).await;
    stack.quiet().await;
    stack.check().await;
}

/// Nobody else would give it: the message of the step behind the pivot may have been set aside.
#[tokio::test]
async fn h08_an_order_that_a_deadline_stopped_turns_around_though_it_died_before_the_signal() {
    let mut stack = Stack::bare().await;
    for worker in ["reserve-inventory", "charge-customer"] {
        stack.start(Launch::of(worker)).await;
    }
    stack.fill_stock().await;
    let ids = stack.place_all("stopped", &[Fate::Completes]).await;
    comes(&stack, &ids[0], "payment").await;
    let armed = Armed::at(&stack, "ends", "undo.after-commit");
    let dies = armed.kills("complete-order").env("QUADRILLE_DEADLINE__SAGA", "10ms");
    let mut dying = stack.launcher().launch(&dies);
    dying.ended().await;
    assert_eq!(holds(&stack, &ids[0], "pivot").await.as_deref(), Some("order.stop.v1"));
    assert_eq!(holds(&stack, &ids[0], "refused").await, None);
    stack.start(within("10ms")).await;
    stack.closed(&ids).await;
    stack.start(Launch::of("ship-order")).await;
    stack.quiet().await;
    stack.check().await;
}

#[tokio::test]
async fn h23_a_charge_whose_answer_is_lost_is_refunded_once_if_the_deadline_wins() {
    let mut stack = Stack::bare().await;
    stack.start_others("complete-order").await;
    stack.fill_stock().await;
    // Whatever it looks up is lost, too, so that no second attempt finds out.
    let operations = ["confirm", "search", "retrieve"];
    let lost = json!({ "operations": operations, "drop_reply_rate": 1 });
    stack.sandbox.set_faults("payment", &lost).await;
    let ids = stack.place_all("unheard", &[Fate::Completes; 2]).await;
    for id in &ids {
        eventually("the money is taken", async || {
            (stack.sandbox.balance(id).await == 960).then_some(())
        })
        .await;
    }
    // Before so many attempts fail that the gateway counts as away, which ends no order.
    stack.worker("charge-customer").pause();
    stack.start(within("10ms")).await;
    for id in &ids {
        assert_eq!(comes(&stack, id, "payment").await, "payment.refused.v1");
    }
    stack.sandbox.clear_faults().await;
    stack.worker("charge-customer").resume();
    stack.closed(&ids).await;
    stack.quiet().await;
    stack.check().await;
    for id in &ids {
        assert_eq!(effects(&stack, id, "refunded").await, 1);
    }
}

#[tokio::test]
async fn h39_an_outage_of_many_deadlines_ends_no_order() {
    let mut stack = Stack::bare().await;
    stack.start_others("complete-order").await;
    stack.fill_stock().await;
    stack.sandbox.set_faults("payment", &json!({ "error_rate": 1 })).await;
    let ids = stack.place_all("patient", &[Fate::Completes; 20]).await;
    let paused = async || {
        let key = quadrille::broker::Broker::entry(&stack.broker, "breakers", "payment-gateway");
        let key = key.await.ok()??;
        let value: serde_json::Value = serde_json::from_slice(&key.value).ok()?;
        (value["phase"] == "paused").then_some(())
    };
    eventually("the fleet pauses", paused).await;
    stack.start(within("10ms")).await;
    eventually("every order is overdue", async || {
        let durable = stack.raw.durable("ORDERS", "complete-order-deadline").await;
        (durable["num_ack_pending"].as_u64() == Some(20)).then_some(())
    })
    .await;
    stack.sandbox.clear_faults().await;
    stack.closed(&ids).await;
    stack.quiet().await;
    stack.check().await;
    for id in &ids {
        assert_eq!(holds(&stack, id, "closed").await.as_deref(), Some("order.completed.v1"));
    }
}

#[tokio::test]
async fn h36_a_deadline_and_a_late_success_have_one_outcome() {
    let mut stack = Stack::bare().await;
    stack.start_others("complete-order").await;
    stack.start(within("1h")).await;
    stack.fill_stock().await;
    // Longer than an order takes by itself, so that the charge decides who is first.
    let unhurried = join_all((0..LANES).map(|lane| longest(&stack, lane))).await;
    let deadline = unhurried.into_iter().max().unwrap() * 3;
    stack.worker("complete-order").kill();
    stack.start(within(&format!("{deadline}ms"))).await;
    let count = races();
    let raced = (0..LANES).map(|lane| race_the_deadline(&stack, lane, count / LANES, deadline));
    let raced = join_all(raced).await;
    stack.quiet().await;
    // Nothing is left charged, and no order reads cancelled while money is held.
    stack.check().await;
    let ended: usize = raced.iter().sum();
    println!("the deadline ended {ended} of {count}");
    let often = count / 20;
    assert!(ended >= often && count - ended >= often, "ended {ended} of {count}");
}

/// Orders at once in a race.
const LANES: usize = 4;

/// The longest that one of some orders took, in milliseconds.
async fn longest(stack: &Stack, lane: usize) -> u64 {
    let mut longest = 10;
    for at in 0..3 {
        let id = saga(&format!("unhurried-{lane}-{at}"));
        let began = Instant::now();
        stack.place(&id, &order(Fate::Completes, at)).await.unwrap();
        comes(stack, &id, "closed").await;
        longest = longest.max(u64::try_from(began.elapsed().as_millis()).unwrap());
    }
    longest
}

/// Charges that take about as long as the deadline; how many orders it ended.
async fn race_the_deadline(stack: &Stack, lane: usize, count: usize, deadline: u64) -> usize {
    let (mut ended, mut latency) = (0, deadline / 3);
    for at in 0..count {
        let id = saga(&format!("race-{lane}-{at}"));
        let slow = json!({ "operations": ["confirm"], "latency_ms": latency });
        stack.sandbox.set_faults("payment", &slow).await;
        stack.place(&id, &order(Fate::Completes, at)).await.unwrap();
        let ending = comes(stack, &id, "closed").await;
        if ending == "order.cancelled.v1" {
            ended += 1;
            assert_eq!(stack.sandbox.balance(&id).await, 0, "{id} reads cancelled too early");
            latency = (latency * 17 / 20).max(1);
        } else {
            latency = (latency * 6 / 5 + 1).min(deadline * 5);
        }
    }
    ended
}
