//! Messages that a durable passes over, or does not deliver, are noticed by the log, not by what
//! the broker says is pending.

use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use futures::StreamExt;
use jiff::Timestamp;
use quadrille::SagaId;
use quadrille::flow::{Durable, Role};
use schemas::order_fulfilment::FLOW;
use serde_json::json;
use tests::eventually::eventually;
use tests::stack::{Fate, Launch, Stack};
use tokio::time::sleep;

use crate::by_hand::{holds, refuse};

/// Of a worker that looks every second.
fn launch(worker: &'static str) -> Launch {
    Launch::of(worker).env("QUADRILLE_WORKER__INSPECT_EVERY", "1s")
}

async fn page(stack: &mut Stack, worker: &str, path: &str) -> String {
    let page = stack.worker(worker).page(path).await;
    page.unwrap_or_else(|error| format!("{error:#}"))
}

#[tokio::test]
async fn h53_what_another_client_acknowledged_is_handled_from_the_log() {
    let mut stack = Stack::bare().await;
    stack.start_others("charge-customer").await;
    stack.fill_stock().await;
    let ids = stack.place_all("passed", &[Fate::Completes, Fate::Declined]).await;
    let waiting = async || {
        let info = stack.raw.durable("ORDERS", "charge-customer").await;
        (info["num_pending"] == 2).then_some(())
    };
    eventually("both wait for their charge", waiting).await;
    stack.raw.acknowledge_all("ORDERS", "charge-customer").await.unwrap();
    stack.settled("charge-customer").await;
    stack.start(launch("charge-customer")).await;
    stack.closed(&ids).await;
    let said = stack.worker("charge-customer").said();
    for id in &ids {
        let subject = format!("orders.inventory.{id}");
        let names = |line: &str| line.contains("step-not-delivered") && line.contains(&subject);
        let is_said = said.lines().any(|line| line.contains("ERROR") && names(line));
        assert!(is_said, "{said}");
    }
    let metrics = page(&mut stack, "charge-customer", "/metrics").await;
    let counted = "quadrille_passed_over_total{durable=\"charge-customer\"} 2";
    assert!(metrics.contains(counted), "{metrics}");
    let worker = "charge-customer";
    eventually("it is ready again", async || {
        page(&mut stack, worker, "/ready").await.contains("\r\n\r\nready").then_some(())
    })
    .await;
    stack.quiet().await;
    stack.check().await;
}

/// Everything but the walks one deadline behind the present.
fn durables() -> impl Iterator<Item = Durable> {
    FLOW.durables(None).into_iter().filter(|durable| !matches!(durable.role, Role::Deadline(_)))
}

