//! The stock on a real server, shared by many replicas: never oversold, never held twice, and no
//! order suffers from another one's trouble.

mod anew;
mod completed;
mod lossy;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use lossy::LossyBroker;
use quadrille::broker::{Answers, Broker};
use quadrille::nats::{self, NatsBroker, NatsOptions, provision};
use quadrille::topology::{Profile, Topology};
use quadrille::{KeyNamespace, SagaId};
use reserve_inventory::shelf::Shelf;
use reserve_inventory::stock::{Held, Hold, Pieces, Stock, StockLog};
use reserve_inventory::stock_service;
use schemas::Sku;
use schemas::order_fulfilment::FLOW;
use schemas::stock::{HOLDS, NO_HOLD, STREAM};
use serde_json::{Value, json};
use tests::eventually::within_patience;
use tests::server::Server;

/// Whose orders they are, where nothing else is said.
const LOG: KeyNamespace = KeyNamespace::FIRST;

/// A server with the streams, and stock of some SKUs.
struct Shelves {
    server: Server,
    broker: NatsBroker,
    stock: StockLog,
}

impl Shelves {
    async fn with(of: &[(&str, u64)]) -> Self {
        let server = Server::start().await;
        let broker = connect(&server).await;
        let topology = Topology::new(&FLOW, Profile::Dev);
        let plan = provision::plan(&broker, &topology).await.expect("the server answers");
        provision::apply(&broker, &plan).await.expect("the server takes the plan");
        let stock = StockLog::new(Arc::new(connect(&server).await), LOG);
        stock.set(pieces(of), false).await.expect("the server answers").expect("a new SKU");
        Self { server, broker, stock }
    }

    /// Replicas with a connection of their own, each of which loses one batch in this many.
    async fn replicas(&self, count: usize, loses_one_in: u32) -> Vec<StockLog> {
        let replicas = (0..count).map(|_| async {
            let broker = connect(&self.server).await;
            StockLog::new(Arc::new(LossyBroker::of(broker, loses_one_in)), LOG)
        });
        join_all(replicas).await
    }

    /// Free pieces of each SKU, after a look at every hold: pieces are neither lost nor invented.
    async fn free(&self) -> BTreeMap<String, u64> {
        let levels = self.stock.show(&[]).await.expect("the server answers");
        let stored = self.broker.last_of_many(STREAM, vec![HOLDS.into()]).await;
        let holds = stored.expect("the server answers").into_iter();
        let holds = holds.filter(|stored| !stored.subject.starts_with(NO_HOLD));
        let holds: Vec<Hold> =
            holds.map(|hold| serde_json::from_slice(&hold.payload).expect("a hold")).collect();
        for level in &levels {
            let holding = holds.iter().filter(|hold| !hold.released && !hold.shipped);
            let held = holding.flat_map(|hold| &hold.pieces);
            let held: u64 =
                held.filter(|piece| piece.sku == level.sku).map(|piece| piece.quantity).sum();
            assert_eq!(level.held(), held, "{}", level.sku);
            assert!(level.free <= level.stocked, "{}", level.sku);
        }
        levels.into_iter().map(|level| (level.sku.to_string(), level.free)).collect()
    }
}

async fn connect(server: &Server) -> NatsBroker {
    let options = NatsOptions { urls: vec![server.url()], ..NatsOptions::default() };
    nats::connect(&options).await.expect("the server runs")
}

fn order(at: usize) -> SagaId {
    SagaId::parse(&format!("order-{at}")).expect("letters and digits")
}

fn pieces(of: &[(&str, u64)]) -> Pieces {
    let sku = |name| Sku::parse(name).expect("printable");
    of.iter().map(|(name, quantity)| (sku(name), *quantity)).collect()
}

/// As the runtime does: tries again as long as the outcome could not be found out.
async fn hold(stock: &StockLog, at: usize, of: &[(&str, u64)]) -> Held {
    within_patience("a hold", async {
        loop {
            if let Ok(held) = stock.hold(&order(at), pieces(of)).await {
                return held;
            }
        }
    })
    .await
}

async fn release(stock: &StockLog, at: usize) {
    let released = async { while stock.release(&order(at)).await.is_err() {} };
    within_patience("a release", released).await;
}

