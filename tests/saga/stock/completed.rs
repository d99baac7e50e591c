//! What completed orders hold leaves the shelf: each piece once, no matter who dies, which answer
//! is lost, and what an operator counts, receives or delists meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use quadrille::Flow;
use quadrille::broker::{Answers, Broker, Published};
use quadrille::log::envelope::{Occasion, Outgoing};
use quadrille::nats::provision;
use quadrille::topology::{Profile, Topology};
use reserve_inventory::shelf::Shelf;
use reserve_inventory::stock::{Held, No, Stock, StockLog};
use reserve_inventory::stock_service;
use schemas::order_fulfilment::FLOW;
use schemas::stock::{HOLDS, STREAM};
use serde_json::{Value, json};
use tests::eventually::{eventually, within_patience};
use tests::raw::Raw;
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;

use super::lossy::LossyBroker;
use super::{LOG, Shelves, ask, connect, count, hold, order, pieces, release};

static ORDERS: &Flow = &FLOW;

/// Writes into the log that an order is completed.
pub(super) async fn complete(shelves: &Shelves, at: usize) {
    let closing = FLOW.closing();
    let data = serde_json::value::to_raw_value(&json!({})).expect("JSON");
    let occasion =
        Occasion { cause: None, traceparent: None, time: Timestamp::now(), seal: None, work: None };
    let slot = ORDERS.slot(closing.slot, &order(at));
    let event = Outgoing::new(&FLOW, slot, closing.worker, (closing.done, &data), &occasion);
    let published = shelves.broker.publish_once(&event.slot, event.payload).await;
    assert!(matches!(published, Published::Stored { .. }), "{published:?}");
}

/// A shelf over a connection of its own, as a worker that was just started has it.
async fn shelf(shelves: &Shelves) -> Shelf {
    let broker = Arc::new(connect(&shelves.server).await);
    Shelf::new(broker.clone(), Arc::new(StockLog::new(broker, LOG)))
}

pub(super) async fn clear(shelves: &Shelves) {
    shelf(shelves).await.catch_up().await.expect("the server answers");
}

/// Another stream of the same name, without a message.
pub(super) async fn make_anew(shelves: &Shelves, stream: &str) -> Raw {
    let raw = Raw::connect(&[shelves.server.url()]).await;
    raw.api(&format!("STREAM.DELETE.{stream}"), Value::Null).await.expect("an answer");
    let topology = Topology::new(&FLOW, Profile::Dev);
    let plan = provision::plan(&shelves.broker, &topology).await.expect("the server answers");
    provision::apply(&shelves.broker, &plan).await.expect("the server takes the plan");
    raw
}

/// Stocked and free pieces of a SKU.
pub(super) async fn level(shelves: &Shelves, name: &str) -> (u64, u64) {
    let sku = name.parse().expect("printable");
    let levels = shelves.stock.show(&[sku]).await.expect("the server answers");
    (levels[0].stocked, levels[0].free)
}

#[tokio::test]
async fn h54_completed_orders_leave_the_shelf_once_though_every_replica_dies_again_and_again() {
    let shelves = Shelves::with(&[("ROSE-RED", 1_000), ("VASE", 1_000)]).await;
    let of = [("ROSE-RED", 2), ("VASE", 1)];
    join_all((0..120).map(|at| hold(&shelves.stock, at, &of))).await;
    join_all((0..100).map(|at| complete(&shelves, at))).await;
    let replicas = (0..3).map(|_| async {
        let broker = connect(&shelves.server).await;
        for _ in 0..15 {
            let broker = Arc::new(LossyBroker::of(broker.clone(), 4));
            let shelf = Shelf::new(broker.clone(), Arc::new(StockLog::new(broker, LOG)));
            // What is under way is cut off anywhere, and the next life knows nothing of it.
            let _ = timeout(Duration::from_millis(fastrand::u64(1..40)), shelf.catch_up()).await;
        }
    });
    let others = (200..260).map(|at| hold(&shelves.stock, at, &of));
    let (_, held) = tokio::join!(join_all(replicas), join_all(others));
    assert_eq!(count(&held, &Held::Yes), 60);
    clear(&shelves).await;
    assert_eq!(shelves.free().await["ROSE-RED"], 1_000 - 2 * 180);
    assert_eq!(level(&shelves, "ROSE-RED").await, (800, 640));
    assert_eq!(level(&shelves, "VASE").await, (900, 820));
    // A late attempt of a completed order, and another reading, find everything done.
    assert_eq!(hold(&shelves.stock, 7, &of).await, Held::Yes);
    clear(&shelves).await;
    assert_eq!(level(&shelves, "VASE").await, (900, 820));
}

