//! What an order costs and where it goes: charges, totals, currencies of today, postcodes.

use quadrille_vocabulary::Reason;
use serde_json::{Value, json};

use super::{good, read, with};

#[test]
fn what_an_order_costs_is_lines_and_charges_less_discounts() {
    let with_charges = |charges: Value, total: i64| {
        let mut order = good();
        order["charges"] = charges;
        order["total"] = json!({ "amount": total, "currency": "EUR" });
        read(&order.to_string())
    };
    let charge = |kind: &str, amount: i64| {
        let amount = json!({ "amount": amount, "currency": "EUR" });
        json!({ "kind": kind, "amount": amount })
    };
    let all = json!([charge("shipping", 490), charge("tax", 310), charge("discount", 800)]);
    let order = with_charges(all.clone(), 4_990).unwrap();
    assert_eq!((order.total().unwrap().amount, order.pieces()), (4_990, 13));
    let bad = with_charges(all, 4_991).unwrap_err();
    assert_eq!((bad.reason, bad.pointer.as_str()), (Reason::Rule("total-disagrees"), "/total"));
    assert!(bad.message.contains("4990 EUR"), "{bad}");
    assert_eq!(
        with_charges(json!([charge("discount", 4_990)]), 0).unwrap().total().unwrap().amount,
        0
    );
    let bad = with_charges(json!([charge("discount", 4_991)]), 0).unwrap_err();
    assert_eq!(bad.reason, Reason::Rule("total-below-zero"));
}

#[test]
fn where_it_goes_is_trimmed_and_a_postcode_may_be_left_out() {
    for (written, read_as) in [
        (json!("10115\n"), Some("10115")),
        (json!(" SW1A\u{a0}1AA\t"), Some("SW1A 1AA")),
        (json!(""), None),
        (json!(" "), None),
        (json!(null), None),
    ] {
        let order = read(&with("/ship_to/postcode", written)).unwrap();
        assert_eq!(order.ship_to.postcode.as_deref(), read_as);
    }
    let order = read(&with("/ship_to", json!({ "country": " HK " }))).unwrap();
    assert_eq!((order.ship_to.country.as_str(), order.ship_to.postcode), ("HK", None));
}

#[test]
fn a_withdrawn_currency_is_read_from_a_log_and_refused_in_a_new_order() {
    let mut order = good();
    for line in order["lines"].as_array_mut().unwrap() {
        line["unit_price"]["currency"] = json!("ANG");
    }
    let bad = read(&order.to_string()).unwrap().must_be_of_today().unwrap_err();
    assert_eq!(bad.pointer, "/lines/0/unit_price/currency");
    for (code, is_one) in [("XCG", true), ("EUR", true), ("ANG", false), ("BGN", false)] {
        assert_eq!(quadrille_vocabulary::Currency::parse(code).is_ok(), is_one, "{code}");
    }
}
