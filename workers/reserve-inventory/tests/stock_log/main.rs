//! The group commit over a stream in memory: many replicas, lost answers, callers cut off in the
//! middle. Time is paused, so a round trip costs nothing and still lets everybody in.

#![expect(clippy::unwrap_used, reason = "in a test a panic is a finding")]

mod broker;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use broker::{MemoryBroker, MemoryStream};
use futures::future::join_all;
use quadrille::testing::Faults;
use quadrille::testing::laws::{self, Effects, World};
use quadrille::{Currency, KeyNamespace, Money, SagaId};
use reserve_inventory::ReserveInventory;
use reserve_inventory::stock::{Held, No, Pieces, Stock, StockLog};
use schemas::Sku;
use schemas::order_fulfilment::events::{Destination, OrderLine, OrderPlaced};
use tokio::time::timeout;

fn sku(name: &str) -> Sku {
    Sku::parse(name).unwrap()
}

fn order(at: usize) -> SagaId {
    SagaId::parse(&format!("o{at}")).unwrap()
}

fn pieces(of: &[(&str, u64)]) -> Pieces {
    of.iter().map(|(name, quantity)| (sku(name), *quantity)).collect()
}

fn replica(stream: &Arc<MemoryStream>) -> StockLog {
    StockLog::new(Arc::new(MemoryBroker(Arc::clone(stream))), KeyNamespace::FIRST)
}

fn replicas(stream: &Arc<MemoryStream>, count: usize) -> Vec<StockLog> {
    (0..count).map(|_| replica(stream)).collect()
}

/// A stream with this stock, and a replica that knows it.
async fn stocked(stream: MemoryStream, of: &[(&str, u64)]) -> (Arc<MemoryStream>, StockLog) {
    let stream = Arc::new(stream);
    let stock = replica(&stream);
    until_told(async || stock.set(pieces(of), false).await).await.unwrap();
    (stream, stock)
}

/// As the runtime does: again, as long as it could not be found out.
async fn until_told<T, E>(mut ask: impl AsyncFnMut() -> Result<T, E>) -> T {
    loop {
        if let Ok(told) = ask().await {
            return told;
        }
    }
}

async fn hold(stock: &StockLog, at: usize, of: &[(&str, u64)]) -> Held {
    until_told(async || stock.hold(&order(at), pieces(of)).await).await
}

async fn release(stock: &StockLog, at: usize) {
    until_told(async || stock.release(&order(at)).await).await;
}

async fn ship(stock: &StockLog, at: usize) {
    until_told(async || stock.ship(vec![order(at)]).await).await;
}

fn count(held: &[Held], wanted: &Held) -> usize {
    held.iter().filter(|held| *held == wanted).count()
}

#[tokio::test(start_paused = true)]
async fn orders_that_come_together_are_few_batches_and_no_reads() {
    let (stream, stock) = stocked(MemoryStream::default(), &[("A", 10_000)]).await;
    hold(&stock, 0, &[("A", 1)]).await;
    let (reads, batches) = (stream.reads.load(Relaxed), stream.batches.load(Relaxed));
    let held = join_all((1..=600).map(|at| hold(&stock, at, &[("A", 1)]))).await;
    assert_eq!(count(&held, &Held::Yes), 600);
    assert_eq!(stream.reads.load(Relaxed), reads, "the steady state reads nothing");
    assert!(stream.batches.load(Relaxed) - batches <= 4, "{:?}", stream.batches);
    assert_eq!(stream.levels()[0].free, 10_000 - 601);
    stream.check();
}

#[tokio::test(start_paused = true)]
async fn eight_replicas_sell_ten_pieces_to_ten_of_a_thousand_orders() {
    let (stream, _) = stocked(MemoryStream::default(), &[("A", 10)]).await;
    let replicas = replicas(&stream, 8);
    let held = join_all((0..1_000).map(|at| hold(&replicas[at % 8], at, &[("A", 1)]))).await;
    assert_eq!(count(&held, &Held::Yes), 10);
    assert_eq!(count(&held, &Held::TooLittle(sku("A"))), 990);
    stream.check();
}

