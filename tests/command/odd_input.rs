//! Hostile and odd input, over HTTP and, where it applies, over NATS: each case has its status,
//! stores nothing, and harms nobody.

use harness::process::Usage;
use schemas::order_fulfilment::FLOW;
use serde_json::{Value, json};
use tests::stack::Stack;

use crate::desk::{Answer, Desk, JSON, good, open_one, request, with};

/// Appears in every document; it may come back in no answer, and be in no log.
const CANARY: &str = "CANARY\u{7}";

/// One input, and the status that it gets.
struct Case {
    name: String,
    body: Vec<u8>,
    status: u16,
    /// The one mistake's place, where there is one.
    pointer: Option<&'static str>,
}

fn case(name: &str, body: impl Into<Vec<u8>>, status: u16, pointer: &'static str) -> Case {
    Case { name: name.to_owned(), body: body.into(), status, pointer: Some(pointer) }
}

fn whole(name: &str, body: impl Into<Vec<u8>>, status: u16) -> Case {
    Case { pointer: None, ..case(name, body, status, "") }
}

fn replaced(what: &str, instead: &str) -> String {
    let text = with(&[]);
    assert!(text.contains(what), "{what} in {text}");
    text.replacen(what, instead, 1)
}

fn lines(count: usize) -> Value {
    let line = json!({ "sku": "A", "quantity": 1, "unit_price":
        { "amount": 1, "currency": "EUR" } });
    vec![line; count].into()
}

