//! A call whose outcome is unknown is repeated under the same idempotency key, and never counts as
//! a refusal.

use serde_json::{Value, json};
use tests::eventually::eventually;
use tests::stack::{Armed, Fate, Launch, Stack};

use crate::by_hand::{caused_by, effects, holds, write};
use crate::causes::{PAYMENT as PAID, charged};

/// Two orders are paid and shipped, the other two get their money back.
const FATES: [Fate; 4] = [Fate::Completes, Fate::NoCarrier, Fate::Completes, Fate::NoCarrier];

/// How many calls of each operation these orders need.
const PAYMENT: [(&str, u64); 3] = [("create", 4), ("confirm", 4), ("refund", 2)];
const CARRIER: (&str, u64) = ("label", 4);

#[tokio::test]
async fn h21_an_effect_whose_answer_is_lost_happens_once() {
    despite_each(&[
        ("dropped-after", json!({ "drop_reply_rate": 1 })),
        ("dropped-before", json!({ "drop_before_rate": 1 })),
        ("failed", json!({ "error_rate": 1 })),
    ])
    .await;
}

#[tokio::test]
async fn h21_an_effect_that_the_service_puts_off_happens_once() {
    despite_each(&[
        ("in-use", json!({ "in_use_rate": 1 })),
        ("overloaded", json!({ "overload_rate": 1, "retry_after_s": 1 })),
        ("saved", json!({ "error_rate": 1, "save_errors": true })),
    ])
    .await;
}

#[tokio::test]
async fn h21_an_effect_that_comes_after_its_answer_happens_once() {
    despite_each(&[
        ("late", json!({ "commit_late_ms": 700 })),
        // They are answered when the faults change, long after the worker has stopped waiting.
        ("hung", json!({ "hang_rate": 1 })),
    ])
    .await;
}

/// Places orders whose first calls meet each of these faults, one operation after the other.
async fn despite_each(faults: &[(&str, Value)]) {
    let stack = Stack::running(1).await;
    for (name, fault) in faults {
        for (operation, needed) in PAYMENT {
            let limited = |operation: &str, times: u64| {
                let mut fault = fault.clone();
                fault["operations"] = json!([operation]);
                fault["times"] = json!(times);
                fault
            };
            stack.sandbox.set_faults("payment", &limited(operation, needed)).await;
            // The carrier keeps its own failure for ever, as it keeps every answer.
            if *name != "saved" {
                stack.sandbox.set_faults("carrier", &limited(CARRIER.0, CARRIER.1)).await;
            }
            let before = asked(&stack, operation).await;
            let ids = stack.place_all(&format!("{name}-{operation}"), &FATES).await;
            stack.closed(&ids).await;
            stack.sandbox.clear_faults().await;
            let calls = asked(&stack, operation).await - before;
            assert!(calls >= 2 * needed, "{name}: {calls} calls of {operation}, {needed} needed");
            for (id, fate) in ids.iter().zip(FATES) {
                assert_one_effect_of_each(&stack, id, fate).await;
            }
        }
    }
    stack.quiet().await;
    stack.check().await;
}

/// Calls of this operation, and looks at a payment: where a look shows that the call was carried
/// out, it is not made again.
async fn asked(stack: &Stack, operation: &str) -> u64 {
    stack.sandbox.calls(operation).await + stack.sandbox.calls("retrieve").await
}

async fn assert_one_effect_of_each(stack: &Stack, id: &quadrille::SagaId, fate: Fate) {
    let refunds = usize::from(fate == Fate::NoCarrier);
    let counts = [
        effects(stack, id, "intent-created").await,
        effects(stack, id, "captured").await,
        effects(stack, id, "refunded").await,
        effects(stack, id, "label-bought").await,
    ];
    assert_eq!(counts, [1, 1, refunds, 1 - refunds], "{}", stack.story(id).await);
}