/// Moves each durable past all that it should deliver, again and again.
async fn pass_over(stack: &Stack) {
    loop {
        for Durable { name, stream, .. } in durables() {
            let info = stack.raw.durable(&stream, &name).await;
            if info["num_pending"] != 0 {
                let last = stack.raw.stream(&stream).await["state"]["last_seq"].as_u64();
                let body = json!({ "seq": last.unwrap() + 1 });
                let verb = format!("CONSUMER.RESET.{stream}.{name}");
                stack.raw.api(&verb, body).await.expect("the server moves a durable");
            }
        }
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn h53_orders_end_though_every_durable_passes_over_every_message() {
    let mut stack = Stack::bare().await;
    for row in FLOW.steps {
        for _ in 0..2 {
            stack.start(launch(row.worker)).await;
        }
    }
    stack.fill_stock().await;
    let hour = Timestamp::now() + jiff::SignedDuration::from_hours(1);
    for Durable { name, stream, .. } in durables() {
        stack.raw.pause(&stream, &name, hour).await;
    }
    let fates = [Fate::Completes, Fate::OutOfStock, Fate::Declined, Fate::NoCarrier];
    let mut ids = stack.place_all("passed", &fates).await;
    let cancelled = stack.place_all("cancelled", &[Fate::Completes]).await;
    let wish = format!("orders.cancel.{}", cancelled[0]);
    stack.raw.publish(&wish, &[], "").await.unwrap();
    ids.extend(cancelled.clone());
    tokio::select! {
        () = pass_over(&stack) => {}
        () = stack.closed(&ids) => {}
    }
    let delivered = async |durable: &Durable| {
        let info = stack.raw.durable(&durable.stream, &durable.name).await;
        info["delivered"]["consumer_seq"].as_u64().unwrap()
    };
    for durable in durables() {
        assert_eq!(delivered(&durable).await, 0, "{} delivered nothing", durable.name);
    }
    stack.check().await;
}

/// Of two messages that wake an undo the first is settled at once, because a later step undoes
/// first; while the second is in a worker's hand nothing was passed over.
#[tokio::test]
async fn h53_an_undo_that_a_worker_is_at_was_not_passed_over() {
    let mut stack = Stack::bare().await;
    for worker in ["reserve-inventory", "ship-order", "complete-order"] {
        stack.start(launch(worker)).await;
    }
    stack.fill_stock().await;
    let ids = stack.place_all("held", &[Fate::Declined]).await;
    eventually("it is reserved", async || holds(&stack, &ids[0], "inventory").await).await;
    // As another client may write: what orders hold of it is no longer known.
    for sku in ["ROSE-RED", "VASE-GLASS"] {
        stack.raw.publish(&format!("stock.sku.{sku}"), &[], "junk").await.unwrap();
    }
    stack.start(launch("charge-customer")).await;
    eventually("its charge is undone", async || holds(&stack, &ids[0], "payment-undo").await).await;
    let durable = "reserve-inventory-undo";
    let mut looks = stack.raw.hear(&format!("$JS.API.CONSUMER.INFO.ORDERS.{durable}")).await;
    let mut seen = 0;
    eventually("the watchdog has looked six times", async || {
        seen += looks.more().await.len();
        (seen >= 6).then_some(())
    })
    .await;
    let said = stack.worker("reserve-inventory").said();
    assert!(!said.contains("step-not-delivered"), "{said}");
    let info = stack.raw.durable("ORDERS", durable).await;
    assert_eq!(info["num_ack_pending"], 1, "the worker is at it: {info}");
}

/// What one look misses may be on its way, in the hands of another replica or behind an old leader;
/// so the leader must say it twice.
#[tokio::test]
async fn h53_what_comes_of_a_message_between_two_looks_was_not_passed_over() {
    let mut stack = Stack::bare().await;
    stack.start_others("charge-customer").await;
    stack.fill_stock().await;
    let ids = stack.place_all("late", &[Fate::Completes]).await;
    eventually("it is reserved", async || holds(&stack, &ids[0], "inventory").await).await;
    stack.raw.acknowledge_all("ORDERS", "charge-customer").await.unwrap();
    stack.settled("charge-customer").await;
    let mut reads = stack.raw.hear("$JS.API.STREAM.MSG.GET.ORDERS_PARKED").await;
    let mut looks = stack.raw.hear("$JS.API.CONSUMER.INFO.ORDERS.charge-customer").await;
    // Between two looks there are more than four seconds.
    let six = Launch::of("charge-customer").env("QUADRILLE_WORKER__INSPECT_EVERY", "6s");
    stack.start(six).await;
    let parked = format!("parked.orders.charge-customer.{}", ids[0]);
    eventually(
        "it asks the leader, as its last question, whether the message is parked",
        async || {
            let more = reads.more().await;
            let is_of_message = |body: &[u8]| String::from_utf8_lossy(body).contains(&parked);
            more.iter().any(|(_, body)| is_of_message(body)).then_some(())
        },
    )
    .await;
    refuse(&stack, &ids[0], "charge-customer").await;
    looks.more().await;
    let mut seen = 0;
    eventually("it has looked twice since", async || {
        seen += looks.more().await.len();
        (seen >= 2).then_some(())
    })
    .await;
    let said = stack.worker("charge-customer").said();
    assert!(!said.contains("step-not-delivered"), "{said}");
    stack.closed(&ids).await;
    stack.quiet().await;
    stack.check().await;
}

#[tokio::test]
async fn h53_a_worker_whose_messages_do_not_come_is_not_ready_and_says_why() {
    let mut stack = Stack::bare().await;
    stack.start_others("charge-customer").await;
    stack.fill_stock().await;
    // Another client takes one message, and never settles it; the durable delivers no more.
    let one = json!({ "max_ack_pending": 1, "ack_wait": 600_000_000_000_u64 });
    stack.raw.change_durable("ORDERS", "charge-customer", one).await.unwrap();
    let ids: Vec<SagaId> = stack.place_all("stuck", &[Fate::Completes; 2]).await;
    eventually("one waits behind the other", async || {
        let info = stack.raw.durable("ORDERS", "charge-customer").await;
        (info["num_pending"] == 2).then_some(())
    })
    .await;
    let context = async_nats::jetstream::new(stack.client());
    let hoarder = context.get_consumer_from_stream("charge-customer", "ORDERS").await;
    let hoarder: PullConsumer = hoarder.unwrap();
    let mut taken = hoarder.fetch().max_messages(1).messages().await.unwrap();
    assert!(taken.next().await.is_some());
    stack.start(launch("charge-customer")).await;
    let said = eventually("it is no longer ready", async || {
        let said = page(&mut stack, "charge-customer", "/ready").await;
        said.contains("not ready").then_some(said)
    })
    .await;
    assert!(said.contains("503"), "{said}");
    assert!(said.contains("undelivered") && said.contains("max_ack_pending"), "{said}");
    let many = json!({ "max_ack_pending": 10_000, "ack_wait": 1_000_000_000_u64 });
    stack.raw.change_durable("ORDERS", "charge-customer", many).await.unwrap();
    eventually("it is ready again", async || {
        let said = page(&mut stack, "charge-customer", "/ready").await;
        said.contains("\r\n\r\nready").then_some(())
    })
    .await;
    stack.closed(&ids).await;
    stack.quiet().await;
    stack.check().await;
}