#[tokio::test(start_paused = true)]
async fn an_order_held_by_every_replica_at_once_is_held_once() {
    let (stream, _) = stocked(MemoryStream::default(), &[("A", 1_000)]).await;
    let replicas = replicas(&stream, 8);
    let all = (0..400).map(|at| hold(&replicas[at % 8], at / 8, &[("A", 2)]));
    assert_eq!(count(&join_all(all).await, &Held::Yes), 400);
    assert_eq!(stream.levels()[0].free, 1_000 - 100);
    stream.check();
}

#[tokio::test(start_paused = true)]
async fn lost_requests_and_answers_hold_nothing_twice() {
    let (stream, _) = stocked(MemoryStream::losing_one_in(4), &[("A", 500), ("B", 90)]).await;
    let replicas = replicas(&stream, 3);
    let held = join_all((0..400).map(|at| {
        let of: &[_] = if at % 4 == 0 { &[("A", 1), ("B", 1)] } else { &[("A", 1)] };
        hold(&replicas[at % 3], at, of)
    }));
    let held = held.await;
    assert_eq!(count(&held, &Held::TooLittle(sku("B"))), 10);
    assert_eq!(count(&held, &Held::Yes), 390);
    stream.check();

    join_all((0..400).map(|at| release(&replicas[(at + 1) % 3], at))).await;
    assert!(stream.levels().iter().all(|level| level.free == level.stocked));
    assert_eq!(stream.holds().len(), 400, "those that were refused have a fence as well");
    stream.check();
}

#[tokio::test(start_paused = true)]
async fn an_order_that_cannot_be_held_does_not_sink_its_group() {
    let (stream, stock) = stocked(MemoryStream::default(), &[("A", 10_000)]).await;
    let batches = stream.batches.load(Relaxed);
    let held = join_all((0..256).map(|at| {
        let name = if at == 99 { "NOWHERE" } else { "A" };
        let stock = &stock;
        async move { hold(stock, at, &[(name, 1)]).await }
    }));
    let held = held.await;
    assert_eq!(count(&held, &Held::Yes), 255);
    assert_eq!(held[99], Held::UnknownSku(sku("NOWHERE")));
    assert_eq!(stream.batches.load(Relaxed), batches + 2, "the first alone, then all others");
    stream.check();
}

#[tokio::test(start_paused = true)]
async fn a_hold_that_exists_is_taken_out_and_the_rest_goes_again() {
    let (stream, stock) = stocked(MemoryStream::default(), &[("A", 1_000)]).await;
    hold(&stock, 7, &[("A", 5)]).await;
    release(&replica(&stream), 8).await;
    let held = join_all((0..100).map(|at| hold(&stock, at, &[("A", 5)]))).await;
    assert_eq!((count(&held, &Held::Yes), held[8].clone()), (99, Held::Released));
    assert_eq!(stream.levels()[0].free, 1_000 - 5 * 99);
    stream.check();
}

#[tokio::test(start_paused = true)]
async fn a_refusal_rests_on_fresh_numbers() {
    let (stream, stock) = stocked(MemoryStream::default(), &[("A", 1)]).await;
    assert_eq!(hold(&stock, 0, &[("A", 1)]).await, Held::Yes);
    // Another replica frees the piece and adds a SKU; this one still remembers none of it.
    let other = replica(&stream);
    release(&other, 0).await;
    other.set(pieces(&[("NEW", 1)]), false).await.unwrap().unwrap();
    assert_eq!(hold(&stock, 1, &[("A", 1), ("NEW", 1)]).await, Held::Yes);
    assert_eq!(hold(&stock, 2, &[("A", 1)]).await, Held::TooLittle(sku("A")));
    stream.check();
}

