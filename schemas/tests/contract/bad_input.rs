//! Whatever arrives as an order: it is read, or set aside with a reason and a place, and nothing
//! of the sender's text comes back.

mod any_text;
mod costs;

use quadrille_vocabulary::{BadData, Event, Reason, SagaId};
use rstest::rstest;
use schemas::CONTRACTS;
use schemas::order_fulfilment::events::{MAX_PLACED_BYTES, OrderPlaced};
use serde_json::{Value, json};

fn line(sku: &str, quantity: u32, amount: i64) -> Value {
    let unit_price = json!({ "amount": amount, "currency": "EUR" });
    json!({ "sku": sku, "quantity": quantity, "unit_price": unit_price })
}

fn good() -> Value {
    json!({
        "customer": "cus_1001",
        "payment_method": "pm_card_visa",
        "ship_to": { "country": "DE", "postcode": "10115" },
        "lines": [
            line("ROSE-RED", 12, 250),
            line("VASE-GLASS", 1, 1990),
        ],
    })
}

/// The good order with `value` at `place`.
fn with(place: &str, value: Value) -> String {
    let mut order = good();
    *order.pointer_mut(place).unwrap() = value;
    order.to_string()
}

/// The good order with the JSON text `raw` in place of the value at `place`.
fn with_raw(place: &str, raw: &str) -> String {
    with(place, json!("HERE")).replace("\"HERE\"", raw)
}

/// The good order with one more field, as JSON text.
fn and(field: &str) -> String {
    good().to_string().replacen('{', &format!("{{{field},"), 1)
}

fn read(data: &str) -> Result<OrderPlaced, BadData> {
    OrderPlaced::from_data("order.placed.v1", data)
}

#[track_caller]
fn assert_set_aside(data: &str, reason: Reason, pointer: &str) -> BadData {
    let bad = read(data).expect_err("it is set aside");
    assert_eq!((bad.reason, bad.pointer.as_str()), (reason, pointer), "{bad}");
    bad
}

#[rstest]
#[case::empty("")]
#[case::blank("  \n")]
#[case::a_word("order")]
#[case::cut_short(r#"{"customer": "cus_1"#)]
#[case::a_byte_order_mark("\u{feff}{}")]
#[case::single_quotes("{'customer': 1}")]
#[case::a_comment("{} // none")]
#[case::a_trailing_comma(r#"{"customer": "c",}"#)]
#[case::not_a_number(r#"{"customer": NaN}"#)]
#[case::wrong_first_and_cut_short_later(r#"{"customer": 7, "lines": ["#)]
#[case::a_bad_escape_in_a_stranger_field(r#"{"x": "\q"}"#)]
fn what_is_no_json_is_set_aside_as_a_whole(#[case] data: &str) {
    assert_set_aside(data, Reason::NotJson, "");
}

#[test]
fn bytes_after_the_end_are_refused() {
    for rest in ["x", "{}", "]", "\0", "null"] {
        assert_set_aside(&(good().to_string() + rest), Reason::NotJson, "");
    }
    assert!(read(&(good().to_string() + " \n\t")).is_ok(), "white space is no content");
}

#[test]
fn sixty_kilobytes_of_junk_are_set_aside() {
    for junk in ["junk ", "\"", "{\"", "[1,", "\u{202e}\0", "\\u0000"] {
        assert_set_aside(&junk.repeat(60 * 1024 / junk.len()), Reason::NotJson, "");
    }
    let bytes = "x".repeat(60 * 1024);
    assert!(read(&and(&format!("\"note\":\"{bytes}\""))).is_ok(), "nobody reads it");
    assert_set_aside(&with("/customer", json!(bytes)), Reason::InvalidField, "/customer");
}

#[test]
fn an_order_has_at_most_32_kilobytes() {
    let order = good().to_string();
    let spaced = order.clone() + &" ".repeat(MAX_PLACED_BYTES);
    assert!(read(&spaced).is_ok(), "white space does not count");
    let noted = and(&format!("\"note\":\"{}\"", "x".repeat(MAX_PLACED_BYTES)));
    assert!(read(&noted).is_ok(), "what is not read does not count");
    let line = |at: usize| line(&format!("{at:064}"), u32::MAX, 1_000_000_000);
    let large = with("/lines", (0..200).map(line).collect());
    assert!(large.len() < MAX_PLACED_BYTES, "{}", large.len());
    let charge =
        json!({ "kind": "shipping", "amount": { "amount": 1_000_000_000, "currency": "EUR" } });
    let mut order: Value = serde_json::from_str(&large).unwrap();
    order["charges"] = vec![charge; 50].into();
    order["customer"] = json!("c".repeat(128));
    order["payment_method"] = json!("p".repeat(128));
    let bytes = order.to_string().len();
    assert_eq!(read(&order.to_string()).is_ok(), bytes <= MAX_PLACED_BYTES, "{bytes}");
}