fn count(held: &[Held], wanted: &Held) -> usize {
    held.iter().filter(|held| *held == wanted).count()
}

#[tokio::test]
async fn h33_eight_replicas_sell_ten_pieces_to_ten_of_a_thousand_orders() {
    let shelves = Shelves::with(&[("ROSE-RED", 10)]).await;
    let replicas = shelves.replicas(8, 0).await;
    let all = (0..1_000).map(|at| hold(&replicas[at % 8], at, &[("ROSE-RED", 1)]));
    let held = join_all(all).await;
    let too_little = Held::TooLittle("ROSE-RED".parse().expect("printable"));
    assert_eq!((count(&held, &Held::Yes), count(&held, &too_little)), (10, 990));
    assert_eq!(shelves.free().await["ROSE-RED"], 0);
}

#[tokio::test]
async fn h33_no_piece_is_lost_when_replicas_hold_and_release_the_same_skus() {
    let shelves = Shelves::with(&[("ROSE-RED", 900), ("VASE GLASS, 30 cm", 70)]).await;
    let replicas = shelves.replicas(8, 0).await;
    join_all((0..600).map(|at| {
        let (here, there) = (&replicas[at % 8], &replicas[(at / 8) % 8]);
        async move {
            let of = [("ROSE-RED", 2), ("VASE GLASS, 30 cm", 1)];
            let of = if at % 5 == 0 { &of[..] } else { &of[..1] };
            hold(here, at, of).await;
            if at % 2 == 0 {
                release(there, at).await;
                assert_eq!(hold(here, at, of).await, Held::Released);
            }
        }
    }))
    .await;
    shelves.free().await;
    join_all((0..600).map(|at| release(&replicas[at % 8], at))).await;
    let all = [("ROSE-RED".into(), 900), ("VASE GLASS, 30 cm".into(), 70)];
    assert_eq!(shelves.free().await, BTreeMap::from(all));
}

#[tokio::test]
async fn h34_a_batch_whose_answer_is_lost_holds_once() {
    let shelves = Shelves::with(&[("ROSE-RED", 500)]).await;
    let replicas = shelves.replicas(3, 3).await;
    let twice = (0..600).map(|at| hold(&replicas[at % 3], at / 2, &[("ROSE-RED", 1)]));
    assert_eq!(count(&join_all(twice).await, &Held::Yes), 600);
    assert_eq!(shelves.free().await["ROSE-RED"], 200);
    let twice = (0..600).map(|at| release(&replicas[at % 3], at / 2));
    join_all(twice).await;
    assert_eq!(shelves.free().await["ROSE-RED"], 500);
}

#[tokio::test]
async fn h34_a_hold_is_found_by_whoever_comes_after_a_crash() {
    let shelves = Shelves::with(&[("ROSE-RED", 1)]).await;
    for loses_one_in in [0, 1] {
        // Cut off in the middle of the batch, or as soon as the batch's answer is lost.
        let replica = shelves.replicas(1, loses_one_in).await.remove(0);
        let order = order(1);
        let held = replica.hold(&order, pieces(&[("ROSE-RED", 1)]));
        let _ = tokio::time::timeout(Duration::from_millis(3), held).await;
    }
    assert_eq!(hold(&shelves.stock, 1, &[("ROSE-RED", 1)]).await, Held::Yes);
    assert_eq!(shelves.free().await["ROSE-RED"], 0);
}

#[tokio::test]
async fn h35_an_unknown_sku_among_256_orders_is_the_only_refusal() {
    let shelves = Shelves::with(&[("ROSE-RED", 1_000)]).await;
    let stock = &shelves.stock;
    let held = join_all((0..256).map(|at| async move {
        let name = if at == 128 { "ROSE-BLUE" } else { "ROSE-RED" };
        hold(stock, at, &[(name, 1)]).await
    }));
    let held = held.await;
    assert_eq!(count(&held, &Held::Yes), 255);
    assert_eq!(held[128], Held::UnknownSku("ROSE-BLUE".parse().expect("printable")));
    assert_eq!(shelves.free().await["ROSE-RED"], 1_000 - 255);
}

