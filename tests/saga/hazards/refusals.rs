//! A refusal turns an order around, and nothing else does.

use quadrille::SagaId;
use schemas::order_fulfilment::FLOW;
use serde_json::json;
use tests::eventually::eventually;
use tests::invariants::{self, Rule};
use tests::stack::{Armed, Fate, Launch, Stack};

use crate::by_hand::{
    CLOSING, caused_by, effects, holds, refuse, refuse_without_signal, saga, write,
};

#[tokio::test]
async fn h06_a_step_refused_by_somebody_else_is_undone_for_it_may_have_acted() {
    let mut stack = Stack::bare().await;
    stack.start_others("charge-customer").await;
    stack.fill_stock().await;
    let armed = Armed::at(&stack, "charged", "run.after-effect");
    let mut first = stack.launcher().launch(&armed.kills("charge-customer"));
    let ids = stack.place_all("overdue", &[Fate::Completes]).await;
    // The money is taken, but the worker dies before it has told anyone.
    first.ended().await;
    assert!(armed.reached());
    assert_eq!(stack.sandbox.balance(&ids[0]).await, 960);
    refuse(&stack, &ids[0], "charge-customer").await;
    stack.start(Launch::of("charge-customer")).await;
    stack.closed(&ids).await;
    assert_eq!(stack.sandbox.balance(&ids[0]).await, 0);
    stack.quiet().await;
    stack.check().await;
    assert_eq!(holds(&stack, &ids[0], "closed").await.as_deref(), Some("order.cancelled.v1"));
    assert_eq!(effects(&stack, &ids[0], "refunded").await, 1);
}

#[tokio::test]
async fn h08_an_order_turns_around_though_its_refuser_died_before_the_signal() {
    let mut stack = Stack::bare().await;
    stack.start(Launch::of("complete-order")).await;
    let refusers = [
        ("reserve-inventory", Fate::OutOfStock),
        ("charge-customer", Fate::Declined),
        ("ship-order", Fate::NoCarrier),
    ];
    for (worker, fate) in refusers {
        let armed = Armed::at(&stack, worker, "run.after-commit");
        let mut refuser = stack.launcher().launch(&armed.kills(worker));
        refuser.ready().await.unwrap();
        if worker == "reserve-inventory" {
            stack.fill_stock().await;
        }
        let ids = stack.place_all(worker, &[fate]).await;
        refuser.ended().await;
        assert!(armed.reached());
        assert_eq!(holds(&stack, &ids[0], "refused").await, None, "{worker} signalled too early");
        stack.start(Launch::of(worker)).await;
        if worker == "ship-order" {
            stack.closed(&ids).await;
        } else {
            eventually(&format!("the refusal of {worker} is signalled"), async || {
                holds(&stack, &ids[0], "refused").await
            })
            .await;
        }
    }
    let ids = refusers.map(|(worker, _)| saga(&format!("{worker}-0")));
    stack.closed(&ids).await;
    stack.quiet().await;
    stack.check().await;
}

#[tokio::test]
async fn h08_a_worker_that_loses_to_a_refusal_makes_sure_of_its_signal() {
    let mut stack = Stack::running(1).await;
    let slow = json!({ "operations": ["confirm"], "latency_ms": 1_000 });
    stack.sandbox.set_faults("payment", &slow).await;
    // In flight: the worker's own decision loses.
    let ids = stack.place_all("lost", &[Fate::Completes]).await;
    eventually("the charge is in flight", async || {
        (stack.sandbox.calls_for(&ids[0], "confirm").await > 0).then_some(())
    })
    .await;
    refuse_without_signal(&stack, &ids[0], "charge-customer").await;
    stack.closed(&ids).await;
    assert_eq!(stack.sandbox.balance(&ids[0]).await, 0);
    // Not begun: the worker finds the refusal when the message comes again.
    stack.sandbox.clear_faults().await;
    stack.worker("charge-customer").kill();
    stack.worker("charge-customer").ended().await;
    let armed = Armed::at(&stack, "begun", "run.before-run");
    let mut first = stack.launcher().launch(&armed.kills("charge-customer"));
    let found = stack.place_all("found", &[Fate::Completes]).await;
    first.ended().await;
    refuse_without_signal(&stack, &found[0], "charge-customer").await;
    stack.start(Launch::of("charge-customer")).await;
    stack.closed(&found).await;
    stack.quiet().await;
    stack.check().await;
    assert_eq!(effects(&stack, &found[0], "captured").await, 0);
}

/// Whoever stopped it died before the signal, and does not come back.
#[tokio::test]
async fn h08_a_worker_that_finds_a_stop_makes_sure_of_its_signal() {
    let mut stack = Stack::bare().await;
    stack.start_others("ship-order").await;
    stack.fill_stock().await;
    let ids = stack.place_all("stopped", &[Fate::Completes]).await;
    let cause = caused_by(&stack, &ids[0], "payment").await;
    let stop = ("order.stop.v1", json!({ "reason": "cancelled", "by": "cus_1001" }));
    write(&stack, &ids[0], ("pivot", CLOSING), stop, cause).await;
    stack.start(Launch::of("ship-order")).await;
    stack.closed(&ids).await;
    assert_eq!(stack.sandbox.calls("label").await, 0);
    stack.quiet().await;
    stack.check().await;
}

