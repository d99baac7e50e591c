//! `why`: real stalls, made one after the other, and what the command says of each. The stalls that
//! take long to make are rows of the table beside the decision (`shared/src/why/tests.rs`).

use jiff::{SignedDuration, Timestamp};
use quadrille::SagaId;
use serde_json::{Value, json};
use tests::eventually::eventually;
use tests::stack::{Fate, Launch, Stack, order};

use super::breaker::{charging, gateway_gives_no_answer, stack_of};
use super::quadrille;

fn id(text: &str) -> SagaId {
    SagaId::parse(text).unwrap()
}

async fn why(stack: &Stack, saga: &str) -> Value {
    quadrille(&stack.server, &format!("why {saga} --json")).await.json()
}

/// Waits until the order stands still for this reason, and the way out names this.
async fn stalls(stack: &Stack, saga: &str, code: &str, way_out: &str) -> Value {
    let why = eventually(&format!("{saga} waits: {code}"), async || {
        let why = why(stack, saga).await;
        (why["code"] == code).then_some(why)
    })
    .await;
    let sentence = why["sentence"].as_str().expect("a sentence");
    assert!(sentence.contains(way_out), "{code}: {sentence}");
    assert!(sentence.contains(&format!("order {saga} waits for ")), "{sentence}");
    assert!(sentence.contains(" since 20"), "{sentence}");
    why
}

#[tokio::test]
async fn what_keeps_an_order_at_the_broker_is_named_and_the_way_out_works() {
    let mut stack = Stack::bare().await;
    stack.start(Launch::of("reserve-inventory")).await;
    stack.fill_stock().await;
    stack.workers.clear();
    let raw = stack.raw.clone();
    let publish = async |id: &str, body: String| {
        raw.publish(&format!("orders.placed.{id}"), &[], &body).await.expect("stored")
    };
    stack.place(&id("W1"), &order(Fate::Completes, 0)).await.unwrap();
    let none = stalls(&stack, "W1", "no-worker", "start reserve-inventory").await;
    assert_eq!(none["waits_for"]["slot"], "inventory");

    eventually("it is delivered and settled, and nothing came of it", async || {
        // The worker that was killed may still have a pull open, so it may come a second time.
        stack.raw.acknowledge_all("ORDERS", "reserve-inventory").await.unwrap();
        let durable = stack.raw.durable("ORDERS", "reserve-inventory").await;
        let left = |field: &str| durable[field].as_u64();
        (left("num_pending") == Some(0) && left("num_ack_pending") == Some(0)).then_some(())
    })
    .await;
    let lost = stalls(&stack, "W1", "step-not-delivered", "nats consumer reset ORDERS").await;
    let traced = quadrille(&stack.server, "trace W1").await.stdout;
    let last = traced.lines().last().expect("a line");
    // But for how long it has been so.
    let said = lost["sentence"].as_str().unwrap().split(", since").next().unwrap();
    assert!(last.starts_with(said), "{traced}");
    let traced = quadrille(&stack.server, "trace W1 --json").await.json();
    assert_eq!(traced["why"]["code"], "step-not-delivered");

    let soon = Timestamp::now() + SignedDuration::from_secs(600);
    stack.raw.pause("ORDERS", "charge-customer", soon).await;
    stack.start(Launch::of("reserve-inventory")).await;
    stack.raw.api("CONSUMER.RESET.ORDERS.reserve-inventory", json!({ "seq": 1 })).await.unwrap();
    stalls(&stack, "W1", "foreign-pause", "nats consumer resume ORDERS charge-customer").await;

    publish("W2", json!({ "customer": 7 }).to_string()).await;
    stalls(&stack, "W2", "parked", "/customer").await;
    let newer = json!({ "specversion": "1.0", "id": "x", "source": "shop", "subject": "W3",
        "type": "order.placed.v9", "data": {} });
    publish("W3", newer.to_string()).await;
    stalls(&stack, "W3", "unknown-version", "knows this version").await;

    let bytes = stack.raw.stream("ORDERS").await["state"]["bytes"].as_u64().unwrap();
    stack.raw.change_stream("ORDERS", json!({ "max_bytes": bytes + 10 })).await.unwrap();
    stack.raw.pause("ORDERS", "charge-customer", Timestamp::UNIX_EPOCH).await;
    stack.start(Launch::of("charge-customer")).await;
    stalls(&stack, "W1", "log-full", "--max-bytes SIZE").await;

    stack.raw.api("CONSUMER.DELETE.ORDERS.ship-order", Value::Null).await.unwrap();
    stack.raw.change_stream("ORDERS", json!({ "max_bytes": 1 << 30 })).await.unwrap();
    stalls(&stack, "W1", "no-durable", "topology apply").await;
    let missing = quadrille(&stack.server, "why W9 --json").await;
    assert_eq!((missing.code, &missing.json()["code"]), (Some(1), &json!("not-opened")));
}

