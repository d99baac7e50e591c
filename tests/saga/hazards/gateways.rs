//! A payment gateway as real ones are: it saves its own failures, decides later than it answers,
//! stands behind a proxy, and serves more than one log.

use quadrille::KeyNamespace;
use quadrille::topology::{Profile, Topology};
use schemas::order_fulfilment::FLOW;
use serde_json::json;
use tests::eventually::{eventually, within_patience};
use tests::stack::{Fate, Launch, Stack};

use crate::by_hand::{effects, holds, refuse};
use crate::outages::{charging, until_phase};

#[tokio::test]
async fn failures_that_the_gateway_saved_in_an_outage_hold_up_no_order_and_no_refund() {
    let mut stack = Stack::running(1).await;
    let refunded = stack.place_all("refunded", &[Fate::NoCarrier; 3]).await;
    let paid = stack.place_all("paid", &[Fate::Completes; 3]).await;
    let saves = json!({ "error_rate": 1, "save_errors": true });
    stack.sandbox.set_faults("payment", &saves).await;
    let waiting = stack.place_all("waiting", &[Fate::Completes, Fate::Declined, Fate::NoCarrier]);
    let waiting = waiting.await;
    until_phase(&stack, "paused").await;
    // It dies with them in hand, so that what it knows of the keys is forgotten.
    stack.worker("charge-customer").kill();
    stack.start(charging()).await;
    stack.sandbox.clear_faults().await;
    for ids in [refunded, paid, waiting] {
        stack.closed(&ids).await;
    }
    assert_eq!(stack.raw.messages("ORDERS_PARKED").await, 0);
    stack.quiet().await;
    stack.check().await;
}

#[tokio::test]
async fn a_payment_that_is_decided_late_is_recorded_and_refunded_if_the_order_was_refused() {
    let mut stack = Stack::running(1).await;
    let slow = json!({ "operations": ["confirm"], "processing_ms": 1_500 });
    stack.sandbox.set_faults("payment", &slow).await;
    let ids = stack.place_all("late", &[Fate::Completes, Fate::Completes, Fate::NoCarrier]).await;
    for id in &ids {
        eventually("it is asked for", async || {
            (stack.sandbox.calls_for(id, "confirm").await > 0).then_some(())
        })
        .await;
    }
    refuse(&stack, &ids[0], "charge-customer").await;
    stack.worker("charge-customer").kill();
    stack.start(charging()).await;
    stack.closed(&ids).await;
    assert_eq!(holds(&stack, &ids[0], "closed").await.as_deref(), Some("order.cancelled.v1"));
    for (id, refunds) in ids.iter().zip([1, 0, 1]) {
        assert_eq!(effects(&stack, id, "captured").await, 1, "{id}");
        assert_eq!(effects(&stack, id, "refunded").await, refunds, "{id}");
    }
    stack.quiet().await;
    stack.check().await;
}

#[tokio::test]
async fn an_order_is_not_cancelled_before_its_refund_has_succeeded() {
    let stack = Stack::running(1).await;
    stack.sandbox.set_faults("payment", &json!({ "refund_pending_ms": 2_000 })).await;
    let ids = stack.place_all("pending", &[Fate::NoCarrier]).await;
    eventually("the refund is asked for", async || {
        (stack.sandbox.calls_for(&ids[0], "refund").await > 0).then_some(())
    })
    .await;
    stack.closed(&ids).await;
    assert_eq!(effects(&stack, &ids[0], "refunded").await, 1);
    stack.quiet().await;
    // Among others, that the money was back before the log says so.
    stack.check().await;
}

#[tokio::test]
async fn the_page_of_a_proxy_parks_no_order_before_go_and_none_after_it() {
    let stack = Stack::running(1).await;
    for (service, status) in [("payment", 413), ("carrier", 422), ("payment", 400)] {
        let page = json!({ "page_rate": 1, "page_status": status });
        stack.sandbox.set_faults(service, &page).await;
        let name = format!("{service}-{status}");
        let ids = stack.place_all(&name, &[Fate::Completes, Fate::Completes]).await;
        let operation = if service == "payment" { "create" } else { "label" };
        for id in &ids {
            eventually("it has met the page", async || {
                (stack.sandbox.calls_for(id, operation).await > 1).then_some(())
            })
            .await;
        }
        assert_eq!(stack.raw.messages("ORDERS_PARKED").await, 0);
        stack.sandbox.clear_faults().await;
        stack.closed(&ids).await;
    }
    stack.quiet().await;
    stack.check().await;
}

#[tokio::test]
async fn a_log_that_lost_its_key_namespace_stops_its_workers_until_it_is_set_again() {
    let mut stack = Stack::bare().await;
    stack.start_others("charge-customer").await;
    stack.fill_stock().await;
    let watchful = || charging().env("QUADRILLE_WORKER__INSPECT_EVERY", "200ms");
    stack.start(watchful()).await;
    let keys = stack.keys().await;
    stack.raw.change_stream(FLOW.stream, json!({ "metadata": { "team": "shop" } })).await.unwrap();
    let mut worker = stack.workers.pop().expect("the last that was started");
    within_patience("the worker stops", worker.ended()).await;
    let way = format!("topology apply --keys {keys} --write");
    assert!(worker.said().contains(&way), "{}", worker.said());
    let mut second = stack.launcher().launch(&Launch::of("charge-customer"));
    within_patience("a new one does not start", second.ended()).await;
    assert!(second.said().contains("namespace of idempotency keys"), "{}", second.said());

    let topology = Topology::new(&FLOW, Profile::Dev);
    stack.provision(&Topology { keys: Some(keys), ..topology.clone() }).await;
    assert_eq!(stack.keys().await, keys);
    let ids = stack.place_all("after", &[Fate::Completes]).await;
    stack.start(watchful()).await;
    stack.closed(&ids).await;
    // Neither another one nor a new one is taken, now that something is charged under this one.
    let other = Topology { keys: Some(KeyNamespace::draw()), ..topology };
    let plan = quadrille::nats::provision::plan(&stack.broker, &other).await.unwrap();
    let refused = plan.iter().any(|change| change.to_string().contains("keeps its own"));
    assert!(refused, "{plan:?}");
    stack.quiet().await;
    stack.check().await;
}