#[tokio::test(start_paused = true)]
async fn an_order_is_never_refused_for_the_piece_that_it_holds_itself() {
    for _ in 0..100 {
        let (stream, stock) = stocked(MemoryStream::default(), &[("A", 0)]).await;
        let replicas = replicas(&stream, 4);
        // From now on they take it for sold out, and read before they say so again.
        join_all(replicas.iter().map(|stock| hold(stock, 1, &[("A", 1)]))).await;
        until_told(async || stock.set(pieces(&[("A", 1)]), false).await).await.unwrap();
        let held = join_all(replicas.iter().map(|stock| hold(stock, 0, &[("A", 1)]))).await;
        assert_eq!(count(&held, &Held::Yes), 4, "{held:?}");
        stream.check();
    }
}

#[tokio::test(start_paused = true)]
async fn an_earlier_hold_counts_even_when_nothing_is_left() {
    let (stream, stock) = stocked(MemoryStream::default(), &[("A", 1)]).await;
    assert_eq!(hold(&replica(&stream), 0, &[("A", 1)]).await, Held::Yes);
    assert_eq!(hold(&stock, 0, &[("A", 1)]).await, Held::Yes);
    stream.check();
}

#[tokio::test(start_paused = true)]
async fn many_large_releases_are_split_by_messages() {
    let names: Vec<String> = (0..1_000).map(|at| format!("S{at}")).collect();
    let all: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 100)).collect();
    let (stream, stock) = stocked(MemoryStream::default(), &all).await;
    // 200 holds and 1,000 levels are more than one batch takes, and no SKU is in two orders.
    let lines = |at: usize| -> Vec<(&str, u64)> {
        (0..5).map(|line| (names[at * 5 + line].as_str(), 1)).collect()
    };
    let held = join_all((0..200).map(|at| {
        let (stock, lines) = (&stock, lines(at));
        async move { hold(stock, at, &lines).await }
    }));
    assert_eq!(count(&held.await, &Held::Yes), 200);
    stream.check();
    let batches = stream.batches.load(Relaxed);
    join_all((0..200).map(|at| release(&stock, at))).await;
    assert!(stream.levels().iter().all(|level| level.free == level.stocked));
    assert!(stream.batches.load(Relaxed) - batches >= 2, "{:?}", stream.batches);
    stream.check();
}

#[tokio::test(start_paused = true)]
async fn whoever_is_cut_off_leaves_nobody_waiting() {
    let (stream, _) = stocked(MemoryStream::losing_one_in(8), &[("A", 10_000)]).await;
    let replicas = replicas(&stream, 2);
    let patience = || Duration::from_micros(fastrand::u64(200..9_000));
    let held = join_all((0..500).map(|at| {
        let stock = &replicas[at % 2];
        async move {
            // Cut off some times in the middle of whatever it does, for itself or for others.
            for _ in 0..3 {
                let order = order(at);
                let held = stock.hold(&order, pieces(&[("A", 1)]));
                let _ = timeout(patience(), held).await;
            }
            hold(stock, at, &[("A", 1)]).await
        }
    }));
    let held = timeout(Duration::from_secs(600), held).await.expect("nobody waits for ever");
    assert_eq!(count(&held, &Held::Yes), 500);
    assert_eq!(stream.levels()[0].free, 9_500);
    stream.check();
}

#[tokio::test(start_paused = true)]
async fn in_every_race_of_hold_and_release_nothing_stays_held() {
    let (stream, _) = stocked(MemoryStream::losing_one_in(6), &[("A", 10_000)]).await;
    let replicas = replicas(&stream, 4);
    join_all((0..300).map(|at| {
        let (one, other) = (&replicas[at % 4], &replicas[(at / 4) % 4]);
        async move {
            tokio::join!(hold(one, at, &[("A", 3)]), release(other, at));
            assert_eq!(hold(one, at, &[("A", 3)]).await, Held::Released);
        }
    }))
    .await;
    assert_eq!(stream.levels()[0].free, 10_000);
    stream.check();
}

