//! Each fault, and what the ledger says of it afterwards.

use std::time::Duration;

use crate::support::{AMOUNT, Sandbox, create_form, label_body};
use hyper::Method;
use rstest::rstest;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Far longer than any of these tests may take.
const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_dropped_reply_has_its_effect_and_the_same_key_replays_it() {
    let sandbox = Sandbox::start().await;
    let intent = sandbox.client.create("A1", "pm_card_visa").await;
    let faults = r#"{"operations":["confirm"],"drop_reply_rate":1,"times":1}"#;
    sandbox.client.set_faults("payment", faults).await;
    let path = format!("payment_intents/{intent}/confirm");
    assert!(sandbox.client.try_form(&path, "confirm", "").await.is_err());
    assert_eq!(sandbox.client.balance("A1").await, AMOUNT);
    let reply = sandbox.client.confirm(&intent, "confirm").await;
    assert_eq!((reply.status, reply.was_replayed()), (200, true));
    assert_eq!(sandbox.effects("captured").await, 1);
}

#[tokio::test]
async fn a_request_dropped_before_has_no_effect() {
    let sandbox = Sandbox::start().await;
    sandbox.client.set_faults("payment", r#"{"drop_before_rate":1,"times":1}"#).await;
    let form = create_form("A1", "pm_card_visa");
    assert!(sandbox.client.try_form("payment_intents", "create-A1", &form).await.is_err());
    assert!(sandbox.ledger_lines().await.is_empty());
    assert_eq!(sandbox.client.calls("create").await, 1);
    sandbox.client.create("A1", "pm_card_visa").await;
}

#[rstest]
#[case(r#"{"drop_before_rate":1}"#)]
#[case(r#"{"drop_reply_rate":1}"#)]
#[tokio::test]
async fn a_dropped_connection_closes_without_a_single_byte(#[case] faults: &str) {
    let sandbox = Sandbox::start().await;
    sandbox.client.set_faults("carrier", faults).await;
    let mut stream = TcpStream::connect(&sandbox.address).await.expect("a connection");
    let request = b"GET /carrier/labels?key=k HTTP/1.1\r\nhost: sandbox\r\n\r\n";
    stream.write_all(request).await.expect("sent");
    assert_closes_without_a_byte(stream).await;
}

#[tokio::test]
async fn a_late_commit_lands_after_the_client_was_told_504() {
    let sandbox = Sandbox::start().await;
    let intent = sandbox.client.create("A1", "pm_card_visa").await;
    let faults = r#"{"operations":["confirm"],"commit_late_ms":100,"times":1}"#;
    sandbox.client.set_faults("payment", faults).await;
    assert_eq!(sandbox.client.confirm(&intent, "confirm").await.status, 504);
    let landed = async {
        loop {
            let reply = sandbox.client.confirm(&intent, "confirm").await;
            if reply.status != 409 {
                return reply;
            }
            assert_eq!(reply.error_code(), "idempotency_key_in_use");
        }
    };
    let reply = timeout(LONG, landed).await.expect("the effect lands");
    assert_eq!((reply.status, reply.was_replayed()), (200, true));
    assert_eq!(sandbox.effects("captured").await, 1);
}

#[tokio::test]
async fn a_cancel_overtakes_a_late_confirm_which_then_takes_no_effect() {
    let sandbox = Sandbox::start().await;
    let intent = sandbox.client.create("A1", "pm_card_visa").await;
    let faults = r#"{"operations":["confirm"],"commit_late_ms":1000,"times":1}"#;
    sandbox.client.set_faults("payment", faults).await;
    assert_eq!(sandbox.client.confirm(&intent, "confirm").await.status, 504);
    assert_eq!(sandbox.client.cancel(&intent, "cancel").await.status, 200);
    let landed = async {
        loop {
            let reply = sandbox.client.confirm(&intent, "confirm").await;
            if reply.status != 409 {
                return reply;
            }
        }
    };
    let reply = timeout(LONG, landed).await.expect("the confirm ends");
    assert_eq!((reply.status, reply.was_replayed()), (400, true));
    assert_eq!(sandbox.client.balance("A1").await, 0);
}

#[tokio::test]
async fn a_late_commit_with_a_dropped_reply_closes_the_connection() {
    let sandbox = Sandbox::start().await;
    let faults = r#"{"commit_late_ms":60000,"drop_reply_rate":1,"times":1}"#;
    sandbox.client.set_faults("payment", faults).await;
    let form = create_form("A1", "pm_card_visa");
    assert!(sandbox.client.try_form("payment_intents", "k1", &form).await.is_err());
    let again = sandbox.client.form("payment_intents", "k1", &form).await;
    assert_eq!((again.status, again.error_code()), (409, "idempotency_key_in_use"));
    let other = sandbox.client.form("payment_intents", "k1", &form.replace("A1", "A2")).await;
    assert_eq!((other.status, &other.body["error"]["type"]), (400, &json!("idempotency_error")));
}

#[tokio::test]
async fn a_slow_execution_holds_its_key() {
    let sandbox = Sandbox::start().await;
    sandbox.client.set_faults("payment", r#"{"latency_ms":60000,"times":1}"#).await;
    let _first = creation_under_way(&sandbox).await;
    let form = create_form("A1", "pm_card_visa");
    let second = sandbox.client.form("payment_intents", "create-A1", &form).await;
    assert_eq!((second.status, second.error_code()), (409, "idempotency_key_in_use"));
}

#[tokio::test]
async fn a_slow_execution_outlives_its_client() {
    let sandbox = Sandbox::start().await;
    sandbox.client.set_faults("payment", r#"{"latency_ms":100,"times":1}"#).await;
    drop(creation_under_way(&sandbox).await);
    let landed = async {
        while sandbox.client.get("/ledger?effect=intent-created").await.body == json!([]) {}
    };
    timeout(LONG, landed).await.expect("the execution goes on without its client");
    sandbox.client.create("A1", "pm_card_visa").await;
    assert_eq!(sandbox.effects("intent-created").await, 1);
}

/// The client of a creation that the server has received; it leaves when this is dropped.
async fn creation_under_way(sandbox: &Sandbox) -> JoinSet<String> {
    let client = sandbox.client.clone();
    let mut creation = JoinSet::new();
    creation.spawn(async move { client.create("A1", "pm_card_visa").await });
    let arrived = async { while sandbox.client.calls("create").await == 0 {} };
    timeout(LONG, arrived).await.expect("the request arrives");
    creation
}

#[tokio::test]
async fn an_error_comes_before_any_effect_and_leaves_the_key_free() {
    let sandbox = Sandbox::start().await;
    sandbox.client.set_faults("payment", r#"{"error_rate":1,"times":1}"#).await;
    let form = create_form("A1", "pm_card_visa");
    assert_eq!(sandbox.client.form("payment_intents", "create-A1", &form).await.status, 503);
    sandbox.client.create("A1", "pm_card_visa").await;
    sandbox.client.set_faults("carrier", r#"{"error_rate":1,"error_status":500}"#).await;
    assert_eq!(sandbox.client.get("/carrier/labels?key=k1").await.status, 500);
    assert_eq!(sandbox.effects("intent-created").await, 1);
}

#[tokio::test]
async fn a_saved_error_is_the_answer_of_its_key_also_after_a_restart() {
    let sandbox = Sandbox::start().await;
    let faults = r#"{"error_rate":1,"save_errors":true,"times":1}"#;
    sandbox.client.set_faults("payment", faults).await;
    let form = create_form("A1", "pm_card_visa");
    assert_eq!(sandbox.client.form("payment_intents", "k1", &form).await.status, 500);
    let sandbox = sandbox.restart().await;
    let again = sandbox.client.form("payment_intents", "k1", &form).await;
    assert_eq!((again.status, again.was_replayed()), (500, true));
    assert!(sandbox.ledger_lines().await.is_empty());
    assert_eq!(sandbox.client.form("payment_intents", "k2", &form).await.status, 200);
}

#[tokio::test]
async fn an_overloaded_service_says_when_to_come_back() {
    let sandbox = Sandbox::start().await;
    sandbox.client.set_faults("carrier", r#"{"overload_rate":1,"retry_after_s":7}"#).await;
    let reply = sandbox.client.buy_label("k1", &label_body("A1", "DE", "10115")).await;
    assert_eq!(reply.status, 429);
    assert_eq!(reply.headers["retry-after"], "7");
    assert_eq!(reply.error_code(), "rate_limit");
}

#[tokio::test]
async fn a_key_can_be_said_to_be_in_use() {
    let sandbox = Sandbox::start().await;
    sandbox.client.set_faults("payment", r#"{"in_use_rate":1,"times":1}"#).await;
    let form = create_form("A1", "pm_card_visa");
    let reply = sandbox.client.form("payment_intents", "create-A1", &form).await;
    assert_eq!((reply.status, reply.error_code()), (409, "idempotency_key_in_use"));
    sandbox.client.create("A1", "pm_card_visa").await;
}

#[tokio::test]
async fn hanging_requests_are_answered_once_the_faults_are_cleared() {
    let sandbox = Sandbox::start().await;
    sandbox.client.set_faults("payment", r#"{"hang_rate":1}"#).await;
    let mut hanging = creation_under_way(&sandbox).await;
    assert!(sandbox.ledger_lines().await.is_empty());
    assert!(hanging.try_join_next().is_none());
    sandbox.client.clear_faults().await;
    let created = timeout(LONG, hanging.join_next()).await.expect("released").expect("one request");
    assert!(created.expect("answered").starts_with("pi_"));
}

#[tokio::test]
async fn a_hanging_request_whose_client_leaves_has_no_effect() {
    let sandbox = Sandbox::start().await;
    sandbox.client.set_faults("carrier", r#"{"hang_rate":1}"#).await;
    let mut stream = hanging_label_request(&sandbox).await;
    stream.shutdown().await.expect("still connected");
    assert_closes_without_a_byte(stream).await;
    sandbox.client.clear_faults().await;
    assert!(sandbox.ledger_lines().await.is_empty());
}

#[tokio::test]
async fn a_server_that_stops_lets_go_of_a_hanging_request() {
    let sandbox = Sandbox::start().await;
    sandbox.client.set_faults("carrier", r#"{"hang_rate":1}"#).await;
    let stream = hanging_label_request(&sandbox).await;
    let sandbox = sandbox.restart().await;
    assert_closes_without_a_byte(stream).await;
    assert!(sandbox.ledger_lines().await.is_empty());
}

async fn hanging_label_request(sandbox: &Sandbox) -> TcpStream {
    let body = label_body("A1", "DE", "10115");
    let length = body.len();
    let head = "POST /carrier/labels HTTP/1.1\r\nhost: sandbox\r\nidempotency-key: k1";
    let request = format!("{head}\r\ncontent-length: {length}\r\n\r\n{body}");
    let mut stream = TcpStream::connect(&sandbox.address).await.expect("a connection");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let arrived = async { while sandbox.client.calls("label").await == 0 {} };
    timeout(LONG, arrived).await.expect("the request arrives");
    stream
}

async fn assert_closes_without_a_byte(mut stream: TcpStream) {
    let mut received = Vec::new();
    timeout(LONG, stream.read_to_end(&mut received)).await.expect("closed").expect("no reset");
    assert_eq!(received, b"");
}

#[tokio::test]
async fn faults_meet_only_the_operation_the_order_and_the_times_named() {
    let sandbox = Sandbox::start().await;
    let intent = sandbox.client.create("A1", "pm_card_visa").await;
    let other = sandbox.client.create("A2", "pm_card_visa").await;
    let faults = r#"{"operations":["confirm"],"order":"A1","error_rate":1,"times":2}"#;
    sandbox.client.set_faults("payment", faults).await;
    assert_eq!(sandbox.client.confirm(&other, "other").await.status, 200);
    assert_eq!(sandbox.client.refund(&other, None, "refund").await.status, 200);
    for status in [503, 503, 200] {
        assert_eq!(sandbox.client.confirm(&intent, "confirm").await.status, status);
    }
    let settings = sandbox.client.get("/faults").await.body;
    assert_eq!(settings["payment"]["times"], 2);
    assert_eq!(settings["carrier"]["error_rate"], 0.0);
    assert_eq!(settings["quote"]["error_rate"], 0.0);
}

#[tokio::test]
async fn the_requests_that_met_a_fault_are_counted_whatever_the_settings_are_now() {
    let sandbox = Sandbox::start().await;
    sandbox.client.set_faults("payment", r#"{"error_rate":1,"times":2}"#).await;
    for status in [503, 503, 404] {
        let reply = sandbox.client.get("/payment/v1/payment_intents/pi_none").await;
        assert_eq!(reply.status, status);
    }
    sandbox.client.set_faults("payment", r#"{"latency_ms":1}"#).await;
    sandbox.client.create("A1", "pm_card_visa").await;
    let faults = sandbox.client.get("/faults").await.body;
    assert_eq!(faults["met"], serde_json::json!({ "payment": 2, "carrier": 0, "quote": 0 }));
}

#[tokio::test]
async fn the_same_seed_and_requests_meet_the_same_faults() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let sandbox = Sandbox::start().await;
        sandbox.client.set_faults("carrier", r#"{"error_rate":0.5}"#).await;
        let mut statuses = Vec::new();
        for _ in 0..40 {
            statuses.push(sandbox.client.get("/carrier/labels?key=k").await.status);
        }
        runs.push(statuses);
    }
    assert_eq!(runs[0], runs[1]);
    assert!(runs[0].contains(&503) && runs[0].contains(&404));
}

#[rstest]
#[case("payment", r#"{"latency":5}"#, "latency")]
#[case("payment", r#"{"latency_ms":"5"}"#, "latency_ms")]
#[case("payment", r#"{"latency_ms":-1}"#, "latency_ms")]
#[case("payment", r#"{"latency_ms":86400001}"#, "latency_ms")]
#[case("payment", r#"{"error_rate":1.5}"#, "error_rate")]
#[case("payment", r#"{"hang_rate":-0.1}"#, "hang_rate")]
#[case("payment", r#"{"error_status":200}"#, "error_status")]
#[case("payment", r#"{"operations":["explode"]}"#, "explode")]
#[case("payment", r#"{"operations":["label"]}"#, "operations")]
#[case("payment", r#"{"operations":[]}"#, "operations")]
#[case("carrier", r#"{"key_lifetime_ms":5}"#, "key_lifetime_ms")]
#[case("quote", r#"{"key_lifetime_ms":5}"#, "key_lifetime_ms")]
#[case("quote", r#"{"operations":["label"]}"#, "operations")]
#[case("payment", "not json", "")]
#[tokio::test]
async fn a_fault_that_makes_no_sense_is_refused_by_name(
    #[case] service: &str,
    #[case] settings: &str,
    #[case] field: &str,
) {
    let sandbox = Sandbox::start().await;
    let path = format!("/faults/{service}");
    let reply = sandbox.client.send(Method::PUT, &path, &[], settings).await.expect("a reply");
    assert_eq!(reply.status, 400);
    assert!(reply.body["error"]["message"].to_string().contains(field), "{:?}", reply.body);
}

#[tokio::test]
async fn a_page_of_a_proxy_is_html_and_nothing_is_executed() {
    let sandbox = Sandbox::start().await;
    sandbox.client.set_faults("payment", r#"{"page_rate":1,"page_status":413,"times":1}"#).await;
    let form = create_form("A1", "pm_card_visa");
    let reply = sandbox.client.form("payment_intents", "create-A1", &form).await;
    assert_eq!(
        (reply.status, &reply.headers["content-type"]),
        (413, &hyper::header::HeaderValue::from_static("text/html"))
    );
    assert!(sandbox.ledger_lines().await.is_empty());
    sandbox.client.create("A1", "pm_card_visa").await;
}
