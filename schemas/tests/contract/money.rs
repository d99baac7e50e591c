//! Money is exact or an error: never a wrapped, rounded or mixed amount.

use proptest::prelude::*;
use quadrille_vocabulary::ids::Reference;
use quadrille_vocabulary::money::MoneyError;
use quadrille_vocabulary::{Currency, Event, Money, Reason};
use schemas::Sku;
use schemas::order_fulfilment::events::{Destination, MAX_LINES, OrderLine, OrderPlaced};

fn eur() -> Currency {
    Currency::parse("EUR").unwrap()
}

/// Any amount, the extremes far more often than chance would have it.
fn amount() -> impl Strategy<Value = i64> {
    prop_oneof![
        Just(i64::MAX),
        Just(i64::MIN),
        Just(i64::MAX - 1),
        Just(0),
        Just(1),
        Just(-1),
        -1_000_000..1_000_000_i64,
        any::<i64>(),
    ]
}

fn count() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), Just(1), Just(u32::MAX), 0..1_000_u32, any::<u32>()]
}

fn price() -> impl Strategy<Value = i64> {
    prop_oneof![Just(i64::MAX), Just(1), 1..1_000_000_i64, 1..=i64::MAX]
}

fn currency() -> impl Strategy<Value = Currency> {
    prop::sample::select(vec!["EUR", "USD", "JPY"]).prop_map(|code| Currency::parse(code).unwrap())
}

/// The exact result in minor units, or the error where it does not fit.
fn exactly(amount: i128) -> Result<Money, MoneyError> {
    i64::try_from(amount).map(|amount| Money::new(amount, eur())).map_err(|_| MoneyError::Overflow)
}

fn order(lines: &[(i64, u32, Currency)]) -> OrderPlaced {
    let line = |&(amount, quantity, currency)| OrderLine {
        sku: Sku::parse("ROSE-RED").unwrap(),
        quantity,
        unit_price: Money::new(amount, currency),
    };
    OrderPlaced {
        order_id: None,
        charges: vec![],
        total: None,
        customer: Reference::parse("cus_1").unwrap(),
        payment_method: Reference::parse("pm_card_visa").unwrap(),
        ship_to: Destination { country: "DE".into(), postcode: Some("10115".into()) },
        lines: lines.iter().map(line).collect(),
    }
}

