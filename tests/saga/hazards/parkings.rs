//! A message that is set aside is not lost, whoever dies and whatever is full.

use serde_json::json;
use tests::eventually::eventually;
use tests::stack::{Armed, Fate, Launch, Stack, order};

use crate::by_hand::{effects, holds, saga};

/// Messages that are parked.
async fn parked(stack: &Stack) -> u64 {
    stack.raw.messages("ORDERS_PARKED").await
}

#[tokio::test]
async fn h18_a_message_is_parked_before_it_is_settled() {
    let mut stack = Stack::bare().await;
    stack.start_others("charge-customer").await;
    stack.fill_stock().await;
    let bad = json!({ "error_rate": 1, "error_status": 400 });
    stack.sandbox.set_faults("payment", &bad).await;
    let armed = Armed::at(&stack, "parks", "run.after-park");
    let mut first = stack.launcher().launch(&armed.kills("charge-customer"));
    let id = saga("aside");
    stack.place(&id, &order(Fate::Completes, 0)).await.unwrap();
    first.ended().await;
    assert!(armed.reached());
    assert_eq!(parked(&stack).await, 1);
    // The message was not settled, so it comes again, and is parked again.
    stack.start(Launch::of("charge-customer")).await;
    eventually("it is parked again", async || (parked(&stack).await == 2).then_some(())).await;
    stack.settled("charge-customer").await;
    stack.sandbox.clear_faults().await;
    for _ in 0..2 {
        stack.raw.publish("released.orders.charge-customer.aside", &[], "").await.unwrap();
    }
    stack.closed(std::slice::from_ref(&id)).await;
    stack.quiet().await;
    stack.check().await;
    assert_eq!(holds(&stack, &id, "closed").await.as_deref(), Some("order.completed.v1"));
    assert_eq!(effects(&stack, &id, "captured").await, 1);
}
