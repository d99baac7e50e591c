//! An event has an effect only once its cause is in the log.

use std::time::Duration;

use jiff::Timestamp;
use quadrille::KeyNamespace;
use quadrille::broker::Broker as _;
use quadrille::log::envelope::Cause;
use schemas::order_fulfilment::FLOW;
use serde_json::{Value, json};
use tests::eventually::eventually;
use tests::proxy::Proxy;
use tests::stack::{Fate, Launch, Stack, order};

use crate::by_hand::{caused_by, event_id, holds, saga, write, write_sealed};

/// What `charge-customer` records.
pub(crate) fn charged() -> Value {
    json!({
        "payment": "pi_1",
        "amount": { "amount": 960, "currency": "EUR" },
        "ship_to": { "country": "DE", "postcode": "10115" },
        "pieces": 3,
    })
}

/// What `reserve-inventory` records.
fn reserved() -> Value {
    json!({
        "customer": "cus_1001",
        "payment_method": "pm_card_visa",
        "ship_to": { "country": "DE", "postcode": "10115" },
        "pieces": 3,
        "total": { "amount": 960, "currency": "EUR" },
    })
}

pub(crate) const PAYMENT: (&str, &str) = ("payment", "charge-customer");
const INVENTORY: (&str, &str) = ("inventory", "reserve-inventory");

async fn deliveries(stack: &Stack, durable: &str) -> u64 {
    let info = stack.raw.durable(FLOW.stream, durable).await;
    info["delivered"]["consumer_seq"].as_u64().unwrap()
}

#[tokio::test]
async fn h20_no_parcel_goes_for_a_payment_of_an_order_that_was_never_placed() {
    let mut stack = Stack::bare().await;
    stack.start(Launch::of("ship-order").env("QUADRILLE_WORKER__CAUSE_WAIT", "1s")).await;
    let id = saga("ghost");
    let cause = Cause { id: "never".into(), sequence: 7 };
    write(&stack, &id, PAYMENT, ("payment.charged.v1", charged()), cause).await;
    eventually("it is set aside", async || {
        (stack.raw.messages("ORDERS_PARKED").await > 0).then_some(())
    })
    .await;
    stack.settled("ship-order").await;
    let parked = stack.history().await.parked;
    let subjects: Vec<_> = parked.iter().map(|message| message.subject.as_str()).collect();
    assert_eq!(subjects, ["parked.orders.ship-order.ghost"]);
    let entry: Value = serde_json::from_slice(&parked[0].payload).unwrap();
    assert_eq!((&entry["reason"], &entry["pointer"]), (&json!("no-cause"), &json!("/causationid")));
    assert_eq!(stack.sandbox.calls("label").await, 0);
    assert_eq!(holds(&stack, &id, "pivot").await, None);
}

#[tokio::test]
async fn h20_no_parcel_goes_for_a_payment_whose_cause_was_in_another_log() {
    let mut stack = Stack::bare().await;
    stack.start(Launch::of("ship-order").env("QUADRILLE_WORKER__CAUSE_WAIT", "1s")).await;
    let id = saga("again");
    stack.place(&id, &order(Fate::Completes, 0)).await.unwrap();
    let placed = caused_by(&stack, &id, "placed").await;
    write(&stack, &id, INVENTORY, ("inventory.reserved.v1", reserved()), placed).await;
    // The id is the same for an order of this name in any log; the sequence is not.
    let inventory = caused_by(&stack, &id, "inventory").await;
    let cause = Cause { sequence: inventory.sequence + 1_000, ..inventory };
    write(&stack, &id, PAYMENT, ("payment.charged.v1", charged()), cause).await;
    eventually("it is set aside", async || {
        (stack.raw.messages("ORDERS_PARKED").await > 0).then_some(())
    })
    .await;
    let parked = stack.history().await.parked;
    let entry: Value = serde_json::from_slice(&parked[0].payload).unwrap();
    assert_eq!(entry["reason"], "no-cause");
    assert_eq!(stack.sandbox.calls("label").await, 0);
    assert_eq!(holds(&stack, &id, "pivot").await, None);
}

