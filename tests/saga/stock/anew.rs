//! A stream that was made anew beside another one that was not: no order is refused for what the
//! stock has lost, and none is taken for one of an earlier log.

use std::sync::Arc;

use quadrille::broker::Broker as _;
use quadrille::step::StepError;
use reserve_inventory::shelf::Shelf;
use reserve_inventory::stock::{Held, Stock, StockLog};
use schemas::order_fulfilment::FLOW;
use schemas::stock::STREAM;
use serde_json::json;

use super::completed::{clear, complete, level, make_anew};
use super::{LOG, Shelves, connect, hold, order, pieces, release};

#[tokio::test]
async fn no_order_is_refused_because_the_stock_was_made_anew() {
    let shelves = Shelves::with(&[("ROSE-RED", 10)]).await;
    let knows = shelves.replicas(1, 0).await.remove(0);
    assert_eq!(hold(&knows, 0, &[("ROSE-RED", 1)]).await, Held::Yes);
    make_anew(&shelves, STREAM).await;
    let held = knows.hold(&order(1), pieces(&[("ROSE-RED", 1)])).await;
    // It had a level, and has none now.
    let said = format!("{held:?}");
    assert!(said.contains("Gone") && said.contains("ROSE-RED"), "{said}");
    // It never had one.
    let unknown = Held::UnknownSku("NEVER".parse().expect("printable"));
    assert_eq!(hold(&knows, 2, &[("NEVER", 1)]).await, unknown);
    // Once it is stocked again, the same replica goes on.
    knows.set(pieces(&[("ROSE-RED", 5)]), false).await.expect("an answer").expect("a new SKU");
    assert_eq!(hold(&knows, 1, &[("ROSE-RED", 1)]).await, Held::Yes);
    assert_eq!(shelves.free().await["ROSE-RED"], 4);
}

/// The same orders again in another log: what each of them held, released or sold in the log that
/// is no more is not this one's.
#[tokio::test]
async fn an_id_that_is_used_again_in_another_log_holds_its_own_pieces() {
    let shelves = Shelves::with(&[("ROSE-RED", 100), ("VASE", 100)]).await;
    let (completed, released, open, undone) = (0, 1, 2, 3);
    for at in [completed, released, open, undone] {
        hold(&shelves.stock, at, &[("ROSE-RED", 2), ("VASE", 1)]).await;
    }
    complete(&shelves, completed).await;
    clear(&shelves).await;
    release(&shelves.stock, released).await;
    assert_eq!(level(&shelves, "ROSE-RED").await, (98, 94));

    let raw = make_anew(&shelves, FLOW.stream).await;
    let broker = Arc::new(connect(&shelves.server).await);
    let log = broker.inspect(&FLOW, "reserve-inventory").await.expect("it is there");
    let another = Arc::new(StockLog::new(broker.clone(), log.keys.expect("drawn")));
    for at in [completed, released, open] {
        assert_eq!(hold(&another, at, &[("ROSE-RED", 3)]).await, Held::Yes, "{at}");
        // A late attempt finds it.
        assert_eq!(hold(&another, at, &[("ROSE-RED", 3)]).await, Held::Yes, "{at}");
    }
    // An undo that found no hold of this log is a fence to a late one all the same.
    release(&another, undone).await;
    assert_eq!(hold(&another, undone, &[("ROSE-RED", 3)]).await, Held::Released);
    assert_eq!(level(&shelves, "ROSE-RED").await, (98, 98 - 3 * 3));
    assert_eq!(level(&shelves, "VASE").await, (99, 99));
    // Who has not heard of the newer log yet takes nothing from it.
    let late = why_not_released(&shelves.stock, open).await;
    assert!(late.contains("another one now"), "{late}");
    assert_eq!(level(&shelves, "ROSE-RED").await, (98, 98 - 3 * 3));
    complete(&shelves, completed).await;
    Shelf::new(broker, another.clone()).catch_up().await.expect("nothing is in the way");
    assert_eq!(level(&shelves, "ROSE-RED").await, (95, 89));
    release(&another, open).await;
    assert_eq!(shelves.free().await["ROSE-RED"], 92);
    // And where nobody can tell which log it is, that is said.
    raw.change_stream(FLOW.stream, json!({ "metadata": { "team": "shop" } })).await.expect("taken");
    let unknown = why_not_released(&shelves.stock, open).await;
    let way_out = format!("topology apply --keys {LOG} --write");
    assert!(unknown.contains(&way_out), "{unknown}");
}

async fn why_not_released(stock: &StockLog, at: usize) -> String {
    match stock.release(&order(at)).await {
        Err(StepError::TryAgain { source, .. }) => source.to_string(),
        released => panic!("{released:?}"),
    }
}
