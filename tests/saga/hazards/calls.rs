//! A call whose outcome is unknown is made again under the same key, and is never taken for a no.

use serde_json::{Value, json};
use tests::stack::{Fate, Stack};

use crate::by_hand::effects;

/// Half of the orders pay and are shipped, the others get their money back.
const FATES: [Fate; 6] = [
    Fate::Completes,
    Fate::NoCarrier,
    Fate::Completes,
    Fate::NoCarrier,
    Fate::Completes,
    Fate::NoCarrier,
];

#[tokio::test]
async fn h21_an_effect_whose_answer_is_lost_happens_once() {
    let faults = [
        ("dropped-after", json!({ "drop_reply_rate": 0.5 })),
        ("dropped-before", json!({ "drop_before_rate": 0.5 })),
        ("in-use", json!({ "in_use_rate": 0.3 })),
        ("failed", json!({ "error_rate": 0.5 })),
        ("overloaded", json!({ "overload_rate": 0.3, "retry_after_s": 1 })),
    ];
    every_order_ends_despite(&faults, &faults).await;
}

#[tokio::test]
async fn h21_an_effect_that_comes_after_its_answer_happens_once() {
    let late = |operation: &str| json!({ "operations": [operation], "commit_late_ms": 700, "times": FATES.len() });
    let hangs = |operation: &str| json!({ "operations": [operation], "hang_rate": 1, "times": 2 });
    let saved = |operation: &str| json!({ "operations": [operation], "error_rate": 1, "save_errors": true, "times": 3 });
    let payment = [
        ("late-create", late("create")),
        ("late-confirm", late("confirm")),
        ("late-refund", late("refund")),
        ("hung-confirm", hangs("confirm")),
        ("saved-create", saved("create")),
        ("saved-confirm", saved("confirm")),
        ("saved-refund", saved("refund")),
    ];
    let carrier = [("late-label", late("label")), ("hung-label", hangs("label"))];
    every_order_ends_despite(&payment, &carrier).await;
}

/// Orders under each fault of the payment service, together with those of the carrier as far as
/// there are any.
async fn every_order_ends_despite(payment: &[(&str, Value)], carrier: &[(&str, Value)]) {
    let stack = Stack::running(1).await;
    let mut calls = 0;
    for (at, (name, faults)) in payment.iter().enumerate() {
        stack.sandbox.set_faults("payment", faults).await;
        if let Some((_, faults)) = carrier.get(at) {
            stack.sandbox.set_faults("carrier", faults).await;
        }
        let ids = stack.place_all(name, &FATES).await;
        stack.closed(&ids).await;
        stack.sandbox.clear_faults().await;
        let before = calls;
        calls = total(&stack.sandbox.get("/calls").await);
        // Create, confirm and label of each, and a refund of every second one.
        let undisturbed = 7 * FATES.len() as u64 / 2;
        assert!(calls - before > undisturbed, "{name}: no call was made again");
        for (id, fate) in ids.iter().zip(FATES) {
            let refunds = usize::from(fate == Fate::NoCarrier);
            let counts = [
                effects(&stack, id, "intent-created").await,
                effects(&stack, id, "captured").await,
                effects(&stack, id, "refunded").await,
                effects(&stack, id, "label-bought").await,
            ];
            assert_eq!(counts, [1, 1, refunds, 1 - refunds], "{name}\n{}", stack.story(id).await);
        }
    }
    stack.quiet().await;
    stack.check().await;
}

fn total(calls: &Value) -> u64 {
    calls.as_object().map_or(0, |calls| calls.values().filter_map(Value::as_u64).sum())
}