/// As whoever copies events from one log to another, or restores a log that is shorter than the
/// one its workers saw; and as a worker whose event is stored late, when the log may have become
/// shorter meanwhile.
#[tokio::test]
async fn h55_no_parcel_goes_for_a_payment_with_the_seal_of_another_log_or_another_cause() {
    let mut stack = Stack::bare().await;
    stack.start(Launch::of("ship-order").env("QUADRILLE_WORKER__CAUSE_WAIT", "1s")).await;
    let log = stack.broker.state(FLOW.stream).await.unwrap().expect("it is there");
    let made = log.incarnation.created.as_nanosecond();
    let (keys, later) = (stack.keys().await, 1_000);
    let subject = |id: &str| FLOW.slot("payment", &saga(id)).subject().to_owned();
    let cases = [
        ("other-keys", (KeyNamespace::draw(), made, "other-keys", 1), 1),
        ("other-log", (keys, made - 1, "other-log", 1), 1),
        ("other-cause", (keys, made, "other-cause", 2), 1),
        ("other-order", (keys, made, "other-log", 1), 1),
        ("shorter-log", (keys, made, "shorter-log", later), later),
        ("late", (keys, made, "late", 1), 1),
    ];
    // The first message of the log is the cause of none of them.
    stack.place(&saga("real"), &order(Fate::Completes, 0)).await.unwrap();
    for (id, (keys, made, of, sealed), sequence) in cases {
        let (id, seal) = (saga(id), (keys, made, &*subject(of), sealed));
        let cause = Cause { id: "never".into(), sequence };
        let ago = Duration::from_secs(if id.as_str() == "late" { 10 } else { 0 });
        let (event, time) = (("payment.charged.v1", charged()), Timestamp::now() - ago);
        write_sealed(&stack, &id, PAYMENT, event, cause, seal, time).await;
    }
    eventually("all are set aside", async || {
        (stack.raw.messages("ORDERS_PARKED").await == 6).then_some(())
    })
    .await;
    for parked in stack.history().await.parked {
        let entry: Value = serde_json::from_slice(&parked.payload).unwrap();
        assert_eq!(entry["reason"], "no-cause", "{}", parked.subject);
    }
    assert_eq!(stack.sandbox.calls("label").await, 0);
}

#[tokio::test]
async fn h55_only_an_outcome_that_came_late_costs_a_read_of_its_cause() {
    let mut stack = Stack::bare().await;
    let proxy = Proxy::to(&stack.server.url()).await;
    for name in ["charge-customer", "ship-order"] {
        stack.start(Launch::of(name).env("QUADRILLE_NATS__URL", proxy.url())).await;
    }
    for name in ["reserve-inventory", "complete-order"] {
        stack.start(Launch::of(name)).await;
    }
    stack.fill_stock().await;
    proxy.lose_answers_after("PUB $JS.API.DIRECT.GET.", Duration::from_secs(1));
    let ids = stack.place_all("sealed", &[Fate::Completes; 20]).await;
    stack.closed(&ids).await;
    assert_eq!(proxy.triggered(), 0);
    // Long enough for the log to have lost its end meanwhile.
    let slow = json!({ "operations": ["confirm"], "latency_ms": 3_000 });
    stack.sandbox.set_faults("payment", &slow).await;
    let late = stack.place_all("late", &[Fate::Completes]).await;
    stack.closed(&late).await;
    assert_eq!(proxy.triggered(), 1);
    stack.check().await;
}

/// A client that may write there names itself, or another worker.
#[tokio::test]
async fn no_customer_is_charged_for_a_reservation_that_another_wrote() {
    let mut stack = Stack::bare().await;
    let [client, other] = ["client", "other"].map(saga);
    for (id, source) in [(&client, "quadrille/client"), (&other, "ship-order")] {
        stack.place(id, &order(Fate::Completes, 0)).await.unwrap();
        let placed = caused_by(&stack, id, "placed").await;
        write(&stack, id, (INVENTORY.0, source), ("inventory.reserved.v1", reserved()), placed)
            .await;
    }
    stack.start(Launch::of("charge-customer")).await;
    eventually("both are set aside", async || {
        (stack.raw.messages("ORDERS_PARKED").await == 2).then_some(())
    })
    .await;
    for parked in stack.history().await.parked {
        let entry: Value = serde_json::from_slice(&parked.payload).unwrap();
        assert_eq!(entry["reason"], "wrong-source", "{}", parked.subject);
    }
    assert_eq!(stack.sandbox.calls("create").await, 0);
}