/// What the stock's service answers about roses.
async fn roses(shelves: &Shelves, endpoint: &str, question: Value) -> Result<Value, u16> {
    let answer = ask(shelves, endpoint, &question.to_string()).await?;
    Ok(answer[0].clone())
}

fn counted(pieces: u64, state: &Value) -> Value {
    json!({ "items": [{ "sku": "ROSE-RED", "pieces": pieces, "state": state }] })
}

#[tokio::test]
async fn h54_what_is_counted_is_right_whatever_orders_do_while_it_is_counted() {
    let shelves = Shelves::with(&[("ROSE-RED", 10)]).await;
    for (at, quantity) in [(0, 2), (1, 3), (2, 1)] {
        hold(&shelves.stock, at, &[("ROSE-RED", quantity)]).await;
    }
    // Its pieces are gone, and no replica has said so yet.
    complete(&shelves, 1).await;
    let (prefix, endpoints) = (stock_service::PREFIX, stock_service::ENDPOINTS);
    let requests = shelves.broker.serve("stock", prefix, endpoints, Answers::One).await;
    let stock = Arc::new(shelves.replicas(1, 0).await.remove(0));
    let shelf = Arc::new(shelf(&shelves).await);
    let service = stock_service::serve(requests.expect("the server answers"), stock, shelf);
    let question = json!({ "sku": "ROSE-RED", "states": true });
    let asked = async {
        let shown = roses(&shelves, "show", question.clone()).await.expect("it is there");
        assert_eq!((&shown["stocked"], &shown["held"]), (&json!(7), &json!(3)));
        // While six of seven are counted, two leave and one more is sold.
        complete(&shelves, 0).await;
        hold(&shelves.stock, 3, &[("ROSE-RED", 1)]).await;
        let typed = counted(6, &shown["state"]);
        let count = roses(&shelves, "count", typed.clone()).await.expect("only orders did");
        assert_eq!((&count["stocked"], &count["held"]), (&json!(6), &json!(4)));
        clear(&shelves).await;
        assert_eq!(level(&shelves, "ROSE-RED").await, (4, 2));
        // Typed again, as after a lost answer.
        assert_eq!(roses(&shelves, "count", typed).await, Err(409));

        // The same, and what leaves meanwhile is off the shelf before the count is typed.
        let shown = roses(&shelves, "show", question.clone()).await.expect("it is there");
        complete(&shelves, 2).await;
        clear(&shelves).await;
        roses(&shelves, "count", counted(5, &shown["state"])).await.expect("only orders did");
        assert_eq!(level(&shelves, "ROSE-RED").await, (4, 3));
        let few = roses(&shelves, "count", counted(0, &shown["state"])).await;
        assert_eq!(few, Err(409));
    };
    tokio::select! {
        () = asked => {}
        () = service => panic!("the service ended"),
    }
    complete(&shelves, 3).await;
    clear(&shelves).await;
    assert_eq!(level(&shelves, "ROSE-RED").await, (3, 3));
    assert_eq!(shelves.free().await["ROSE-RED"], 3);
}

/// Who sets 10 waits for the shelf, gives up and sets 12.
#[tokio::test]
async fn what_is_set_first_does_not_land_after_what_is_set_next() {
    let shelves = Shelves::with(&[("ROSE-RED", 5)]).await;
    let (prefix, endpoints) = (stock_service::PREFIX, stock_service::ENDPOINTS);
    let requests = shelves.broker.serve("stock", prefix, endpoints, Answers::One).await;
    let stock = Arc::new(shelves.replicas(1, 0).await.remove(0));
    let waits = LossyBroker::of(connect(&shelves.server).await, 0);
    let broker = Arc::new(LossyBroker { first_state: Semaphore::new(0), ..waits });
    let shelf = Arc::new(Shelf::new(broker.clone(), stock.clone()));
    let service = stock_service::serve(requests.expect("the server answers"), stock, shelf);
    let set = async |pieces| {
        roses(&shelves, "set", json!({ "sku": "ROSE-RED", "stocked": pieces })).await
    };
    let answered = Notify::new();
    let asked = async {
        let next = async {
            eventually("the first one waits", async || {
                (broker.states.load(Relaxed) > 0).then_some(())
            })
            .await;
            let second = async {
                set(12).await.expect("nothing is held");
                answered.notify_one();
            };
            let release = async {
                // What is shown does not wait; and it was asked for behind the second one.
                roses(&shelves, "show", json!({ "sku": "ROSE-RED" })).await.expect("it is there");
                if broker.states.load(Relaxed) > 1 {
                    answered.notified().await;
                }
                broker.first_state.add_permits(1);
            };
            tokio::join!(second, release);
        };
        // On a slow machine it may have waited too long.
        let (first, ()) = tokio::join!(set(10), next);
        assert!(matches!(first, Ok(_) | Err(503)), "{first:?}");
        assert_eq!(level(&shelves, "ROSE-RED").await, (12, 12));
    };
    tokio::select! {
        () = asked => {}
        () = service => panic!("the service ended"),
    }
}

