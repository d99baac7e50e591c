//! What was done is taken back once, in reverse, no matter which worker dies while it does that.

use schemas::order_fulfilment::FLOW;
use tests::stack::{Fate, Launch, Stack};

use crate::by_hand::effects;
use crate::crashes::{Mortal, until_all_have_died};

const UNDO: &[&str] =
    &["undo.before-run", "undo.after-effect", "undo.after-commit", "undo.before-ack"];
/// The closing runs no step.
const CLOSING: &[&str] = &["undo.after-commit", "undo.before-ack"];

#[tokio::test]
async fn h26_two_undo_replicas_that_die_anywhere_refund_once() {
    let mut stack = Stack::bare().await;
    stack.start_others("charge-customer").await;
    stack.fill_stock().await;
    let replicas =
        ["one", "other"].map(|name| Mortal::at_each(&stack, name, "charge-customer", UNDO));
    let ids = until_all_have_died(&stack, &[Fate::NoCarrier; 4], replicas.into()).await;
    for id in &ids {
        let counts = [
            effects(&stack, id, "captured").await,
            effects(&stack, id, "refunded").await,
            effects(&stack, id, "over-refund-refused").await,
        ];
        assert_eq!(counts, [1, 1, 0], "{}", stack.story(id).await);
    }
    stack.check().await;
}

#[tokio::test]
async fn h27_whatever_refuses_and_whoever_dies_all_is_undone_in_reverse() {
    let mut stack = Stack::bare().await;
    stack.start(Launch::of("ship-order")).await;
    let mut workers = Vec::new();
    for step in FLOW.steps {
        let places = match (step.undo, step.cancelled) {
            (Some(_), _) => UNDO,
            (None, Some(_)) => CLOSING,
            (None, None) => continue,
        };
        workers.push(Mortal::at_each(&stack, step.worker, step.worker, places));
    }
    stack.fill_stock().await;
    let before = stack.free_stock().await;
    let fates = [Fate::OutOfStock, Fate::Declined, Fate::NoCarrier];
    until_all_have_died(&stack, &fates, workers).await;
    // The invariants include the order of the undo slots, and that nothing is left.
    stack.check().await;
    stack.start(Launch::of("reserve-inventory")).await;
    assert_eq!(stack.free_stock().await, before);
}