#[tokio::test(start_paused = true)]
async fn whatever_ships_an_order_at_the_same_time_its_pieces_leave_the_shelf_once() {
    let (stream, _) = stocked(MemoryStream::losing_one_in(6), &[("A", 10_000)]).await;
    let replicas = replicas(&stream, 4);
    join_all((0..300).map(|at| {
        let (one, other) = (&replicas[at % 4], &replicas[(at / 4) % 4]);
        async move {
            hold(one, at, &[("A", 3)]).await;
            tokio::join!(ship(one, at), ship(other, at), hold(other, at, &[("A", 3)]));
        }
    }))
    .await;
    let level = &stream.levels()[0];
    assert_eq!((level.stocked, level.free), (9_100, 9_100));
    stream.check();
}

#[tokio::test(start_paused = true)]
async fn a_hold_that_an_old_leader_does_not_show_is_shipped_all_the_same() {
    let (stream, stock) = stocked(MemoryStream::default(), &[("A", 10)]).await;
    hold(&stock, 0, &[("A", 4)]).await;
    stream.hides_holds.store(1, Relaxed);
    ship(&replica(&stream), 0).await;
    let level = &stream.levels()[0];
    assert_eq!((level.stocked, level.free), (6, 6));
    stream.check();
}

#[tokio::test(start_paused = true)]
async fn a_level_that_an_old_leader_does_not_show_is_not_made_again() {
    let (stream, stock) = stocked(MemoryStream::default(), &[("A", 10)]).await;
    hold(&stock, 0, &[("A", 4)]).await;
    stream.hides_levels.store(1, Relaxed);
    ship(&replica(&stream), 0).await;
    let level = &stream.levels()[0];
    assert_eq!((level.stocked, level.free), (6, 6));
    stream.check();
}

#[tokio::test(start_paused = true)]
async fn stock_is_set_all_or_nothing_and_never_below_what_is_held() {
    let (stream, stock) = stocked(MemoryStream::default(), &[("A", 5)]).await;
    hold(&stock, 0, &[("A", 4)]).await;
    let other = replica(&stream);
    let below = No::BelowHeld { sku: sku("A"), held: 4 };
    assert_eq!(other.set(pieces(&[("A", 3), ("B", 1)]), false).await.unwrap(), Err(below));
    assert_eq!(stock.show(&[]).await.unwrap().len(), 1);
    other.set(pieces(&[("A", 4), ("B", 1)]), false).await.unwrap().unwrap();
    let shown = stock.show(&[sku("A"), sku("NOWHERE")]).await.unwrap();
    assert_eq!((shown.len(), shown[0].stocked, shown[0].free, shown[0].held()), (1, 4, 0, 4));
    stock.set(pieces(&[("A", 100), ("B", 100), ("C", 7)]), true).await.unwrap().unwrap();
    let stocked: Vec<u64> =
        stock.show(&[]).await.unwrap().iter().map(|level| level.stocked).collect();
    assert_eq!(stocked, [4, 1, 7]);
    stream.check();
}

#[tokio::test(start_paused = true)]
async fn every_law_holds_on_the_log() {
    let price = Money::new(500, Currency::parse("EUR").unwrap());
    let placed = OrderPlaced {
        order_id: None,
        customer: "cus_1".parse().unwrap(),
        payment_method: "pm_card_visa".parse().unwrap(),
        ship_to: Destination { country: "DE".into(), postcode: Some("10115".into()) },
        lines: vec![OrderLine { sku: sku("A"), quantity: 2, unit_price: price }],
        charges: vec![],
        total: None,
    };
    let (seed, _) = stocked(MemoryStream::default(), &[("A", 5)]).await;
    let world = |faults: Faults| {
        let stream = Arc::new(MemoryStream::with(faults));
        stream.begin_as(&seed);
        let effects = Arc::clone(&stream);
        World::new(
            || ReserveInventory::new(replica(&stream)),
            move || {
                let holds = effects.hold_messages();
                let had = |released: bool| {
                    let of = |hold: &&reserve_inventory::stock::Hold| {
                        hold.released == released && !hold.pieces.is_empty()
                    };
                    u32::try_from(holds.iter().filter(of).count()).unwrap()
                };
                effects.check();
                Effects { done: had(false), undone: had(true) }
            },
        )
    };
    laws::hold_for_undo(world, &placed).await;
}
