//! All mistakes of an order at once, and none that the parser of the workers does not see.

use std::collections::BTreeSet;

use proptest::prelude::*;
use quadrille_vocabulary::event::{Kind, MOST_MISTAKES, Of};
use quadrille_vocabulary::{Event, Reason};
use rstest::rstest;
use schemas::order_fulfilment::events::{OrderPlaced, SAMPLE, full_sample};
use serde_json::{Value, json};

const PLACED: Kind = Kind::of::<OrderPlaced>();

fn sample() -> Value {
    let mut sample: Value = serde_json::from_str(SAMPLE).unwrap();
    sample["order_id"] = json!("A123");
    sample
}

fn told(data: &str) -> Vec<(String, Of, String)> {
    let mistakes = PLACED.mistakes(data, &full_sample());
    mistakes.into_iter().map(|m| (m.bad.pointer, m.of, m.bad.message)).collect()
}

/// The sample with other values at some places.
fn with(changes: &[(&str, Value)]) -> String {
    let mut order = sample();
    for (pointer, value) in changes {
        *order.pointer_mut(pointer).unwrap() = value.clone();
    }
    order.to_string()
}

#[rstest]
#[case("/lines/0/unit_price/amount", json!(2.5), Of::Form, "250 for 2.50")]
#[case("/lines/1/unit_price/amount", json!("250"), Of::Form, "whole minor units")]
#[case("/lines/1/unit_price/amount", json!(-199), Of::Value, "a discount is a charge")]
#[case("/lines/0/unit_price/currency", json!("eur"), Of::Value, "upper-case ISO 4217")]
#[case("/lines/0/unit_price/currency", json!(978), Of::Form, "such as EUR")]
#[case("/lines/1/unit_price/currency", json!("USD"), Of::Value, "currency of the first line")]
#[case("/lines/0/quantity", json!(-1), Of::Value, "a whole number of pieces")]
#[case("/lines/0/quantity", json!(0), Of::Value, "at least 1")]
#[case("/lines/0/quantity", json!(9_000_000_000_u64), Of::Value, "from 1 to 4294967295")]
#[case("/lines/0/quantity", json!(4_294_967_296_u64), Of::Value, "a whole number of pieces")]
#[case("/lines/0/sku", json!(""), Of::Value, "1 to 64 bytes")]
#[case("/lines/0/sku", json!(7), Of::Form, "a stock keeping unit")]
#[case("/lines/0/sku", json!("ROSE\u{0}RED"), Of::Value, "printable")]
#[case("/lines", json!([]), Of::Value, "at least one line")]
#[case("/lines", json!({}), Of::Form, "a list: 1 to 200 lines")]
#[case("/lines/1", json!("rose"), Of::Form, "an object with sku, quantity, unit_price")]
#[case("/ship_to", json!(null), Of::Form, "an object with country, postcode")]
#[case("/ship_to/country", json!("de"), Of::Value, "two upper-case letters")]
#[case("/ship_to/postcode", json!(10115), Of::Form, "1 to 16 letters, digits")]
#[case("/customer", json!("Jane Doe"), Of::Value, "without spaces")]
#[case("/payment_method", json!([]), Of::Form, "the payment gateway's name")]
#[case("/order_id", json!("a b"), Of::Value, "A-Z a-z 0-9 _ -")]
#[case("/order_id", json!(1), Of::Form, "a-z 0-9 _ -")]
fn a_mistake_is_told_in_the_words_of_its_field(
    #[case] pointer: &str,
    #[case] value: Value,
    #[case] of: Of,
    #[case] words: &str,
) {
    let found = told(&with(&[(pointer, value)]));
    let [(at, sort, message)] = &found[..] else { panic!("{found:?}") };
    assert_eq!((at.as_str(), *sort), (pointer, of), "{message}");
    assert!(message.contains(words), "{message}");
}