#[rstest]
#[case::arrays("[", "]")]
#[case::objects(r#"{"a":"#, "}")]
#[case::both(r#"[{"a":"#, "}]")]
fn nesting_ten_thousand_deep_is_set_aside_wherever_it_is(#[case] open: &str, #[case] close: &str) {
    let open = open.repeat(10_000);
    let deep = format!("{open}1{}", close.repeat(10_000));
    for data in [&open, &deep, &with_raw("/lines", &deep), &with_raw("/lines/0/sku", &deep)] {
        assert_set_aside(data, Reason::NotJson, "");
    }
    assert_set_aside(&and(&format!("\"note\":{deep}")), Reason::NotJson, "");
}

#[test]
fn only_what_nests_counts_as_depth() {
    let flat = "[],".repeat(500);
    assert!(read(&and(&format!("\"note\":[{flat}1]"))).is_ok(), "many, but not deep");
    let brackets = "[{".repeat(500);
    for text in
        [format!("\"{brackets}\""), format!("\"\\\"{brackets}\""), format!("\"{brackets}\\\\\"")]
    {
        assert!(read(&and(&format!("\"note\":{text}"))).is_ok(), "in a string");
    }
    let behind_a_backslash = format!("\"note\":[\"\\\\\",{}1{}]", "[".repeat(70), "]".repeat(70));
    assert_set_aside(&and(&behind_a_backslash), Reason::NotJson, "");
    let deep = |depth| format!("\"note\":{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(read(&and(&deep(63))).is_ok());
    assert_set_aside(&and(&deep(64)), Reason::NotJson, "");
}

#[rstest]
#[case("/customer", json!(7))]
#[case("/customer", json!(null))]
#[case("/customer", json!(""))]
#[case("/customer", json!("Ada Lovelace"))]
#[case("/customer", json!("é"))]
#[case("/customer", json!("c".repeat(129)))]
#[case("/payment_method", json!(["pm_card_visa"]))]
#[case("/ship_to", json!("DE 10115"))]
#[case("/ship_to", json!(["DE", "10115"]))]
#[case("/ship_to", json!({ "postcode": "10115" }))]
#[case("/ship_to/country", json!("de"))]
#[case("/ship_to/country", json!("DEU"))]
#[case("/ship_to/country", json!("Ö"))]
#[case("/ship_to/country", json!(" "))]
#[case("/ship_to/postcode", json!(10115))]
#[case("/ship_to/postcode", json!("12345/6789"))]
#[case("/ship_to/postcode", json!("1".repeat(17)))]
#[case("/lines", json!([]))]
#[case("/lines", json!({}))]
#[case("/lines", json!("none"))]
#[case("/lines/1", json!(null))]
#[case("/lines/1", json!(["VASE-GLASS", 1, { "amount": 1990, "currency": "EUR" }]))]
#[case("/lines/1/sku", json!(7))]
#[case("/lines/1/quantity", json!(0))]
#[case("/lines/1/quantity", json!(-1))]
#[case("/lines/1/quantity", json!(4_294_967_296_u64))]
#[case("/lines/1/quantity", json!("1"))]
#[case("/lines/1/quantity", json!(true))]
#[case("/lines/1/unit_price", json!(1990))]
#[case("/lines/1/unit_price", json!([1990, "EUR"]))]
#[case("/lines/1/unit_price", json!({ "amount": 1990 }))]
#[case("/lines/1/unit_price/amount", json!(-1990))]
#[case("/lines/1/unit_price/amount", json!(null))]
#[case("/lines/1/unit_price/currency", json!("XXX"))]
#[case("/lines/1/unit_price/currency", json!("eur"))]
#[case("/lines/1/unit_price/currency", json!("EUR "))]
#[case("/lines/1/unit_price/currency", json!(978))]
#[case("/lines/0/unit_price/currency", json!("BTC"))]
fn a_wrong_field_is_named_by_its_place(#[case] place: &str, #[case] value: Value) {
    assert_set_aside(&with(place, value), Reason::InvalidField, place);
}

#[rstest]
#[case("1.5")]
#[case("1990.0")]
#[case("1e3")]
#[case("1E3")]
#[case("1e400")]
#[case("-1e400")]
#[case("-0")]
#[case("-0.0")]
#[case("\"100\"")]
#[case("9223372036854775808")]
#[case("-9223372036854775809")]
#[case("100000000000000000000000000000000000000")]
fn a_float_is_no_amount_and_no_quantity(#[case] number: &str) {
    for place in ["/lines/0/unit_price/amount", "/lines/0/quantity"] {
        assert_set_aside(&with_raw(place, number), Reason::InvalidField, place);
    }
}

#[rstest]
#[case("01")]
#[case("+1")]
#[case("1_000")]
#[case("0x10")]
#[case("Infinity")]
#[case(".5")]
fn what_is_no_json_number_is_not_json(#[case] number: &str) {
    assert_set_aside(&with_raw("/lines/0/quantity", number), Reason::NotJson, "");
}

#[rstest]
#[case::nothing(r#""""#)]
#[case::nul(r#""ROSE\u0000""#)]
#[case::line_feed(r#""ROSE\nRED""#)]
#[case::delete(r#""ROSE\u007f""#)]
#[case::c1(r#""ROSE\u0085""#)]
#[case::right_to_left_override(r#""ROSE\u202eDER""#)]
#[case::right_to_left_mark(r#""ROSE\u200f""#)]
#[case::arabic_letter_mark(r#""ROSE\u061c""#)]
#[case::isolate(r#""ROSE\u2067""#)]
#[case::zero_width(r#""RO\u200bSE""#)]
#[case::soft_hyphen(r#""RO\u00adSE""#)]
#[case::byte_order_mark(r#""\ufeffROSE""#)]
#[case::tag(r#""ROSE\udb40\udc41""#)]
#[case::high_surrogate_alone(r#""ROSE\ud800""#)]
#[case::low_surrogate_alone(r#""\udc00ROSE""#)]
#[case::surrogates_in_the_wrong_order(r#""\udc00\ud800""#)]
fn a_sku_is_printable(#[case] sku: &str) {
    assert_set_aside(&with_raw("/lines/1/sku", sku), Reason::InvalidField, "/lines/1/sku");
}

#[test]
fn a_sku_has_up_to_64_bytes_of_any_script() {
    for sku in ["ROSE RED", "🌹", "バラ", "*", ">", "a.b", &"x".repeat(64), &"é".repeat(32)] {
        let order = read(&with("/lines/0/sku", json!(sku))).unwrap();
        assert_eq!(order.lines[0].sku.as_str(), sku);
        let token = order.lines[0].sku.subject_token();
        assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"=_-".contains(&b)), "{token}");
    }
    for sku in ["x".repeat(65), "é".repeat(33), "x".repeat(4096)] {
        assert_set_aside(&with("/lines/0/sku", json!(sku)), Reason::InvalidField, "/lines/0/sku");
    }
}