/// `complete-order` asks no service and reads no cause, but the cause must be called what it would
/// be called.
#[tokio::test]
async fn h20_no_order_is_completed_by_a_dispatch_that_names_another_cause() {
    let mut stack = Stack::bare().await;
    stack.start(Launch::of("complete-order").env("QUADRILLE_WORKER__CAUSE_WAIT", "1s")).await;
    let id = saga("ghost");
    let id_of = |of: &str| event_id(&saga(of), PAYMENT.0, "payment.charged.v1", PAYMENT.1);
    let dispatched = json!({ "carrier": "sandbox-post", "label": "lbl_1" });
    let event = ("shipment.dispatched.v1", dispatched);
    let cause = Cause { id: id_of("another"), sequence: 1 };
    write(&stack, &id, ("shipment", "ship-order"), event, cause).await;
    eventually("it is set aside", async || {
        (stack.raw.messages("ORDERS_PARKED").await > 0).then_some(())
    })
    .await;
    let parked = stack.history().await.parked;
    let entry: Value = serde_json::from_slice(&parked[0].payload).unwrap();
    assert_eq!(entry["reason"], "no-cause");
    assert_eq!(holds(&stack, &id, "closed").await, None);
}

#[tokio::test]
async fn h20_an_event_that_overtakes_its_cause_waits_for_it() {
    let mut stack = Stack::bare().await;
    for worker in ["ship-order", "complete-order"] {
        stack.start(Launch::of(worker)).await;
    }
    let id = saga("early");
    // The payment comes first, and names the message that will be the third.
    let inventory = event_id(&id, "inventory", "inventory.reserved.v1", "reserve-inventory");
    let cause = Cause { id: inventory, sequence: 3 };
    write(&stack, &id, PAYMENT, ("payment.charged.v1", charged()), cause).await;
    eventually("the payment was looked at several times", async || {
        (deliveries(&stack, "ship-order").await >= 3).then_some(())
    })
    .await;
    assert_eq!(stack.sandbox.calls("label").await, 0);
    assert_eq!(holds(&stack, &id, "pivot").await, None);
    stack.place(&id, &order(Fate::Completes, 0)).await.unwrap();
    let placed = caused_by(&stack, &id, "placed").await;
    write(&stack, &id, INVENTORY, ("inventory.reserved.v1", reserved()), placed).await;
    stack.closed(std::slice::from_ref(&id)).await;
    assert_eq!(stack.sandbox.calls("label").await, 1);
    assert_eq!(stack.raw.messages("ORDERS_PARKED").await, 0);
}

#[tokio::test]
async fn h20_a_cause_that_cannot_be_read_is_no_missing_cause() {
    let mut stack = Stack::bare().await;
    let proxy = Proxy::to(&stack.server.url()).await;
    let worker = Launch::of("charge-customer").env("QUADRILLE_NATS__URL", proxy.url());
    // Every message counts as too old to wait for its cause.
    stack.start(worker.env("QUADRILLE_WORKER__CAUSE_WAIT", "0s")).await;
    for worker in ["ship-order", "complete-order"] {
        stack.start(Launch::of(worker)).await;
    }
    // For longer than the worker waits for the replica and then for the leader.
    proxy.lose_answers_after("PUB $JS.API.DIRECT.GET.", Duration::from_secs(11));
    let id = saga("unread");
    stack.place(&id, &order(Fate::Completes, 0)).await.unwrap();
    let placed = caused_by(&stack, &id, "placed").await;
    // Without a seal.
    write(&stack, &id, INVENTORY, ("inventory.reserved.v1", reserved()), placed).await;
    stack.closed(std::slice::from_ref(&id)).await;
    assert_eq!(proxy.triggered(), 1);
    assert_eq!(stack.raw.messages("ORDERS_PARKED").await, 0);
}