#[rstest]
#[case(r#""amount":250"#, r#""amount":250,"amount":9"#, "/lines/0/unit_price/amount", Of::Form)]
#[case(r#""amount":250,"#, "", "/lines/0/unit_price/amount", Of::Form)]
#[case(r#""amount":250"#, r#""amount":1e400"#, "/lines/0/unit_price/amount", Of::Form)]
#[case(r#""amount":250"#, r#""amount":1e3"#, "/lines/0/unit_price/amount", Of::Form)]
#[case(r#""amount":250"#, r#""amount":-0"#, "/lines/0/unit_price/amount", Of::Form)]
#[case(r#""cus_1001""#, r#""\ud800""#, "/customer", Of::Form)]
#[case(r#""sku":"VASE-GLASS","#, "", "/lines/1/sku", Of::Form)]
#[case("}", "", "", Of::Form)]
fn what_no_value_can_hold_is_told_too(
    #[case] what: &str,
    #[case] instead: &str,
    #[case] pointer: &str,
    #[case] of: Of,
) {
    let found = told(&sample().to_string().replacen(what, instead, 1));
    let [(at, sort, message)] = &found[..] else { panic!("{found:?}") };
    assert_eq!((at.as_str(), *sort), (pointer, of), "{message}");
}

/// The sample with charges and a total, changed.
fn summed(change: impl FnOnce(&mut Value)) -> String {
    let mut order = full_sample();
    change(&mut order);
    order.to_string()
}

#[rstest]
#[case("/total/amount", json!(1), "/total", "the lines and the charges make")]
#[case("/total/currency", json!("USD"), "/total", "the lines and the charges make")]
#[case("/charges/0/amount/amount", json!(-5), "/charges/0/amount/amount", "a discount of")]
#[case("/charges/0/amount/currency", json!("USD"), "/charges/0/amount/currency", "first line")]
#[case("/charges/0/kind", json!("gift"), "/charges/0/kind", "shipping")]
#[case("/charges/0/amount/amount", json!("5"), "/charges/0/amount/amount", "whole minor units")]
#[case("/lines/0/unit_price/amount", json!("5"), "/lines/0/unit_price/amount", "whole minor units")]
fn a_mistake_in_what_an_order_costs_is_told_alone(
    #[case] pointer: &str,
    #[case] value: Value,
    #[case] told_at: &str,
    #[case] words: &str,
) {
    let found = told(&summed(|order| *order.pointer_mut(pointer).unwrap() = value));
    let [(at, _, message)] = &found[..] else { panic!("{found:?}") };
    assert_eq!(at, told_at, "{message}");
    assert!(message.contains(words), "{message}");
}

/// What a worker sets aside says all that the edge would have said, in the same words.
#[test]
fn one_sentence_tells_every_mistake_with_its_pointer() {
    let data = with(&[
        ("/lines/0/unit_price/amount", json!("250")),
        ("/customer", json!(7)),
        ("/ship_to/postcode", json!(10115)),
    ]);
    let bad = OrderPlaced::from_data("order.placed.v1", &data).unwrap_err();
    let mistakes = PLACED.mistakes(&data, &full_sample());
    let all = bad.clone().told_with(&mistakes);
    assert_eq!((&all.pointer, all.reason), (&mistakes[0].bad.pointer, bad.reason));
    for mistake in &mistakes {
        assert!(all.message.contains(&mistake.bad.message), "{}", all.message);
        assert!(!mistake.bad.message.contains("invalid type"), "{}", mistake.bad.message);
    }
    for mistake in &mistakes[1..] {
        let told = format!("{} {}", mistake.bad.pointer, mistake.bad.message);
        assert!(all.message.contains(&told), "{}", all.message);
    }
    assert_eq!(bad.clone().told_with(&[]), bad);
}

#[test]
fn discounts_above_all_the_rest_are_one_mistake() {
    let found = told(&summed(|order| {
        order["charges"][0] =
            json!({ "kind": "discount", "amount": { "amount": 999_999, "currency": "EUR" } });
        order.as_object_mut().unwrap().remove("total");
    }));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].2.contains("at least zero"), "{found:?}");
}

#[test]
fn two_lines_in_other_currencies_are_two_mistakes_but_a_repaired_one_is_none() {
    let currencies = |of: [&str; 3]| {
        let line = |code| {
            json!({ "sku": "A", "quantity": 1, "unit_price":
            { "amount": 1, "currency": code } })
        };
        with(&[("/lines", of.map(line).into_iter().collect())])
    };
    let pointers = |text: &str| told(text).into_iter().map(|(at, ..)| at).collect::<Vec<_>>();
    let place = |at| format!("/lines/{at}/unit_price/currency");
    assert_eq!(pointers(&currencies(["EUR", "USD", "GBP"])), [place(1), place(2)]);
    assert_eq!(pointers(&currencies(["XXX", "USD", "USD"])), [place(0)]);
    assert_eq!(pointers(&currencies(["USD", "usd", "USD"])), [place(1)]);
}