#[tokio::test]
async fn what_is_delisted_is_kept_for_its_orders_and_never_sold_again() {
    let shelves = Shelves::with(&[("ROSE-RED", 10)]).await;
    let other = shelves.replicas(1, 0).await.remove(0);
    for (at, quantity) in [(0, 2), (1, 3)] {
        hold(&other, at, &[("ROSE-RED", quantity)]).await;
    }
    let skus = vec!["ROSE-RED".parse().expect("printable")];
    shelves.stock.delist(skus).await.expect("the server answers").expect("it is stocked");
    let too_little = Held::TooLittle("ROSE-RED".parse().expect("printable"));
    assert_eq!(level(&shelves, "ROSE-RED").await, (5, 0));
    assert_eq!(hold(&other, 2, &[("ROSE-RED", 1)]).await, too_little);
    release(&other, 0).await;
    assert_eq!(level(&shelves, "ROSE-RED").await, (3, 0));
    assert_eq!(hold(&other, 3, &[("ROSE-RED", 1)]).await, too_little);
    complete(&shelves, 1).await;
    clear(&shelves).await;
    assert_eq!(level(&shelves, "ROSE-RED").await, (0, 0));
    let received = other.receive(pieces(&[("ROSE-RED", 4)]), "d1".to_owned()).await;
    received.expect("the server answers").expect("they fit");
    assert_eq!(hold(&other, 4, &[("ROSE-RED", 1)]).await, Held::Yes);
    release(&other, 4).await;
    assert_eq!(shelves.free().await["ROSE-RED"], 4);
}

#[tokio::test]
async fn h34_a_delivery_whose_answer_is_lost_is_added_once() {
    let shelves = Shelves::with(&[("ROSE-RED", 100)]).await;
    let replicas = shelves.replicas(3, 2).await;
    let deliveries = (0..60).map(|at| {
        let (replica, receipt) = (&replicas[at % 3], format!("delivery-{}", at % 10));
        let items = pieces(&[("ROSE-RED", 5), ("NEW", 1)]);
        async move {
            within_patience("a delivery", async {
                while !matches!(replica.receive(items.clone(), receipt.clone()).await, Ok(Ok(()))) {
                }
            })
            .await;
        }
    });
    join_all(deliveries).await;
    assert_eq!(
        shelves.free().await,
        BTreeMap::from([("NEW".into(), 10), ("ROSE-RED".into(), 150)])
    );
}

#[tokio::test]
async fn h54_another_log_of_the_same_name_is_read_from_its_beginning() {
    let shelves = Shelves::with(&[("ROSE-RED", 100)]).await;
    join_all((0..20).map(|at| hold(&shelves.stock, at, &[("ROSE-RED", 1)]))).await;
    join_all((0..5).map(|at| complete(&shelves, at))).await;
    clear(&shelves).await;
    // One that is shorter, one that is as long, and one that went on meanwhile.
    for (from, to, stocked) in [(5, 8, 92), (8, 11, 89), (11, 20, 80)] {
        make_anew(&shelves, FLOW.stream).await;
        join_all((from..to).map(|at| complete(&shelves, at))).await;
        clear(&shelves).await;
        assert_eq!(level(&shelves, "ROSE-RED").await.0, stocked);
    }
    assert_eq!(shelves.free().await["ROSE-RED"], 80);
}