#[tokio::test]
async fn undos_that_never_succeed_leave_room_for_others() {
    let mut stack = Stack::bare().await;
    stack.start_others("charge-customer").await;
    stack.start(Launch::of("charge-customer").env("QUADRILLE_WORKER__CONCURRENCY", 1)).await;
    stack.fill_stock().await;
    let never = json!({ "operations": ["refund"], "error_rate": 1 });
    stack.sandbox.set_faults("payment", &never).await;
    let stuck = stack.place_all("stuck", &[Fate::NoCarrier; 8]).await;
    for id in &stuck {
        eventually("a refund that failed is tried again", async || {
            (stack.sandbox.calls_for(id, "refund").await > 1).then_some(())
        })
        .await;
    }
    let fine = stack.place_all("fine", &[Fate::Declined; 3]).await;
    stack.closed(&fine).await;
    stack.sandbox.clear_faults().await;
    stack.closed(&stuck).await;
    stack.quiet().await;
    stack.check().await;
}

#[tokio::test]
async fn a_charge_that_others_gave_back_is_set_aside() {
    let mut stack = Stack::bare().await;
    stack.start_others("charge-customer").await;
    stack.fill_stock().await;
    let armed = Armed::at(&stack, "charged", "run.after-effect");
    let mut first = stack.launcher().launch(&armed.kills("charge-customer"));
    let ids = stack.place_all("given-back", &[Fate::Completes]).await;
    first.ended().await;
    let ledger = stack.sandbox.ledger().await;
    let captured = ledger.iter().find(|line| line.effect == "captured").unwrap();
    stack.sandbox.refund(captured.intent.as_deref().unwrap()).await;
    // Because its key is forgotten, the gateway shows the payment as it is now.
    let later = Launch::of("charge-customer").env("QUADRILLE_CHARGE_CUSTOMER__KEY_LIFETIME", "0s");
    stack.start(later).await;
    eventually("the order is set aside", async || {
        (stack.raw.messages("ORDERS_PARKED").await > 0).then_some(())
    })
    .await;
    let parked = &stack.history().await.parked[0];
    let entry: Value = serde_json::from_slice(&parked.payload).unwrap();
    assert_eq!(entry["reason"], "fenced-off");
    assert_eq!(stack.sandbox.balance(&ids[0]).await, 0);
}

/// As a client may write that may not: in the worker's name.
#[tokio::test]
async fn h21_a_parcel_that_goes_although_its_slot_says_no_is_reported_and_not_hidden() {
    let mut stack = Stack::bare().await;
    stack.start_others("ship-order").await;
    stack.fill_stock().await;
    let armed = Armed::at(&stack, "sent", "run.after-effect");
    let mut worker = stack.launcher().launch(&armed.stops("ship-order"));
    worker.ready().await.unwrap();
    let ids = stack.place_all("sent", &[Fate::Completes]).await;
    armed.happens().await;
    let cause = caused_by(&stack, &ids[0], "payment").await;
    let refused = ("shipment.refused.v1", json!({ "reason": "no-carrier" }));
    write(&stack, &ids[0], ("shipment", "ship-order"), refused, cause).await;
    worker.resume();
    eventually("it is reported", async || {
        (stack.raw.messages("ORDERS_PARKED").await > 0).then_some(())
    })
    .await;
    let parked = stack.history().await.parked;
    let entry: Value = serde_json::from_slice(&parked[0].payload).unwrap();
    assert_eq!(entry["reason"], "orphan-effect");
    stack.closed(&ids).await;
    assert_eq!(holds(&stack, &ids[0], "closed").await.as_deref(), Some("order.cancelled.v1"));
}

#[tokio::test]
async fn h21_a_second_effect_is_reported_and_not_hidden() {
    let mut stack = Stack::bare().await;
    stack.start_others("charge-customer").await;
    stack.fill_stock().await;
    let ids = stack.place_all("twice", &[Fate::Completes]).await;
    // As another replica would, if the gateway had forgotten the key between the two.
    let reserved = caused_by(&stack, &ids[0], "inventory").await;
    write(&stack, &ids[0], PAID, ("payment.charged.v1", charged()), reserved).await;
    stack.start(Launch::of("charge-customer")).await;
    stack.closed(&ids).await;
    eventually("the second charge is reported", async || {
        (stack.raw.messages("ORDERS_PARKED").await > 0).then_some(())
    })
    .await;
    let parked = &stack.history().await.parked[0];
    assert_eq!(parked.subject, "parked.orders.charge-customer.twice-0");
    let entry: Value = serde_json::from_slice(&parked.payload).unwrap();
    assert_eq!(entry["reason"], "orphan-effect");
    assert_eq!(effects(&stack, &ids[0], "captured").await, 1);
}
