//! What is on the shelf once orders are completed.

use schemas::stock::{DELIST, PREFIX, RECEIVE, SET, Shown};
use serde_json::{Value, json};
use tests::stack::{Fate, Launch, SKUS, Stack};

/// What an endpoint of the stock answers about the first SKU.
async fn ask(stack: &Stack, endpoint: &str, question: Value) -> Result<Shown, String> {
    let subject = format!("{PREFIX}.{endpoint}");
    let answer = stack.client().request(subject, question.to_string().into()).await;
    let answer = answer.expect("the worker answers");
    let shown: Result<Vec<Shown>, _> = serde_json::from_slice(&answer.payload);
    match shown {
        Ok(mut shown) => Ok(shown.remove(0)),
        Err(_) => Err(format!("{:?}", answer.headers)),
    }
}

async fn shown(stack: &Stack) -> Shown {
    ask(stack, "show", json!({ "sku": SKUS[0] })).await.expect("it is stocked")
}

#[tokio::test]
async fn h54_completed_orders_leave_the_shelf_once_though_the_worker_dies() {
    let mut stack = Stack::running(2).await;
    let before = shown(&stack).await.stocked;
    let mut ids = Vec::new();
    for wave in 0..3 {
        let fates = [Fate::Completes, Fate::NoCarrier, Fate::Completes, Fate::Declined];
        let placed = stack.place_all(&format!("wave-{wave}"), &fates).await;
        stack.closed(&placed).await;
        ids.extend(placed);
        // Whatever it was about to take off the shelf, another replica or its next life does.
        stack.worker("reserve-inventory").kill();
        stack.start(Launch::of("reserve-inventory")).await;
    }
    stack.shelf_is_clear().await;
    let levels = stack.levels().await;
    assert!(levels.iter().all(|level| level.held == 0), "{levels:?}");
    // Of each wave the first order is of the first SKU, three pieces, and completed.
    let level = shown(&stack).await;
    assert_eq!((level.stocked, level.free), (before - 9, before - 9));
    stack.quiet().await;
    stack.check().await;

    let sku = SKUS[0];
    let counted = ask(&stack, SET, json!({ "sku": sku, "stocked": 6 })).await.unwrap();
    assert_eq!((counted.stocked, counted.free), (6, 6));
    let delivery = json!({ "receipt": "d1", "items": [{ "sku": sku, "pieces": 4 }] });
    for _ in 0..2 {
        assert_eq!(ask(&stack, RECEIVE, delivery.clone()).await.unwrap().stocked, 10);
    }
    let delisted = ask(&stack, DELIST, json!({ "skus": [sku] })).await.unwrap();
    assert_eq!((delisted.stocked, delisted.free), (0, 0));
    assert!(ask(&stack, DELIST, json!({ "skus": ["NEVER"] })).await.is_err());
}
