//! A message that ends the process of each worker that takes it: it is set aside alone, and the
//! others go on.

use quadrille::broker::Broker;
use quadrille::topology::ATTEMPTS;
use serde_json::{Value, json};
use tests::eventually::eventually;
use tests::stack::{Armed, Fate, Stack, Supervisor};

/// Two runs beside others, because one may be another's death, and three alone and written down.
const DEATHS: usize = 5;

/// The one worker that is missing is started by each test in its own way.
async fn without_charging() -> Stack {
    let mut stack = Stack::bare().await;
    stack.start_others("charge-customer").await;
    stack.fill_stock().await;
    stack
}

/// Waits for the first message that is set aside.
async fn parked(stack: &Stack) -> Value {
    eventually("a message is parked", async || {
        (stack.raw.messages("ORDERS_PARKED").await > 0).then_some(())
    })
    .await;
    serde_json::from_slice(&stack.history().await.parked[0].payload).expect("JSON")
}

/// Replicas that this place kills, and that are always started again.
fn mortal(stack: &Stack, armed: &Armed, replicas: usize) -> Vec<Supervisor> {
    let keep = |_| {
        let armed = armed.clone();
        let launch =
            move |_| armed.poisons("charge-customer").env("QUADRILLE_WORKER__CONCURRENCY", 16);
        Supervisor::keep(stack.launcher(), launch)
    };
    (0..replicas).map(keep).collect()
}

#[tokio::test]
async fn h16_a_message_that_ends_its_worker_is_parked_after_three_recorded_starts() {
    let stack = without_charging().await;
    let armed = Armed::at(&stack, "killer", "run.killer-0");
    let replicas = mortal(&stack, &armed, 1);
    stack.place_all("killer", &[Fate::Completes]).await;
    let parked = parked(&stack).await;
    assert_eq!(parked["reason"], "crash-loop");
    assert_eq!(parked["subject"], "orders.inventory.killer-0");
    assert_eq!(armed.times(), DEATHS);
    let after = stack.place_all("after", &[Fate::Completes; 5]).await;
    stack.closed(&after).await;
    end(replicas).await;
}

#[tokio::test]
async fn h16_a_message_that_ends_its_worker_at_a_later_attempt_is_parked_too() {
    let stack = without_charging().await;
    let fails = json!({ "order": "killer-0", "operations": ["create"], "error_rate": 1 });
    stack.sandbox.set_faults("payment", &fails).await;
    let armed = Armed::at(&stack, "killer", "run.killer-0.2");
    let replicas = mortal(&stack, &armed, 1);
    stack.place_all("killer", &[Fate::Completes]).await;
    let parked = parked(&stack).await;
    assert_eq!(parked["reason"], "crash-loop");
    end(replicas).await;
}

#[tokio::test]
async fn h16_an_undo_that_ends_its_worker_is_not_parked_and_does_not_end_it_for_ever() {
    let stack = without_charging().await;
    let armed = Armed::at(&stack, "killer", "undo.killer-0");
    let replicas = mortal(&stack, &armed, 1);
    stack.place_all("killer", &[Fate::NoCarrier]).await;
    armed.happens_times(DEATHS).await;
    // It would die of the next run, too; that one comes minutes later.
    let after = stack.place_all("after", &[Fate::Completes; 50]).await;
    stack.closed(&after).await;
    eventually("the undo comes once more", async || {
        let durable = stack.raw.durable("ORDERS", "charge-customer-undo").await;
        let deliveries = durable["delivered"]["consumer_seq"].as_u64().expect("a number");
        (deliveries > DEATHS as u64).then_some(())
    })
    .await;
    assert_eq!(armed.times(), DEATHS);
    assert_eq!(stack.raw.messages("ORDERS_PARKED").await, 0);
    end(replicas).await;
}

#[tokio::test]
async fn h16_a_step_that_panics_on_one_message_says_so_and_others_go_on() {
    let mut stack = Stack::bare().await;
    stack.start_others("charge-customer").await;
    stack.fill_stock().await;
    let armed = Armed::at(&stack, "panic", "run.odd-0");
    stack.start(armed.panics("charge-customer").env("QUADRILLE_WORKER__CONCURRENCY", 2)).await;
    stack.place_all("odd", &[Fate::Completes]).await;
    armed.happens().await;
    let worker = stack.worker("charge-customer");
    let line = eventually("it is said", async || {
        let said = worker.said();
        said.lines().find(|line| line.contains("the step panicked")).map(str::to_owned)
    })
    .await;
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["level"], "ERROR");
    assert_eq!(line["durable"], "charge-customer");
    assert_eq!(line["subject"], "orders.inventory.odd-0");
    let metrics = worker.page("/metrics").await.unwrap();
    let counted = "quadrille_panics_total{durable=\"charge-customer\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
    // It is not delivered again at once, and takes no place.
    let after = stack.place_all("after", &[Fate::Completes; 20]).await;
    stack.closed(&after).await;
    assert_eq!(armed.times(), 1);
    let info = stack.raw.durable("ORDERS", "charge-customer").await;
    assert_eq!(info["num_ack_pending"], 1, "the message is not lost");
    assert_eq!(stack.raw.messages("ORDERS_PARKED").await, 0);
}

#[tokio::test]
async fn h16_a_message_that_comes_again_and_again_in_good_order_is_not_suspected() {
    let stack = Stack::running(1).await;
    stack.sandbox.set_faults("payment", &json!({ "hang_rate": 1 })).await;
    let ids = stack.place_all("again", &[Fate::Completes]).await;
    eventually("the charge is in flight", async || {
        (stack.sandbox.calls_for(&ids[0], "create").await > 0).then_some(())
    })
    .await;
    // Wakes an undo that finds nothing to do yet, so it looks again.
    stack.raw.publish(&format!("orders.refused.{}", ids[0]), &[], "{}").await.unwrap();
    let undo = "reserve-inventory-undo";
    let sequence = eventually("it comes for the fifth time", async || {
        let delivered = stack.raw.durable("ORDERS", undo).await["delivered"].clone();
        (delivered["consumer_seq"].as_u64() >= Some(5)).then(|| delivered["stream_seq"].clone())
    })
    .await;
    let entry = stack.broker.entry(ATTEMPTS, &format!("{undo}.{sequence}")).await.unwrap();
    let record: Value = serde_json::from_slice(&entry.expect("written down").value).unwrap();
    assert!(record["ended"].as_u64() >= Some(4), "{record}");
    stack.sandbox.clear_faults().await;
    stack.closed(&ids).await;
}

#[tokio::test]
async fn h17_a_message_that_ends_its_worker_takes_no_neighbour_with_it() {
    let stack = without_charging().await;
    let armed = Armed::at(&stack, "killer", "run.killer-0");
    // All are there before the first worker, so that the killer has neighbours in hand.
    let mut good = stack.place_all("good", &[Fate::Completes; 8]).await;
    stack.place_all("killer", &[Fate::Completes]).await;
    good.extend(stack.place_all("well", &[Fate::Completes; 56]).await);
    let replicas = mortal(&stack, &armed, 2);
    stack.closed(&good).await;
    parked(&stack).await;
    stack.quiet().await;
    let parked = stack.history().await.parked;
    assert_eq!(parked.len(), 1, "one message, and no other");
    assert!(parked[0].subject.ends_with(".killer-0"), "{}", parked[0].subject);
    assert_eq!(armed.times(), DEATHS);
    stack.check().await;
    end(replicas).await;
}

async fn end(replicas: Vec<Supervisor>) {
    for replica in replicas {
        replica.end().await;
    }
}
