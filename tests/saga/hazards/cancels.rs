//! An order that is cancelled is taken back whole, or it is too late and goes on.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use quadrille::SagaId;
use quadrille::broker::{Broker, Published};
use schemas::order_fulfilment::FLOW;
use serde_json::json;
use tests::eventually::eventually;
use tests::stack::{Armed, Fate, Launch, Stack, order};

use crate::by_hand::{effects, holds, saga};
use crate::outages::{charging, until_phase};

/// Orders that a cancellation and the pivot race for.
const RACES: usize = 100;

/// `QUADRILLE_TEST_RACES`, for the long form of a race.
pub(crate) fn races() -> usize {
    #[expect(clippy::disallowed_methods, reason = "a test's own environment")]
    std::env::var("QUADRILLE_TEST_RACES").ok().and_then(|count| count.parse().ok()).unwrap_or(RACES)
}

/// As a stock client does: `nats pub orders.cancel.A1 ''`.
async fn cancel(stack: &Stack, id: &SagaId, body: &str) {
    let sent = stack.raw.publish(&format!("orders.cancel.{id}"), &[], body).await;
    sent.unwrap_or_else(|error| panic!("{id}: {error:?}"));
}

async fn cancel_with_bytes(stack: &Stack, id: &SagaId, body: &Bytes) {
    let sent = stack.broker.publish(&format!("orders.cancel.{id}"), body.clone()).await;
    assert!(matches!(sent, Published::Stored { .. }), "{id}: {sent:?}");
}

async fn ending(stack: &Stack, id: &SagaId) -> String {
    holds(stack, id, "closed").await.unwrap_or_default()
}

async fn refused_because(stack: &Stack, id: &SagaId) -> String {
    let subject = format!("orders.cancel-refused.{id}");
    eventually(&format!("{subject} is written"), async || {
        let stored = stack.broker.last(FLOW.stream, &subject).await.ok()??;
        let event: serde_json::Value = serde_json::from_slice(&stored.payload).ok()?;
        event["data"]["reason"].as_str().map(str::to_owned)
    })
    .await
}

/// Some of them in a worker's hand, some still at the server.
#[tokio::test]
async fn no_customer_is_charged_who_cancelled_while_the_gateway_was_away() {
    let mut stack = Stack::bare().await;
    stack.start_others("charge-customer").await;
    stack.start(charging().env("QUADRILLE_WORKER__READ_AFTER", "100ms")).await;
    stack.fill_stock().await;
    stack.sandbox.set_faults("payment", &json!({ "error_rate": 1 })).await;
    let mut ids = stack.place_all("held", &[Fate::Completes; 4]).await;
    until_phase(&stack, "paused").await;
    ids.extend(stack.place_all("waiting", &[Fate::Completes; 4]).await);
    for id in &ids {
        eventually(&format!("{id} has its pieces"), async || holds(&stack, id, "inventory").await)
            .await;
        cancel(&stack, id, "").await;
    }
    for id in &ids {
        eventually(&format!("the payment of {id} is refused"), async || {
            holds(&stack, id, "payment").await
        })
        .await;
    }
    stack.sandbox.set_faults("payment", &json!({ "error_rate": 0 })).await;
    stack.closed(&ids).await;
    for id in &ids {
        assert_eq!(effects(&stack, id, "captured").await, 0, "{id}");
        assert_eq!(ending(&stack, id).await, "order.cancelled.v1");
    }
    stack.check().await;
}

#[tokio::test]
async fn h06_a_charge_that_was_never_recorded_is_refunded_once_its_order_is_cancelled() {
    let mut stack = Stack::bare().await;
    stack.start_others("charge-customer").await;
    stack.fill_stock().await;
    let armed = Armed::at(&stack, "charged", "run.after-effect");
    let mut first = stack.launcher().launch(&armed.kills("charge-customer"));
    let ids = stack.place_all("taken", &[Fate::Completes]).await;
    first.ended().await;
    assert_eq!(stack.sandbox.balance(&ids[0]).await, 960);
    cancel(&stack, &ids[0], "").await;
    let refusal =
        eventually("the step is refused", async || holds(&stack, &ids[0], "payment").await).await;
    assert_eq!(refusal, "payment.refused.v1");
    assert_eq!(ending(&stack, &ids[0]).await, "", "money is still held");
    stack.start(Launch::of("charge-customer")).await;
    stack.closed(&ids).await;
    stack.quiet().await;
    stack.check().await;
    assert_eq!(ending(&stack, &ids[0]).await, "order.cancelled.v1");
    assert_eq!(effects(&stack, &ids[0], "refunded").await, 1);
}

