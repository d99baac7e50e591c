//! The step against a scripted stock: given, when, then, and the laws of every step with undo.

#![expect(clippy::unwrap_used, reason = "in a test a panic is a finding")]

use quadrille::step::{Evidence, Outcome};
use quadrille::testing::laws::{self, Effects, World};
use quadrille::testing::{Faults, given};
use quadrille::{Currency, Money};
use reserve_inventory::ReserveInventory;
use reserve_inventory::stock::ScriptedStock;
use rstest::rstest;
use schemas::Sku;
use schemas::order_fulfilment::events::{
    Destination, InventoryRefused, InventoryReleased, InventoryReserved, OrderLine, OrderPlaced,
};

fn placed(lines: &[(&str, u32)]) -> OrderPlaced {
    let line = |(name, quantity): &(&str, u32)| OrderLine {
        sku: sku(name),
        quantity: *quantity,
        unit_price: euros(500),
    };
    OrderPlaced {
        order_id: None,
        charges: vec![],
        total: None,
        customer: "cus_1".parse().unwrap(),
        payment_method: "pm_card_visa".parse().unwrap(),
        ship_to: Destination { country: "DE".into(), postcode: Some("10115".into()) },
        lines: lines.iter().map(line).collect(),
    }
}

fn sku(name: &str) -> Sku {
    Sku::parse(name).unwrap()
}

fn euros(amount: i64) -> Money {
    Money::new(amount, Currency::parse("EUR").unwrap())
}

fn stock() -> ScriptedStock {
    ScriptedStock::new(Faults::none()).with(sku("ROSE-RED"), 10).with(sku("VASE-GLASS"), 1)
}

fn step(stock: &ScriptedStock) -> ReserveInventory<ScriptedStock> {
    ReserveInventory::new(stock.clone())
}

fn refused(reason: &str, name: &str) -> Outcome<InventoryReserved, InventoryRefused> {
    Outcome::Refused(InventoryRefused { reason: reason.into(), sku: Some(sku(name)) })
}

#[tokio::test]
async fn an_order_in_stock_is_held_and_priced() {
    let stock = stock();
    let order = placed(&[("ROSE-RED", 3), ("VASE-GLASS", 1)]);
    let reserved = InventoryReserved {
        customer: order.customer.clone(),
        payment_method: order.payment_method.clone(),
        ship_to: order.ship_to.clone(),
        pieces: 4,
        total: euros(2_000),
    };
    given(&step(&stock)).when(&order).await.then(Outcome::Done(reserved));
    assert_eq!((stock.free(&sku("ROSE-RED")), stock.free(&sku("VASE-GLASS"))), (7, 0));
}

#[tokio::test]
async fn an_order_out_of_stock_is_refused_and_holds_nothing() {
    let stock = stock();
    let order = placed(&[("ROSE-RED", 3), ("VASE-GLASS", 2)]);
    given(&step(&stock)).when(&order).await.then(refused("out-of-stock", "VASE-GLASS"));
    assert_eq!(stock.free(&sku("ROSE-RED")), 10);
}

#[tokio::test]
async fn an_unknown_sku_is_a_refusal() {
    let order = placed(&[("ROSE-BLUE", 1)]);
    given(&step(&stock())).when(&order).await.then(refused("unknown-sku", "ROSE-BLUE"));
}

#[tokio::test]
async fn two_lines_of_one_sku_count_together() {
    let order = placed(&[("ROSE-RED", 6), ("ROSE-RED", 5)]);
    given(&step(&stock())).when(&order).await.then(refused("out-of-stock", "ROSE-RED"));
}

#[tokio::test]
async fn an_order_that_was_released_is_never_held() {
    let stock = stock();
    let order = placed(&[("ROSE-RED", 1)]);
    given(&step(&stock)).when_undone(&order, Evidence::Unknown).await.then(InventoryReleased {});
    given(&step(&stock)).when(&order).await.then_superseded();
    assert_eq!(stock.free(&sku("ROSE-RED")), 10);
}

#[rstest]
#[case::held(1)]
#[case::out_of_stock(11)]
#[tokio::test]
async fn every_law_holds(#[case] quantity: u32) {
    let world = |faults| {
        let stock = ScriptedStock::new(faults).with(sku("ROSE-RED"), 10);
        let effects = stock.clone();
        World::new(
            || ReserveInventory::new(stock.clone()),
            move || Effects { done: effects.held(), undone: effects.released() },
        )
    };
    laws::hold_for_undo(world, &placed(&[("ROSE-RED", quantity)])).await;
}