#[rstest]
#[case("")]
#[case("*")]
#[case(">")]
#[case("a.b")]
#[case("a b")]
#[case("$JS.API.X")]
#[case("é")]
#[case("a\0")]
#[case("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")]
fn an_order_id_that_is_none_is_set_aside(#[case] id: &str) {
    let field = format!("\"order_id\":{}", json!(id));
    assert_set_aside(&and(&field), Reason::InvalidField, "/order_id");
}

#[test]
fn an_order_may_name_itself() {
    let id = SagaId::parse("A123").unwrap();
    let named = read(&and(r#""order_id":"A123""#)).unwrap();
    assert_eq!(named.named_saga(), Some(("/order_id", &id)));
    assert_eq!(read(&and(r#""order_id":null"#)).unwrap().named_saga(), None);
}

#[test]
fn more_lines_than_the_cap_are_set_aside() {
    let lines = |count| with("/lines", json!(vec![good()["lines"][0].clone(); count]));
    assert!(read(&lines(200)).is_ok());
    assert_set_aside(&lines(201), Reason::Rule("too-many-lines"), "/lines");
}

#[test]
fn mixed_currencies_are_set_aside_at_the_first_other_one() {
    let place = "/lines/1/unit_price/currency";
    assert_set_aside(&with(place, json!("USD")), Reason::Rule("mixed-currencies"), place);
}

#[test]
fn a_total_that_does_not_fit_is_set_aside() {
    let one_line = with("/lines/0/unit_price/amount", json!(i64::MAX));
    assert_set_aside(&one_line, Reason::Rule("total-overflows"), "/lines");

    let line = line("ROSE-RED", 1, i64::MAX);
    assert!(read(&with("/lines", json!([line]))).is_ok());
    assert_set_aside(
        &with("/lines", json!([line, line])),
        Reason::Rule("total-overflows"),
        "/lines",
    );
}

#[rstest]
#[case("/customer", "")]
#[case("/lines", "")]
#[case("/ship_to/country", "/ship_to")]
#[case("/lines/1/sku", "/lines/1")]
#[case("/lines/1/unit_price/amount", "/lines/1/unit_price")]
fn a_missing_or_repeated_field_is_told_at_its_object(#[case] place: &str, #[case] object: &str) {
    let (parent, field) = place.rsplit_once('/').unwrap();
    let mut order = good();
    let fields = order.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    let value = fields.remove(field).unwrap();
    let bad = assert_set_aside(&order.to_string(), Reason::InvalidField, object);
    assert_eq!(bad.message, format!("missing field `{field}`"));

    let twice = format!("{{\"{field}\":{value},\"{field}\":{value}}}");
    let data = with_raw(parent, &twice);
    let data = if parent.is_empty() { twice } else { data };
    let bad = assert_set_aside(&data, Reason::InvalidField, object);
    assert_eq!(bad.message, format!("duplicate field `{field}`"));
}

#[test]
fn unknown_fields_are_ignored_whatever_they_hold() {
    let expected = read(&good().to_string()).unwrap();
    for field in [
        r#""note":"please hurry""#,
        r#""note":{"a":[1.5,1e400,null,true]}"#,
        r#""Customer":7"#,
        r#""":0"#,
        r#""a/b~c":0"#,
        r#""note":1,"note":2"#,
    ] {
        assert_eq!(read(&and(field)).unwrap(), expected, "{field}");
    }
    let mut order = good();
    order["lines"][0]["unit_price"]["discount"] = json!(1.5);
    assert_eq!(read(&order.to_string()).unwrap(), expected);
}

#[rstest]
#[case::an_array("[]")]
#[case::fields_in_order(r#"["cus_1","pm_card_visa",{"country":"DE","postcode":"1"},[]]"#)]
#[case::null("null")]
#[case::a_number("7")]
#[case::a_string("\"order\"")]
fn an_event_is_an_object(#[case] data: &str) {
    for kind in CONTRACTS.iter().flat_map(|contract| contract.kinds()) {
        let bad = kind.read(data).unwrap_err();
        assert_eq!((bad.reason, bad.pointer.as_str()), (Reason::InvalidField, ""), "{bad}");
    }
}

#[test]
fn the_message_says_what_was_expected() {
    let message = |place, value| read(&with(place, value)).unwrap_err().message;
    assert_eq!(message("/lines/0/quantity", json!("two")), "invalid type, expected u32");
    assert_eq!(message("/lines/0/quantity", json!(-2)), "invalid value, expected u32");
    assert_eq!(message("/ship_to", json!([1])), "invalid type, expected struct Destination");
    let currency = "a currency must be an upper-case ISO 4217 code such as EUR";
    assert_eq!(message("/lines/0/unit_price/currency", json!("eur")), currency);
    let sku = "a SKU must be 1 to 64 bytes of printable text";
    assert_eq!(message("/lines/0/sku", json!("")), sku);
}

#[test]
fn a_reason_has_one_spelling() {
    for (reason, spelling) in [
        (Reason::NotJson, "not-json"),
        (Reason::TooLarge, "too-large"),
        (Reason::InvalidField, "invalid-field"),
        (Reason::InvalidId, "invalid-id"),
        (Reason::Rule("too-many-lines"), "too-many-lines"),
        (Reason::IdMismatch, "id-mismatch"),
        (Reason::UnknownType, "unknown-type"),
        (Reason::UnknownVersion, "unknown-version"),
        (Reason::WrongSource, "wrong-source"),
        (Reason::NoCause, "no-cause"),
        (Reason::BadMessage, "bad-message"),
        (Reason::OrphanEffect, "orphan-effect"),
        (Reason::CrashLoop, "crash-loop"),
        (Reason::FencedOff, "fenced-off"),
    ] {
        assert_eq!((reason.code(), json!(reason)), (spelling, json!(spelling)));
    }
}