#[tokio::test]
async fn what_keeps_an_order_at_a_service_is_named_with_its_error() {
    let stack = stack_of(&[charging()]).await;
    let mut broken = order(Fate::Completes, 0);
    broken.payment_method = quadrille::Reference::parse("pm_card_broken500").unwrap();
    stack.place(&id("S1"), &broken).await.unwrap();
    let flowing = stack.place_all("flows", &[Fate::Completes; 10]).await;
    let retried = stalls(&stack, "S1", "retrying", "attempt ").await;
    assert!(retried["sentence"].as_str().unwrap().contains("500"), "{retried}");
    stack.closed(&flowing).await;

    gateway_gives_no_answer(&stack).await;
    stack.place_all("refused", &[Fate::Completes; 20]).await;
    stalls(&stack, "refused-3", "breaker-paused", "breaker show payment-gateway").await;
    let breaker = async |line: &str| {
        // A replica may write the key at the same moment.
        eventually(line, async || {
            let said = quadrille(&stack.server, &format!("breaker {line} --write")).await;
            (said.code == Some(0)).then_some(())
        })
        .await;
    };
    breaker("pause payment-gateway --reason audit --for 1m").await;
    let paused = stalls(&stack, "refused-3", "breaker-paused", "breaker reset payment-gateway");
    assert!(paused.await["sentence"].as_str().unwrap().contains(": audit"));

    let unknown = json!({ "error_rate": 1, "error_status": 401 });
    stack.sandbox.set_faults("payment", &unknown).await;
    breaker("reset payment-gateway").await;
    stalls(&stack, "refused-3", "credentials", "give charge-customer credentials").await;
    stack.sandbox.clear_faults().await;
    breaker("reset payment-gateway").await;
    stack.closed(&[id("refused-3")]).await;
    assert_eq!(why(&stack, "refused-3").await["code"], "completed");
}

/// An order whose time is over while a worker is missing: what is said of it, and how long each of
/// the two turns took is printed.
async fn overdue(missing: &'static str, slot: &str, refusal: &str) {
    let mut stack = Stack::bare().await;
    for row in schemas::order_fulfilment::FLOW.steps {
        if row.worker != missing {
            let launch = Launch::of(row.worker).env("QUADRILLE_DEADLINE__SAGA", "3s");
            stack.start(launch).await;
        }
    }
    stack.fill_stock().await;
    stack.place(&id("D1"), &order(Fate::Completes, 0)).await.unwrap();
    let found = async |slot: &str| {
        let subject = format!("orders.{slot}.D1");
        let found = quadrille::broker::Broker::last(&stack.broker, "ORDERS", &subject).await;
        found.unwrap()
    };
    let refused = eventually("it is refused", async || found(slot).await).await;
    assert!(String::from_utf8_lossy(&refused.payload).contains(refusal), "{refused:?}");
    let due = found("placed").await.unwrap().stored_at + SignedDuration::from_secs(3);
    let late = refused.stored_at.duration_since(due).as_millis();
    if missing == "charge-customer" {
        stalls(&stack, "D1", "no-worker", "start charge-customer").await;
        let trace = quadrille(&stack.server, "trace D1").await.stdout;
        assert!(trace.contains("cancelling"), "{trace}");
    }
    let began = Timestamp::now();
    stack.start(Launch::of(missing)).await;
    stack.closed(&[id("D1")]).await;
    let closed = eventually("it is closed", async || {
        let subject = "orders.closed.D1";
        quadrille::broker::Broker::last(&stack.broker, "ORDERS", subject).await.unwrap()
    })
    .await;
    let after = closed.stored_at.duration_since(began).as_millis();
    println!(
        "without {missing}: {refusal} {late} ms after its time, closed {after} ms after start"
    );
    assert_eq!(why(&stack, "D1").await["code"], "cancelled");
    stack.quiet().await;
    stack.check().await;
}

#[tokio::test]
async fn an_order_whose_time_is_over_waits_for_the_worker_that_is_missing() {
    overdue("charge-customer", "payment", "payment.refused.v1").await;
    overdue("ship-order", "pivot", "order.stop.v1").await;
}

/// A past will not change, so there is nothing to look for in a moment.
#[tokio::test]
async fn a_story_as_it_was_is_told_in_the_past_and_before_its_opening_says_when_that_was() {
    let stack = Stack::bare().await;
    stack.raw.publish("orders.placed.other", &[], "{}").await.unwrap();
    stack.place(&SagaId::parse("A1").unwrap(), &order(Fate::Completes, 0)).await.unwrap();
    stack.raw.publish("orders.placed.another", &[], "{}").await.unwrap();
    let then = quadrille(&stack.server, "trace A1 --at 2").await;
    assert_eq!(then.code, Some(0), "{}", then.stderr);
    let waited = "open: waited for reserve-inventory to write inventory, for 0.0 ms then";
    assert!(then.stdout.contains(waited), "{}", then.stdout);
    assert!(!then.stdout.contains("look again"), "{}", then.stdout);
    let before = quadrille(&stack.server, "trace A1 --at 1").await;
    assert_eq!(before.code, Some(1), "{}", before.stderr);
    for part in ["at sequence 1, order A1 was not there yet", "opened at sequence 2"] {
        assert!(before.stderr.contains(part), "{part}: {}", before.stderr);
    }
    let never = quadrille(&stack.server, "trace B1 --at 1").await;
    assert!(never.stderr.contains("no order B1 was opened"), "{}", never.stderr);
}