/// A client that may write where it should not says that the stock was released.
#[tokio::test]
async fn h09_a_stray_undo_cancels_no_order_that_goes_well() {
    let mut stack = Stack::bare().await;
    stack.start_others("charge-customer").await;
    stack.fill_stock().await;
    let ids = stack.place_all("healthy", &[Fate::Completes]).await;
    let cause = caused_by(&stack, &ids[0], "inventory").await;
    let released = ("inventory.released.v1", json!({}));
    write(&stack, &ids[0], ("inventory-undo", "reserve-inventory"), released, cause).await;
    eventually("the closing worker has looked at it twice", async || {
        let info = stack.raw.durable(FLOW.stream, "complete-order-closing").await;
        (info["delivered"]["consumer_seq"].as_u64() >= Some(2)).then_some(())
    })
    .await;
    assert_eq!(holds(&stack, &ids[0], "closed").await, None);
    stack.start(Launch::of("charge-customer")).await;
    stack.closed(&ids).await;
    assert_eq!(holds(&stack, &ids[0], "closed").await.as_deref(), Some("order.completed.v1"));
}

#[tokio::test]
async fn h08_an_order_turns_around_though_its_own_effect_cannot_be_taken_back_yet() {
    let stack = Stack::running(1).await;
    let slow = json!({ "operations": ["confirm"], "latency_ms": 1_000 });
    stack.sandbox.set_faults("payment", &slow).await;
    let ids = stack.place_all("stuck", &[Fate::Completes]).await;
    eventually("the charge is in flight", async || {
        (stack.sandbox.calls_for(&ids[0], "confirm").await > 0).then_some(())
    })
    .await;
    // Nobody can refund for now, and this worker alone knows that the order is refused.
    let fails = json!({ "operations": ["refund", "cancel"], "error_rate": 1 });
    stack.sandbox.set_faults("payment", &fails).await;
    refuse_without_signal(&stack, &ids[0], "charge-customer").await;
    eventually("the signal is given", async || holds(&stack, &ids[0], "refused").await).await;
    assert_eq!(holds(&stack, &ids[0], "payment-undo").await, None);
    stack.sandbox.clear_faults().await;
    stack.closed(&ids).await;
    assert_eq!(stack.sandbox.balance(&ids[0]).await, 0);
    stack.quiet().await;
    stack.check().await;
}

#[tokio::test]
async fn h09_eleven_thousand_forged_signals_hinder_no_real_refusal() {
    let stack = Stack::running(1).await;
    let client = stack.client();
    for at in 0..11_000 {
        client.publish(format!("orders.refused.never{at}"), "{}".into()).await.unwrap();
    }
    client.flush().await.unwrap();
    // As many are in flight as the server allows a forward durable.
    for durable in ["reserve-inventory-undo", "charge-customer-undo"] {
        eventually("they were delivered", async || {
            let info = stack.raw.durable("ORDERS", durable).await;
            (info["num_ack_pending"].as_u64() >= Some(10_000)).then_some(())
        })
        .await;
    }
    let ids = stack.place_all("real", &[Fate::Declined; 4]).await;
    stack.closed(&ids).await;
    for id in &ids {
        assert_eq!(holds(&stack, id, "closed").await.as_deref(), Some("order.cancelled.v1"));
    }
}

#[tokio::test]
async fn h09_a_forged_signal_undoes_nothing_and_hinders_no_real_refusal() {
    let stack = Stack::running(1).await;
    stack.sandbox.set_faults("payment", &json!({ "hang_rate": 1 })).await;
    let ids = stack.place_all("forged", &[Fate::Completes, Fate::Declined]).await;
    // The undo that it wakes must not repeat the id, because with it an event would be too large.
    let long = json!({
        "specversion": "1.0", "id": "a".repeat(65_000), "type": "x", "source": "x", "data": {}
    });
    let bodies = ["no JSON, and no reason".to_owned(), long.to_string()];
    for (id, body) in ids.iter().zip(&bodies) {
        eventually("the charge is in flight", async || {
            (stack.sandbox.calls_for(id, "create").await > 0).then_some(())
        })
        .await;
        let signal = format!("orders.refused.{id}");
        stack.raw.publish(&signal, &[], body).await.unwrap();
    }
    // Both undo workers have looked at both orders, more than once, and found no refusal.
    for durable in ["reserve-inventory-undo", "charge-customer-undo"] {
        eventually(&format!("{durable} looks again"), async || {
            let info = stack.raw.durable("ORDERS", durable).await;
            (info["delivered"]["consumer_seq"].as_u64() >= Some(6)).then_some(())
        })
        .await;
    }
    for id in &ids {
        let story = stack.story(id).await;
        assert!(!story.contains("-undo"), "{story}");
    }
    stack.sandbox.clear_faults().await;
    stack.closed(&ids).await;
    stack.quiet().await;
    let endings = [holds(&stack, &ids[0], "closed").await, holds(&stack, &ids[1], "closed").await];
    let endings = endings.map(Option::unwrap);
    assert_eq!(endings, ["order.completed.v1", "order.cancelled.v1"]);
    // Everything is sound except the two forgeries, and the undo that one of them started.
    let mut found = invariants::check(&stack.history().await);
    let contract =
        |id: &SagaId, what| (Rule::Contract, format!("order {id}: refused: a \"{what}\""));
    let cause =
        |id: &SagaId, slot| (Rule::Cause, format!("order {id}: {slot} has no cause in the log"));
    let mut expected = vec![
        contract(&ids[0], ""),
        contract(&ids[1], "x"),
        cause(&ids[0], "refused"),
        cause(&ids[1], "payment-undo"),
        cause(&ids[1], "refused"),
    ];
    // The next undo is woken by this one, or by the signal when it is delivered again, whichever
    // comes first.
    let (rule, what) = cause(&ids[1], "inventory-undo");
    found.retain(|it| (it.rule, &it.what) != (rule, &what));
    let mut found: Vec<_> = found.into_iter().map(|it| (it.rule, it.what)).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}