#[test]
fn a_total_that_disagrees_is_told_beside_mistakes_that_no_sum_is_of() {
    let wrong = summed(|order| {
        order["customer"] = json!(7);
        order["ship_to"]["country"] = json!("Germany");
        order["total"]["amount"] = json!(1);
    });
    let pointers: Vec<_> = told(&wrong).into_iter().map(|(pointer, ..)| pointer).collect();
    assert_eq!(pointers, ["/customer", "/ship_to/country", "/total"]);
}

#[test]
fn a_sum_of_several_currencies_is_no_mistake_of_its_own() {
    let mixed = summed(|order| {
        order["lines"][1]["unit_price"]["currency"] = json!("USD");
        order["total"]["amount"] = json!(1);
    });
    let pointers: Vec<_> = told(&mixed).into_iter().map(|(pointer, ..)| pointer).collect();
    assert_eq!(pointers, ["/lines/1/unit_price/currency"]);
}

#[test]
fn more_mistakes_than_one_can_read_are_not_all_told() {
    let line = json!({ "sku": "", "quantity": 0, "unit_price": { "amount": 0, "currency": "X" } });
    let order = with(&[("/lines", vec![line; 200].into())]);
    assert_eq!(told(&order).len(), MOST_MISTAKES);
}

/// Each place of the sample, with values that are surely wrong there.
fn places() -> Vec<(&'static str, Vec<Value>)> {
    let text = || vec![json!(null), json!(1), json!(""), json!("\u{202e}"), json!([])];
    let price = || vec![json!(null), json!(1.5), json!(-7), json!("1"), json!({})];
    let whole = || vec![json!(null), json!(1.5), json!(0), json!(-7), json!("1"), json!({})];
    vec![
        ("/order_id", vec![json!(1), json!(""), json!("a.b"), json!("x".repeat(65))]),
        ("/customer", text()),
        ("/payment_method", text()),
        ("/ship_to/country", vec![json!("de"), json!("DEU"), json!(49), json!("")]),
        ("/ship_to/postcode", vec![json!("1".repeat(17)), json!(1), json!("ä")]),
        ("/lines/0/sku", text()),
        ("/lines/0/quantity", whole()),
        ("/lines/0/unit_price/amount", price()),
        ("/lines/0/unit_price/currency", vec![json!("eur"), json!("EUX"), json!(7)]),
        ("/lines/1/sku", text()),
        ("/lines/1/quantity", whole()),
        ("/lines/1/unit_price/amount", price()),
        ("/lines/1/unit_price/currency", vec![json!("usd"), json!("E"), json!(null)]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn each_of_many_mistakes_is_told_once(
        picks in proptest::collection::vec(proptest::option::of(0_usize..100), 13),
    ) {
        let places = places();
        let chosen = places.iter().zip(&picks).filter_map(|((pointer, values), pick)| {
            Some((*pointer, values[(*pick)? % values.len()].clone()))
        });
        let changes: Vec<_> = chosen.collect();
        let found = told(&with(&changes));
        let pointers: BTreeSet<_> = found.iter().map(|(at, ..)| at.as_str()).collect();
        let wanted: BTreeSet<_> = changes.iter().map(|(pointer, _)| *pointer).collect();
        prop_assert_eq!(pointers, wanted);
        prop_assert_eq!(found.len(), changes.len());
    }

    /// Whatever bytes are put wherever: what the parser accepts has no mistake, and the reverse.
    #[test]
    fn there_is_a_mistake_exactly_if_the_workers_parser_refuses(
        at in any::<prop::sample::Index>(),
        cut in 0_usize..12,
        junk in prop::sample::select(vec![
            "", "0", "-1", "1.5", "\"\"", "null", "{}", "[]", ",", "}", "]", "\\ud800", "\u{202e}",
            "\"amount\":1,", "99999999999999999999", "x", " ", "1e400", "\"order_id\":\"B\",",
        ]),
    ) {
        let text = sample().to_string();
        let from = at.index(text.len());
        let to = (from + cut).min(text.len());
        let data = format!("{}{junk}{}", &text[..from], &text[to..]);
        let read = OrderPlaced::from_data("order.placed.v1", &data);
        let found = PLACED.mistakes(&data, &full_sample());
        prop_assert_eq!(found.is_empty(), read.is_ok());
        if let Err(first) = read {
            prop_assert_eq!(found[0].bad.reason, first.reason);
            let whole = matches!(first.reason, Reason::NotJson | Reason::TooLarge);
            prop_assert!(!whole || found.len() == 1);
        }
    }
}