/// Cases 2 to 13 of those that a document can be.
fn cases() -> Vec<Case> {
    const AMOUNT: &str = "/lines/0/unit_price/amount";
    const CURRENCY: &str = "/lines/0/unit_price/currency";
    let mut cases = vec![
        whole("2 deep", "[".repeat(100_000), 400),
        whole("2 deep objects", r#"{"a":"#.repeat(50_000), 400),
        whole("3 keys", many_keys(), 400),
        case("3 lines", with(&[("/lines", lines(201))]), 422, "/lines"),
        case("4 twice", replaced(r#""amount":250"#, r#""amount":250,"amount":1"#), 400, AMOUNT),
        case("6 overflow", with(&[(AMOUNT, json!(i64::MAX))]), 422, "/lines"),
        case("7 quantity 0", with(&[("/lines/0/quantity", json!(0))]), 422, "/lines/0/quantity"),
        case("7 quantity -1", with(&[("/lines/0/quantity", json!(-1))]), 422, "/lines/0/quantity"),
        case("7 price -1", with(&[(AMOUNT, json!(-1))]), 422, AMOUNT),
        case("8 unknown", with(&[(CURRENCY, json!("EUX"))]), 422, CURRENCY),
        case("8 lower case", with(&[(CURRENCY, json!("eur"))]), 422, CURRENCY),
        case(
            "8 mixed",
            with(&[("/lines/1/unit_price/currency", json!("USD"))]),
            422,
            "/lines/1/unit_price/currency",
        ),
        whole("9 not UTF-8", [with(&[]).as_bytes(), &[0xff]].concat(), 400),
        case("9 surrogate", replaced(r#""cus_1001""#, r#""\ud800""#), 400, "/customer"),
        case("10 NUL", with(&[("/lines/0/sku", json!("a\u{0}b"))]), 422, "/lines/0/sku"),
        case(
            "10 right to left",
            with(&[("/lines/0/sku", json!("a\u{202e}b"))]),
            422,
            "/lines/0/sku",
        ),
        case("10 long", with(&[("/customer", json!("x".repeat(4096)))]), 422, "/customer"),
        case("10 canary", with(&[("/customer", json!(CANARY))]), 422, "/customer"),
        whole("13 trailing", with(&[]) + "x", 400),
        whole("13 two documents", with(&[]).repeat(2), 400),
        whole("13 empty", "", 400),
        whole("13 no object", "[]", 400),
    ];
    for amount in ["1.5", "1e3", "1e400", "-0", "\"100\"", "9999999999999999999999"] {
        let body = replaced(r#""amount":250"#, &format!(r#""amount":{amount}"#));
        cases.push(case(&format!("5 {amount}"), body, 400, AMOUNT));
    }
    let long = "x".repeat(65);
    for id in ["", "*", ">", "a.b", "a b", "$JS.API.X", "a\r\nb", "ä", &long] {
        cases.push(case(&format!("11 {id}"), with(&[("/order_id", json!(id))]), 400, "/order_id"));
    }
    cases
}

/// 50,000 names that no order has.
fn many_keys() -> String {
    let digits: Vec<_> = (b'a'..=b'z').chain(b'0'..=b'9').map(char::from).collect();
    let name = |at: usize| -> String {
        (0_u32..4).map(|place| digits[at / 36_usize.pow(place) % 36]).collect()
    };
    let names: Vec<_> = (0..50_000).map(|at| format!(r#""{}":0"#, name(at))).collect();
    with(&[]).replacen('{', &format!("{{{},", names.join(",")), 1)
}

fn assert_is(case: &Case, way: &str, answer: &Answer) {
    let Case { name, status, pointer, .. } = case;
    assert_eq!(answer.status, *status, "{name} over {way}: {answer:?}");
    let body = answer.json();
    assert_eq!(body["status"], json!(status), "{name} over {way}");
    if let Some(pointer) = pointer {
        assert_eq!(answer.pointers(), [*pointer], "{name} over {way}: {body}");
        let error = &body["errors"][0];
        assert!(!error["message"].as_str().unwrap().is_empty(), "{name}");
        assert!(!error["example"].is_null(), "{name} over {way}: {body}");
    }
    let text = String::from_utf8_lossy(&answer.body);
    assert!(!text.contains("CANARY") && !text.contains('\u{202e}'), "{name}: {text}");
}

#[tokio::test]
async fn odd_input_has_its_status_and_stores_nothing() {
    let mut stack = Stack::running(1).await;
    let desk = open_one(&mut stack).await;
    let before = memory(&mut stack);
    for case in cases() {
        assert_is(&case, "HTTP", &desk.post(&case.body).await);
        let answer = desk.ask("orders.place", &[], case.body.clone()).await;
        assert_is(&case, "NATS", &answer);
    }
    only_over_http(&desk).await;
    only_over_nats(&desk).await;
    assert_eq!(stack.raw.messages(FLOW.stream).await, 0);
    let grown = memory(&mut stack) - before;
    assert!(grown < 64.0, "{grown} MB more");
    assert!(!stack.worker("command").said().contains("CANARY"));
    // And the next good order completes.
    let placed = desk.post(good(Some("next")).to_string()).await;
    assert_eq!(placed.status, 201);
    stack.closed(&["next".parse().unwrap()]).await;
}

fn memory(stack: &mut Stack) -> f64 {
    let usage = stack.worker("command").usage();
    usage.map_or(0.0, |Usage { peak_rss_mb, .. }| peak_rss_mb)
}

/// Cases 1, 13 and 14, and what only a header can be.
async fn only_over_http(desk: &Desk) {
    let order = with(&[]);
    let large = vec![b' '; 10 << 20];
    let answer = desk.post(&large).await;
    assert_eq!(answer.status, 413, "1");
    assert_eq!(answer.header("connection"), Some("close"), "1: it reads no further");
    // The same without a length: the rest of it is never asked for.
    let head = "POST /orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
                Transfer-Encoding: chunked\r\n\r\n100000\r\n";
    let answer = desk.send(&[head.as_bytes(), &large[..1 << 20], b"\r\n"].concat()).await;
    assert_eq!(answer.status, 413, "1 chunked");
    for (headers, status) in [
        (vec![], 415),
        (vec![("Content-Type", "text/plain")], 415),
        (vec![("Content-Type", "application/xml")], 415),
        (vec![("Content-Type", "application/json; charset=latin-1")], 415),
        (vec![("Content-Type", "application/cloudevents+json")], 415),
        (vec![JSON, ("Content-Encoding", "gzip")], 415),
        (vec![JSON, JSON], 400),
        (vec![JSON, ("Idempotency-Key", "a"), ("Idempotency-Key", "b")], 400),
        (vec![JSON, ("Idempotency-Key", "\u{e4}")], 400),
    ] {
        let answer = desk.http("POST", "/orders", &headers, order.as_bytes()).await;
        assert_eq!(answer.status, status, "13, 14: {headers:?}: {answer:?}");
        let is_encoded = headers.iter().any(|(name, _)| *name == "Content-Encoding");
        assert_eq!(answer.json()["detail"].to_string().contains("gunzip"), is_encoded);
    }
    let list = json!([{ "a": 1 }, { "a": 1 }]);
    let told = desk.post(list.to_string()).await.json()["errors"].to_string();
    assert!(!told.contains("CloudEvent"), "{told}");
    let enveloped = json!({ "specversion": "1.0", "type": "order.placed.v1", "data": {} });
    let answer = desk.post(enveloped.to_string()).await;
    let told = answer.json()["errors"].clone();
    assert_eq!(told.as_array().unwrap().len(), 1, "{told}");
    assert!(told[0]["message"].to_string().contains("is a CloudEvent"), "{told}");
    for (bytes, named) in [(&b"\x1f\x8b\x08\0\0"[..], "gzip"), (b"\xff\xfe{\0", "UTF-16")] {
        let answer = desk.post(bytes).await;
        let told = answer.json()["errors"][0]["message"].to_string();
        assert!(answer.status == 400 && told.contains(named), "{told}");
    }
    let mut keyed = good(None);
    keyed["customer"] = json!("cus_1001");
    for key in ["", &"k".repeat(256)] {
        let headers = [JSON, ("Idempotency-Key", key)];
        let answer = desk.http("POST", "/orders", &headers, keyed.to_string().as_bytes()).await;
        assert_eq!(answer.status, 400, "key {key:?}: {answer:?}");
    }
    for (bytes, status) in [
        (b"nonsense\r\n\r\n".to_vec(), 400),
        (b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n".to_vec(), 400),
        (request("GET", "/openapi.json", &[("X", &"x".repeat(32 << 10))], b""), 431),
    ] {
        assert_eq!(desk.send(&bytes).await.status, status);
    }
}

/// Case 1 as far as the broker lets it come, and headers.
async fn only_over_nats(desk: &Desk) {
    let large = vec![b' '; 600 << 10];
    assert_eq!(desk.ask("orders.place", &[], large).await.status, 413, "1");
    let order = with(&[]);
    for (headers, status) in [
        (vec![("Content-Type", "text/plain")], 415),
        (vec![("Content-Type", "application/cloudevents+json")], 415),
        (vec![("Content-Encoding", "gzip")], 415),
        (vec![("Idempotency-Key", "a"), ("Idempotency-Key", "b")], 400),
    ] {
        let answer = desk.ask("orders.place", &headers, order.clone()).await;
        assert_eq!(answer.status, status, "{headers:?}: {answer:?}");
    }
}