/// It would read every order of the log again.
#[tokio::test]
async fn a_log_that_an_old_leader_shows_shorter_is_not_read_from_its_beginning() {
    let shelves = Shelves::with(&[("ROSE-RED", 100)]).await;
    join_all((0..6).map(|at| hold(&shelves.stock, at, &[("ROSE-RED", 1)]))).await;
    join_all((0..5).map(|at| complete(&shelves, at))).await;
    clear(&shelves).await;
    complete(&shelves, 5).await;
    let broker = Arc::new(LossyBroker::of(connect(&shelves.server).await, 0));
    let shelf = Shelf::new(broker.clone(), Arc::new(StockLog::new(broker.clone(), LOG)));
    broker.old_states.store(2, Relaxed);
    shelf.catch_up().await.expect("the server answers");
    assert_eq!(broker.old_states.load(Relaxed), 0);
    shelf.catch_up().await.expect("the server answers");
    assert_eq!(broker.first_pages.load(Relaxed), 0);
    assert_eq!(level(&shelves, "ROSE-RED").await, (94, 94));
}

#[tokio::test]
async fn h54_a_piece_whose_level_is_lost_keeps_nothing_else_on_the_shelf() {
    let shelves = Shelves::with(&[("ROSE-RED", 10), ("VASE", 10)]).await;
    let knows = Arc::new(shelves.replicas(1, 0).await.remove(0));
    hold(&knows, 0, &[("ROSE-RED", 2), ("VASE", 1)]).await;
    hold(&knows, 1, &[("VASE", 3)]).await;
    // A stock that was restored, and lacks a record.
    let filters = vec![HOLDS.into(), "stock.sku.VASE".into()];
    let kept = shelves.broker.last_of_many(STREAM, filters).await.expect("the server answers");
    let raw = make_anew(&shelves, STREAM).await;
    for record in kept {
        let payload = std::str::from_utf8(&record.payload).expect("JSON");
        raw.publish(&record.subject, &[], payload).await.expect("it is stored");
    }
    // Whoever knew the level refuses no order, and no order beside that one waits for it.
    let (of_roses, of_vases) = (order(2), order(3));
    let (roses, vases) = tokio::join!(
        knows.hold(&of_roses, pieces(&[("ROSE-RED", 1)])),
        knows.hold(&of_vases, pieces(&[("VASE", 1)])),
    );
    assert!(roses.is_err(), "{roses:?}");
    assert!(matches!(vases, Ok(Held::Yes)), "{vases:?}");

    join_all((0..2).map(|at| complete(&shelves, at))).await;
    let broker = Arc::new(connect(&shelves.server).await);
    Shelf::new(broker, knows.clone()).catch_up().await.expect("nothing is in the way");
    assert_eq!(level(&shelves, "VASE").await, (6, 5));
    assert_eq!(level(&shelves, "ROSE-RED").await, (0, 0));
    knows.set(pieces(&[("ROSE-RED", 8)]), false).await.expect("an answer").expect("it is mended");
    clear(&shelves).await;
    assert_eq!(level(&shelves, "ROSE-RED").await, (8, 8));
    assert_eq!(hold(&knows, 2, &[("ROSE-RED", 1)]).await, Held::Yes);
    assert_eq!(shelves.free().await["ROSE-RED"], 7);
}

#[tokio::test]
async fn a_level_that_is_junk_keeps_no_other_pieces_on_the_shelf_and_is_mended_by_setting_it() {
    let shelves = Shelves::with(&[("ROSE-RED", 10), ("VASE", 10)]).await;
    hold(&shelves.stock, 0, &[("ROSE-RED", 2), ("VASE", 1)]).await;
    complete(&shelves, 0).await;
    let raw = Raw::connect(&[shelves.server.url()]).await;
    // As another team's client may write: a level that is junk does not know its holds.
    raw.publish("stock.sku.ROSE-RED", &[], "junk").await.expect("it is stored");
    clear(&shelves).await;
    assert_eq!(level(&shelves, "VASE").await, (9, 9));
    let fresh = shelves.replicas(1, 0).await.remove(0);
    let junk = No::Junk("ROSE-RED".parse().expect("printable"));
    let received = fresh.receive(pieces(&[("ROSE-RED", 1)]), "d1".to_owned()).await;
    assert_eq!(received.expect("the server answers"), Err(junk));
    fresh.set(pieces(&[("ROSE-RED", 8)]), false).await.expect("an answer").expect("it is mended");
    clear(&shelves).await;
    assert_eq!(level(&shelves, "ROSE-RED").await, (8, 8));
    shelves.free().await;
}