proptest! {
    #[test]
    fn h32_a_sum_of_two_is_exact_or_an_error(a in amount(), b in amount()) {
        let (one, other) = (Money::new(a, eur()), Money::new(b, eur()));
        prop_assert_eq!(one.plus(other), exactly(i128::from(a) + i128::from(b)));
        prop_assert_eq!(one.plus(other), other.plus(one));
    }

    #[test]
    fn h32_a_product_is_exact_or_an_error(a in amount(), n in count()) {
        prop_assert_eq!(Money::new(a, eur()).times(n), exactly(i128::from(a) * i128::from(n)));
    }

    #[test]
    fn h32_a_sum_of_many_is_exact_or_an_error_in_any_order(
        amounts in prop::collection::vec(amount(), 1..40),
        seed in any::<prop::sample::Index>(),
    ) {
        let sum = |amounts: &[i64]| Money::sum(amounts.iter().map(|&a| Money::new(a, eur())));
        let exact: i128 = amounts.iter().map(|&amount| i128::from(amount)).sum();
        prop_assert_eq!(sum(&amounts), exactly(exact));

        let mut turned = amounts.clone();
        turned.rotate_left(seed.index(amounts.len()));
        prop_assert_eq!(sum(&turned), sum(&amounts));
        turned.reverse();
        prop_assert_eq!(sum(&turned), sum(&amounts));
    }

    #[test]
    fn h32_two_currencies_are_never_added(
        a in amount(),
        b in amount(),
        c in currency(),
        d in currency(),
    ) {
        let (one, other) = (Money::new(a, c), Money::new(b, d));
        let mixed = MoneyError::MixedCurrencies(c, d);
        if c == d {
            prop_assert_ne!(one.plus(other), Err(mixed));
        } else {
            prop_assert_eq!(one.plus(other), Err(mixed));
            prop_assert_eq!(Money::sum([one, other]), Err(mixed));
        }
    }

    #[test]
    fn h32_an_order_has_its_exact_total_or_is_set_aside(
        lines in prop::collection::vec((price(), 1..=u32::MAX, currency()), 1..6),
    ) {
        let order = order(&lines);
        let exact = lines.iter().map(|(amount, n, _)| i128::from(*amount) * i128::from(*n));
        let exact: i128 = exact.sum();
        let one_currency = lines.iter().all(|line| line.2 == lines[0].2);
        let read = OrderPlaced::from_data("order.placed.v1", order.to_data().get());
        match (read, i64::try_from(exact)) {
            (Ok(read), Ok(exact)) => {
                prop_assert!(one_currency);
                prop_assert_eq!(read.total(), Ok(Money::new(exact, lines[0].2)));
                prop_assert_eq!(read, order);
            }
            (Ok(_), Err(_)) => prop_assert!(false, "a total of {} was accepted", exact),
            (Err(bad), _) if !one_currency => {
                prop_assert_eq!(bad.reason, Reason::Rule("mixed-currencies"));
            }
            (Err(bad), Ok(_)) => prop_assert!(false, "refused: {bad}"),
            (Err(bad), Err(_)) => {
                prop_assert_eq!(bad.reason, Reason::Rule("total-overflows"));
                prop_assert_eq!(bad.pointer, "/lines");
            }
        }
    }

    #[test]
    fn h32_money_is_read_as_it_was_written(a in amount(), c in currency()) {
        let money = Money::new(a, c);
        let text = serde_json::to_string(&money).unwrap();
        prop_assert_eq!(&text, &format!(r#"{{"amount":{a},"currency":"{c}"}}"#));
        prop_assert_eq!(quadrille_vocabulary::event::parse::<Money>(&text), Ok(money));
    }

    #[test]
    fn h32_no_amount_but_a_whole_number_of_64_bits_is_read(
        amount in prop_oneof![
            any::<f64>().prop_map(|x| format!("{x:e}")),
            any::<f64>().prop_map(|x| format!("{x:?}")),
            any::<i64>().prop_map(|x| format!("\"{x}\"")),
            (i128::from(i64::MAX) + 1..).prop_map(|x: i128| x.to_string()),
            (..i128::from(i64::MIN)).prop_map(|x: i128| x.to_string()),
        ],
    ) {
        let text = format!(r#"{{"amount":{amount},"currency":"EUR"}}"#);
        let read = quadrille_vocabulary::event::parse::<Money>(&text);
        prop_assert!(read.is_err(), "{} was read", text);
    }
}

#[test]
fn h32_the_largest_order_there_can_be_fits_or_is_an_error() {
    let lines = vec![(i64::MAX, u32::MAX, eur()); MAX_LINES];
    assert_eq!(order(&lines).total(), Err(MoneyError::Overflow));
    assert_eq!(order(&lines).pieces(), 200 * u64::from(u32::MAX));

    let most = i64::MAX / i64::from(u32::MAX) / 200;
    let lines = vec![(most, u32::MAX, eur()); MAX_LINES];
    assert_eq!(order(&lines).total(), Ok(Money::new(most * i64::from(u32::MAX) * 200, eur())));
}

#[test]
fn h32_an_order_without_lines_has_no_total() {
    assert_eq!(order(&[]).total(), Err(MoneyError::NothingToAdd));
    assert_eq!(Money::sum([]), Err(MoneyError::NothingToAdd));
}

#[test]
fn every_currency_of_the_schema_is_read_and_no_other_spelling_of_it() {
    let schema = schemars::schema_for!(Currency);
    let codes = schema.get("enum").unwrap().as_array().unwrap();
    assert!(codes.len() > 150);
    for code in codes.iter().map(|code| code.as_str().unwrap()) {
        assert_eq!(Currency::parse(code).unwrap().code(), code, "the list is sorted");
        assert!(Currency::parse(&code.to_lowercase()).is_err());
        assert!(Currency::parse(&format!("{code} ")).is_err());
    }
    for code in ["", "E", "EU", "EURO", "XXX", "XTS", "€"] {
        assert!(Currency::parse(code).is_err(), "{code}");
    }
}
