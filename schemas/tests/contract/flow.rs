//! What is derived from the order flow's table.

use quadrille_vocabulary::SagaId;
use quadrille_vocabulary::flow::Role;
use rstest::rstest;
use schemas::FLOWS;
use schemas::order_fulfilment::FLOW;

fn saga() -> SagaId {
    SagaId::parse("A123").unwrap()
}

#[test]
fn every_flow_of_this_build_is_legal() {
    for flow in FLOWS {
        assert_eq!(flow.check(), [], "{}", flow.saga);
    }
}

#[test]
fn the_durables_of_the_order_flow_are_a_contract() {
    let durables = FLOW.durables(None);
    let durables: Vec<_> = durables
        .iter()
        .filter(|durable| durable.stream == FLOW.stream)
        .map(|durable| {
            let filters: Vec<_> = durable.filters.iter().map(String::as_str).collect();
            (durable.name.as_str(), durable.worker, durable.role, filters)
        })
        .collect();
    let reserve = "reserve-inventory";
    let charge = "charge-customer";
    let complete = "complete-order";
    let payment_undo = "orders.payment-undo.*";
    assert_eq!(
        durables,
        [
            (reserve, reserve, Role::Forward, vec!["orders.placed.*"]),
            ("reserve-inventory-undo", reserve, Role::Undo, vec!["orders.refused.*", payment_undo]),
            (charge, charge, Role::Forward, vec!["orders.inventory.*"]),
            ("charge-customer-undo", charge, Role::Undo, vec!["orders.refused.*"]),
            ("ship-order", "ship-order", Role::Forward, vec!["orders.payment.*"]),
            (complete, complete, Role::Forward, vec!["orders.shipment.*"]),
            ("complete-order-closing", complete, Role::Closing, vec!["orders.inventory-undo.*"]),
            ("complete-order-deadline", complete, Role::Deadline(None), vec!["orders.placed.*"]),
            ("complete-order-cancel", complete, Role::Cancel, vec!["orders.cancel.*"]),
        ]
    );
}

#[test]
fn what_was_parked_comes_back_on_a_durable_of_its_own() {
    let durables = FLOW.durables(None).into_iter();
    let released: Vec<_> = durables
        .filter(|durable| durable.role == Role::Released)
        .map(|durable| (durable.stream, durable.name, durable.filters.join(" ")))
        .collect();
    let one = |worker: &str, filters: &str| {
        ("ORDERS_PARKED".to_owned(), format!("{worker}-released"), filters.to_owned())
    };
    assert_eq!(
        released,
        [
            one("reserve-inventory", "released.orders.reserve-inventory.*"),
            one("charge-customer", "released.orders.charge-customer.*"),
            one("ship-order", "released.orders.ship-order.*"),
            one(
                "complete-order",
                "released.orders.complete-order.* released.orders.complete-order-cancel.*"
            ),
        ]
    );
    let subject = FLOW.released("complete-order-cancel", &saga());
    assert_eq!(subject, "released.orders.complete-order-cancel.A123");
    assert_eq!(FLOW.parse_released(&subject), Some(("complete-order-cancel", saga())));
    for other in ["released.trips.a.A123", "released.orders.a.b.A123", "orders.placed.A123"] {
        assert_eq!(FLOW.parse_released(other), None, "{other}");
    }
}

#[test]
fn one_worker_has_its_own_durables_only() {
    let names = |worker| {
        let durables = FLOW.durables(Some(worker));
        durables.into_iter().map(|durable| durable.name).collect::<Vec<_>>()
    };
    let charge = ["charge-customer", "charge-customer-undo", "charge-customer-released"];
    assert_eq!(names("charge-customer"), charge);
    assert_eq!(names("ship-order"), ["ship-order", "ship-order-released"]);
    assert!(names("nobody").is_empty());
}

#[test]
fn no_two_filters_of_a_durable_match_one_subject() {
    for durable in FLOWS.iter().flat_map(|flow| flow.durables(None)) {
        assert!(!durable.filters.is_empty(), "{}: it would read everything", durable.name);
        for (at, one) in durable.filters.iter().enumerate() {
            for other in &durable.filters[at + 1..] {
                assert!(!overlap(one, other), "{}: {one} and {other}", durable.name);
            }
        }
    }
}

/// Whether some subject matches both filters, by the broker's rules for `*` and `>`.
fn overlap(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('.'), other.split('.'));
    loop {
        match (one.next(), other.next()) {
            (None, None) | (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
            (None, Some(_)) | (Some(_), None) => return false,
            (Some(a), Some(b)) if a != b && a != "*" && b != "*" => return false,
            (Some(_), Some(_)) => {}
        }
    }
}

#[rstest]
#[case("orders.placed.A123", Some("placed"))]
#[case("orders.payment-undo.A123", Some("payment-undo"))]
#[case("orders.cancel.A123", Some("cancel"))]
#[case("orders.placed", None)]
#[case("orders.placed.", None)]
#[case("orders..A123", None)]
#[case("orders.*.A123", None)]
#[case("orders.placed.*", None)]
#[case("orders.placed.>", None)]
#[case("orders.placed.A123.B", None)]
#[case("orders.placed.A 123", None)]
#[case("ordersplaced.A123", None)]
#[case("Orders.placed.A123", None)]
#[case("parked.orders.placed.A123", None)]
#[case("$JS.API.INFO", None)]
#[case("", None)]
fn only_a_subject_of_the_flow_has_a_slot_and_a_saga(
    #[case] subject: &str,
    #[case] slot: Option<&str>,
) {
    assert_eq!(FLOW.parse_subject(subject), slot.map(|slot| (slot, saga())));
}

#[test]
fn the_id_in_a_subject_has_1_to_64_characters() {
    let subject = |length| format!("orders.placed.{}", "a".repeat(length));
    assert!(FLOW.parse_subject(&subject(64)).is_some());
    assert!(FLOW.parse_subject(&subject(65)).is_none());
}

#[test]
fn a_subject_of_a_slot_is_read_as_that_slot() {
    for (name, _) in FLOW.events() {
        let slot = FLOW.slot(name, &saga());
        assert_eq!(FLOW.parse_subject(slot.subject()), Some((slot.name(), slot.saga().clone())));
    }
    assert_eq!(FLOW.story(&saga()), "orders.*.A123");
}

#[test]
fn undo_runs_backwards() {
    let before = |worker| FLOW.undone_before(worker).map(|step| step.worker);
    assert_eq!(before("reserve-inventory"), Some("charge-customer"));
    assert_eq!(before("charge-customer"), None, "the last undoable step waits for nobody");
    assert_eq!(before("ship-order"), None);
    assert_eq!(before("nobody"), None);
}

#[test]
fn a_saga_turns_at_a_decision_or_at_the_pivot() {
    let slots: Vec<_> = FLOW.refusable().collect();
    assert_eq!(slots, ["inventory", "payment", "pivot", "shipment"]);
}

#[test]
fn a_parcel_goes_without_a_quote_and_not_without_a_carrier() {
    let row = FLOW.row("ship-order").unwrap();
    assert_eq!((row.requires, row.prefers), (&["carrier"][..], &["quote-service"][..]));
}

#[test]
fn the_row_of_a_worker_and_of_a_slot_is_found() {
    assert_eq!(FLOW.row("ship-order").unwrap().slot, "shipment");
    assert_eq!(FLOW.decides("payment").unwrap().worker, "charge-customer");
    assert_eq!(FLOW.closing().worker, "complete-order");
    assert!(FLOW.decides("payment-undo").is_none(), "an undo slot is no decision");
}
