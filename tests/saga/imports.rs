//! Orders of other systems, converted by the programs of `ops/examples/import`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use quadrille::Event;
use schemas::order_fulfilment::FLOW;
use schemas::order_fulfilment::events::OrderPlaced;
use serde_json::Value;
use tests::stack::Stack;

const SYSTEMS: [(&str, u64, &str); 3] =
    [("shopify", 5_994, "usd"), ("woocommerce", 7_009, "eur"), ("commercetools", 6_600, "jpy")];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../ops/examples/import")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).expect("it is committed")
}

#[test]
fn each_program_makes_the_committed_order() {
    let is_there = Command::new("jq").arg("--version").output().is_ok();
    if !is_there {
        // Not with `println!`, because its output is shown only if a test fails.
        let _ = writeln!(std::io::stdout(), "imports: skipped, because jq is not installed");
        return;
    }
    for (system, ..) in SYSTEMS {
        let (program, export) = (format!("{system}.jq"), format!("{system}.json"));
        let jq = Command::new("jq")
            .args(["--arg", "payment_method", "pm_card_visa", "-f", &program, &export])
            .current_dir(folder())
            .output()
            .expect("jq runs");
        assert!(jq.status.success(), "{program}: {}", String::from_utf8_lossy(&jq.stderr));
        let made: Value = serde_json::from_slice(&jq.stdout).expect("JSON");
        let committed: Value =
            serde_json::from_str(&read(&format!("{system}.order.json"))).unwrap();
        assert_eq!(made, committed, "{program}");
    }
}

#[tokio::test]
async fn the_order_of_each_system_is_charged_to_the_cent() {
    let stack = Stack::running(1).await;
    let mut ids = Vec::new();
    for (system, total, currency) in SYSTEMS {
        let text = read(&format!("{system}.order.json"));
        let order = OrderPlaced::from_data(FLOW.opens.event, &text).expect("a valid order");
        let amount = order.total.expect("the system's own").amount;
        assert_eq!(u64::try_from(amount), Ok(total), "{system}");
        for line in &order.lines {
            stack.set_stock(&[(line.sku.as_str(), 10)]).await;
        }
        let id = order.order_id.clone().expect("an id");
        stack.place(&id, &order).await.expect("it is stored");
        ids.push((id, total, currency));
    }
    for (id, total, currency) in ids {
        stack.closed(std::slice::from_ref(&id)).await;
        let ledger = stack.sandbox.ledger().await;
        let of_order = ledger.iter().filter(|line| line.order.as_deref() == Some(id.as_str()));
        let captured: Vec<_> = of_order.filter(|line| line.effect == "captured").collect();
        assert_eq!(captured.len(), 1, "{id}");
        let paid = (captured[0].amount, captured[0].currency.as_deref());
        assert_eq!(paid, (Some(total), Some(currency)), "{id}");
    }
    stack.quiet().await;
    stack.check().await;
}

#[tokio::test]
async fn an_order_that_costs_nothing_is_completed_and_cancelled_without_the_gateway() {
    let stack = Stack::running(1).await;
    let free = |country: &str| {
        let mut order: OrderPlaced =
            serde_json::from_str(&read("shopify.order.json")).expect("a valid order");
        (order.charges, order.total, order.order_id) = (Vec::new(), None, None);
        order.lines.truncate(1);
        order.lines[0].unit_price.amount = 0;
        order.ship_to.country = country.into();
        order.ship_to.postcode = None;
        order
    };
    stack.set_stock(&[("IPOD2008GREEN", 10)]).await;
    let ids = ["free", "free-and-refused"].map(|id| quadrille::SagaId::parse(id).unwrap());
    for (id, country) in ids.iter().zip(["HK", "AQ"]) {
        stack.place(id, &free(country)).await.expect("it is stored");
    }
    stack.closed(&ids).await;
    for id in &ids {
        assert_eq!(stack.sandbox.calls_for(id, "create").await, 0, "{id}");
    }
    assert_eq!(stack.hold(&ids[1]).await.map(|hold| hold["released"].clone()), Some(true.into()));
    stack.quiet().await;
    stack.check().await;
}