#[tokio::test]
async fn h35_a_hold_that_exists_does_not_keep_its_group_from_being_held() {
    let shelves = Shelves::with(&[("ROSE-RED", 1_000)]).await;
    let other = shelves.replicas(1, 0).await.remove(0);
    hold(&other, 64, &[("ROSE-RED", 1)]).await;
    release(&other, 65).await;
    let all = (0..256).map(|at| hold(&shelves.stock, at, &[("ROSE-RED", 1)]));
    let held = join_all(all).await;
    assert_eq!((count(&held, &Held::Yes), held[65].clone()), (255, Held::Released));
    assert_eq!(shelves.free().await["ROSE-RED"], 1_000 - 255);
}

/// The answer of an endpoint, or the code of its error.
async fn ask(shelves: &Shelves, endpoint: &str, body: &str) -> Result<Value, u16> {
    let subject = format!("{}.{endpoint}", stock_service::PREFIX);
    let answer = shelves.broker.request(&subject, body.to_owned().into()).await;
    let answer = answer.expect("the service answers").map_err(|error| error.code)?;
    Ok(serde_json::from_slice(&answer).expect("JSON"))
}

#[tokio::test]
async fn operators_set_and_show_the_stock_through_its_service() {
    let shelves = Shelves::with(&[("ROSE-RED", 10)]).await;
    hold(&shelves.stock, 1, &[("ROSE-RED", 4)]).await;
    let replica = shelves.replicas(1, 0).await.remove(0);
    let (prefix, endpoints) = (stock_service::PREFIX, stock_service::ENDPOINTS);
    let requests = shelves.broker.serve("stock", prefix, endpoints, Answers::One).await;
    let replica = Arc::new(replica);
    let shelf = Arc::new(Shelf::new(Arc::new(connect(&shelves.server).await), replica.clone()));
    let service = stock_service::serve(requests.expect("the server answers"), replica, shelf);
    let red =
        |stocked, free| json!({ "sku": "ROSE-RED", "stocked": stocked, "free": free, "held": 4 });
    let asked = async {
        assert_eq!(ask(&shelves, "show", "").await, Ok(json!([red(10, 6)])));
        let set = ask(&shelves, "set", r#"{"sku": "ROSE-RED", "stocked": 4}"#).await;
        assert_eq!(set, Ok(json!([red(4, 0)])));
        assert_eq!(ask(&shelves, "set", r#"{"sku": "ROSE-RED", "stocked": 3}"#).await, Err(409));
        let many =
            r#"{"items": [{"sku": "VASE", "stocked": 1}, {"sku": "ROSE-RED", "stocked": 9}]}"#;
        let vase = json!({ "sku": "VASE", "stocked": 1, "free": 1, "held": 0 });
        assert_eq!(ask(&shelves, "set", many).await, Ok(json!([red(9, 5), vase])));
        assert_eq!(ask(&shelves, "show", r#"{"sku": "VASE"}"#).await, Ok(json!([vase])));
        let some = r#"{"skus": ["VASE", "NOWHERE"]}"#;
        assert_eq!(ask(&shelves, "show", some).await, Ok(json!([vase])));
        for bad in ["", "[]", r#"{"items": []}"#, r#"{"sku": "VASE", "stocked": -1}"#] {
            assert_eq!(ask(&shelves, "set", bad).await, Err(400), "{bad}");
        }
        let twice = r#"{"items": [{"sku": "VASE", "stocked": 1}, {"sku": "VASE", "stocked": 2}]}"#;
        assert_eq!(ask(&shelves, "set", twice).await, Err(400));
    };
    tokio::select! {
        () = asked => {}
        () = service => panic!("the service ended"),
    }
}

#[tokio::test]
async fn an_opening_stock_is_made_once_and_changes_nothing_later() {
    let shelves = Shelves::with(&[("ROSE-RED", 10)]).await;
    hold(&shelves.stock, 1, &[("ROSE-RED", 4)]).await;
    for _ in 0..2 {
        let opened = stock_service::open(&shelves.stock, "ROSE-RED=1, VASE-GLASS=500").await;
        opened.expect("the server answers");
    }
    let free = [("ROSE-RED".into(), 6), ("VASE-GLASS".into(), 500)];
    assert_eq!(shelves.free().await, BTreeMap::from(free));
    for wrong in ["ROSE-RED", "ROSE-RED=many", "=5"] {
        assert!(stock_service::open(&shelves.stock, wrong).await.is_err(), "{wrong}");
    }
}