#[tokio::test]
async fn h08_an_order_turns_around_though_its_canceller_died_before_the_signal() {
    let mut stack = Stack::bare().await;
    stack.start_others("complete-order").await;
    stack.fill_stock().await;
    // The carrier is away, so that the pivot is open.
    stack.sandbox.set_faults("payment", &json!({ "hang_rate": 1 })).await;
    let armed = Armed::at(&stack, "cancels", "undo.after-commit");
    let mut canceller = stack.launcher().launch(&armed.kills("complete-order"));
    canceller.ready().await.unwrap();
    let ids = stack.place_all("mute", &[Fate::Completes]).await;
    eventually("the charge is in flight", async || {
        (stack.sandbox.calls_for(&ids[0], "create").await > 0).then_some(())
    })
    .await;
    cancel(&stack, &ids[0], "").await;
    canceller.ended().await;
    assert!(armed.reached());
    assert_eq!(holds(&stack, &ids[0], "payment").await.as_deref(), Some("payment.refused.v1"));
    stack.sandbox.clear_faults().await;
    stack.start(Launch::of("complete-order")).await;
    stack.closed(&ids).await;
    stack.quiet().await;
    stack.check().await;
}

#[tokio::test]
async fn h23_a_charge_whose_answer_is_lost_is_refunded_once_if_the_cancellation_wins() {
    let mut stack = Stack::running(1).await;
    // Whatever it looks up is lost, too, so that no second attempt finds out.
    let operations = ["confirm", "search", "retrieve"];
    let lost = json!({ "operations": operations, "drop_reply_rate": 1 });
    stack.sandbox.set_faults("payment", &lost).await;
    let ids = stack.place_all("unheard", &[Fate::Completes; 3]).await;
    for id in &ids {
        eventually("the money is taken", async || {
            (stack.sandbox.balance(id).await == 960).then_some(())
        })
        .await;
        assert_eq!(holds(&stack, id, "payment").await, None, "the answer was heard");
        cancel(&stack, id, r#"{"by":"ann","reason":"ordered twice"}"#).await;
    }
    let refused = async |id| {
        eventually("the step is refused", async || holds(&stack, id, "payment").await).await
    };
    for id in &ids {
        assert_eq!(refused(id).await, "payment.refused.v1");
    }
    stack.sandbox.clear_faults().await;
    stack.closed(&ids).await;
    stack.quiet().await;
    stack.check().await;
    for id in &ids {
        assert_eq!(ending(&stack, id).await, "order.cancelled.v1");
        assert_eq!(effects(&stack, id, "refunded").await, 1);
    }
    stack.worker("charge-customer").kill();
}

#[tokio::test]
async fn h30_a_cancellation_that_races_the_pivot_stops_the_order_or_comes_too_late() {
    let stack = Stack::running(2).await;
    let count = races();
    let lanes = 4;
    let raced = join_all((0..lanes).map(|lane| race_to_the_pivot(&stack, lane, count / lanes)));
    let raced = raced.await;
    stack.quiet().await;
    // A parcel goes if and only if the order is completed, and money is held for those alone.
    stack.check().await;
    let stopped: usize = raced.iter().sum();
    println!("the cancellation stopped {stopped} of {count}");
    let often = count / 20;
    assert!(stopped >= often && count - stopped >= often, "stopped {stopped} of {count}");
}

/// Cancels one order after the other at about the time at which ship-order takes it; how many were
/// stopped. How long that takes depends on the machine, so each race says where the next one
/// begins, in steps that become smaller each time the other side wins.
async fn race_to_the_pivot(stack: &Stack, lane: usize, count: usize) -> usize {
    let (mut stopped, mut delay, mut step) = (0, Duration::from_millis(4), 2.0_f64);
    let mut before = None;
    for at in 0..count {
        let id = saga(&format!("race-{lane}-{at}"));
        stack.place(&id, &order(Fate::Completes, at)).await.unwrap();
        tokio::time::sleep(delay.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
        cancel(stack, &id, "").await;
        let ending = eventually("the order ends", async || holds(stack, &id, "closed").await).await;
        let was_stopped = match ending.as_str() {
            "order.cancelled.v1" => true,
            "order.completed.v1" => {
                assert_eq!(refused_because(stack, &id).await, "too-late", "{id}");
                false
            }
            other => panic!("{id}: {other}"),
        };
        if before.is_some_and(|before| before != was_stopped) {
            step = step.sqrt().max(1.15);
        }
        before = Some(was_stopped);
        stopped += usize::from(was_stopped);
        delay = delay.mul_f64(if was_stopped { step } else { 1.0 / step });
    }
    stopped
}

#[tokio::test]
async fn whatever_a_wish_says_it_does_what_an_empty_one_does() {
    let mut stack = Stack::bare().await;
    for worker in ["reserve-inventory", "complete-order"] {
        stack.start(Launch::of(worker)).await;
    }
    stack.fill_stock().await;
    let free = stack.free_stock().await;
    let bodies: [Bytes; 7] = [
        Bytes::new(),
        "null".into(),
        Bytes::from_static(b"\xff\xfe\x00"),
        "[".repeat(60_000).into(),
        Bytes::from(vec![b'x'; 60_000]),
        json!({ "specversion": "1.0", "id": "a".repeat(60_000), "type": "order.go.v1",
            "source": "ship-order", "subject": "other", "data": {} })
        .to_string()
        .into(),
        json!({ "by": "a\u{202e}\n".repeat(5_000), "reason": 1 }).to_string().into(),
    ];
    let ids: Vec<_> = (0..bodies.len()).map(|at| saga(&format!("junk-{at}"))).collect();
    for (at, id) in ids.iter().enumerate() {
        stack.place(id, &order(Fate::Completes, at)).await.unwrap();
    }
    for id in &ids {
        eventually("the stock is held", async || holds(&stack, id, "inventory").await).await;
    }
    join_all(ids.iter().zip(&bodies).map(|(id, body)| cancel_with_bytes(&stack, id, body))).await;
    for worker in ["charge-customer", "ship-order"] {
        stack.start(Launch::of(worker)).await;
    }
    stack.closed(&ids).await;
    stack.quiet().await;
    stack.check().await;
    for id in &ids {
        assert_eq!(ending(&stack, id).await, "order.cancelled.v1", "{id}");
    }
    assert_eq!(stack.free_stock().await, free);
}

#[tokio::test]
async fn a_wish_waits_for_its_order_and_one_that_came_in_vain_may_be_asked_again() {
    let mut stack = Stack::bare().await;
    for worker in ["reserve-inventory", "charge-customer", "ship-order"] {
        stack.start(Launch::of(worker)).await;
    }
    stack.fill_stock().await;
    let impatient = Launch::of("complete-order").env("QUADRILLE_WORKER__CANCEL_WAIT", "3s");
    stack.start(impatient).await;
    let (early, never) = (saga("early"), saga("never"));
    cancel(&stack, &early, "").await;
    cancel(&stack, &never, "").await;
    eventually("both wishes have come before their orders", async || {
        let info = stack.raw.durable(FLOW.stream, &FLOW.cancel_durable()).await;
        (info["delivered"]["consumer_seq"].as_u64() >= Some(3)).then_some(())
    })
    .await;
    stack.sandbox.set_faults("payment", &json!({ "hang_rate": 1 })).await;
    stack.place(&early, &order(Fate::Completes, 0)).await.unwrap();
    eventually("the early wish turned its order", async || holds(&stack, &early, "refused").await)
        .await;
    assert_eq!(refused_because(&stack, &never).await, "not-found");
    stack.place(&never, &order(Fate::Completes, 1)).await.unwrap();
    eventually("the charge is in flight", async || {
        (stack.sandbox.calls_for(&never, "create").await > 0).then_some(())
    })
    .await;
    // The slot of the first wish is used.
    let again = stack.raw.publish("orders.cancel.never", &[], "").await;
    again.expect_err("a slot is written once");
    let released = FLOW.released(&FLOW.cancel_durable(), &never);
    stack.raw.publish(&released, &[], "").await.unwrap();
    eventually("it is turned around", async || holds(&stack, &never, "refused").await).await;
    stack.sandbox.clear_faults().await;
    stack.closed(&[early, never]).await;
    stack.quiet().await;
    stack.check().await;
}
