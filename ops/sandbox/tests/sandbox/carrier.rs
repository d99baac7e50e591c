//! What the carrier does when nothing disturbs it.

use crate::support::{Sandbox, label_body};
use hyper::Method;
use rstest::rstest;
use sandbox::{REFUSED_COUNTRY, REFUSED_POSTCODE};
use serde_json::json;

#[tokio::test]
async fn a_label_is_bought_once_per_key_and_found_by_it() {
    let sandbox = Sandbox::start().await;
    let body = label_body("A1", "DE", "10115");
    let label = sandbox.client.buy_label("k1", &body).await;
    assert_eq!(label.status, 201);
    assert!(label.body["label"].as_str().is_some_and(|id| id.starts_with("lbl_")));
    assert!(label.body["tracking"].is_string());
    assert_eq!(label.body["carrier"], "sandbox-post");
    assert_eq!(label.body["reference"], "A1");
    let again = sandbox.client.buy_label("k1", &body).await;
    assert_eq!((again.status, &again.body), (201, &label.body));
    let found = sandbox.client.get("/carrier/labels?key=k1").await;
    assert_eq!((found.status, &found.body), (200, &label.body));
    assert_eq!(sandbox.client.get("/carrier/labels?key=k2").await.status, 404);
    let lines = sandbox.ledger_lines().await;
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["effect"], "label-bought");
    assert_eq!(lines[0]["label"], label.body["label"]);
    assert_eq!(lines[0]["order"], "A1");
}

#[rstest]
#[case(REFUSED_COUNTRY, "10115")]
#[case("DE", REFUSED_POSTCODE)]
#[tokio::test]
async fn a_refused_destination_stays_refused_under_its_key(
    #[case] country: &str,
    #[case] postcode: &str,
) {
    let sandbox = Sandbox::start().await;
    for _ in 0..2 {
        let reply = sandbox.client.buy_label("k1", &label_body("A1", country, postcode)).await;
        assert_eq!((reply.status, reply.error_code()), (422, "destination_refused"));
    }
    let found = sandbox.client.get("/carrier/labels?key=k1").await;
    assert_eq!((found.status, found.error_code()), (422, "destination_refused"));
    let ship_to = json!({"country": country, "postcode": postcode});
    assert_eq!(found.body["error"]["ship_to"], ship_to);
    let good = sandbox.client.buy_label("k1", &label_body("A1", "DE", "10115")).await;
    assert_eq!((good.status, good.error_code()), (409, "key_reused"));
    assert_eq!(sandbox.effects("destination-refused").await, 1);
    assert_eq!(sandbox.effects("label-bought").await, 0);
}

#[tokio::test]
async fn a_key_with_other_parameters_is_refused_and_white_space_is_none() {
    let sandbox = Sandbox::start().await;
    let body = label_body("A1", "DE", "10115");
    let label = sandbox.client.buy_label("k1", &body).await;
    let spaced = body.replace(',', " ,\n ");
    assert_eq!(sandbox.client.buy_label("k1", &spaced).await.body, label.body);
    let other = sandbox.client.buy_label("k1", &label_body("A2", "DE", "10115")).await;
    assert_eq!((other.status, other.error_code()), (409, "key_reused"));
}

#[rstest]
#[case("not json", "")]
#[case(r#"{"reference":"A1","ship_to":{"postcode":"1"},"items":1}"#, "ship_to")]
#[case(r#"{"reference":"A1","ship_to":{"country":"DE","postcode":"1"},"items":0}"#, "items")]
#[case(r#"{"reference":"A1","ship_to":{"country":"de","postcode":"1"},"items":1}"#, "country")]
#[case(r#"{"reference":"","ship_to":{"country":"DE","postcode":"1"},"items":1}"#, "reference")]
#[case(r#"{"reference":"A","ship_to":{"country":"DE","postcode":"1"},"items":1,"x":1}"#, "x")]
#[tokio::test]
async fn a_malformed_request_is_told_why_and_leaves_the_key_free(
    #[case] body: &str,
    #[case] named: &str,
) {
    let sandbox = Sandbox::start().await;
    let bad = sandbox.client.buy_label("k1", body).await;
    assert_eq!((bad.status, bad.error_code()), (400, "malformed"));
    assert!(bad.body["error"]["message"].to_string().contains(named), "{:?}", bad.body);
    let good = sandbox.client.buy_label("k1", &label_body("A1", "DE", "10115")).await;
    assert_eq!(good.status, 201);
}

#[tokio::test]
async fn the_ledger_sums_up_and_the_calls_count_by_order() {
    let sandbox = Sandbox::start().await;
    let intent = sandbox.client.create("A1", "pm_card_visa").await;
    sandbox.client.confirm(&intent, "c1").await;
    sandbox.client.refund(&intent, Some(200), "r1").await;
    sandbox.client.buy_label("l1", &label_body("A2", "DE", "10115")).await;
    sandbox.client.get("/carrier/labels?key=l1").await;
    sandbox.client.get("/carrier/labels?key=unknown").await;
    sandbox.client.get(&format!("/payment/v1/payment_intents/{intent}")).await;
    let summary = sandbox.client.get("/ledger/summary").await.body;
    let expected = json!({
        "captured": {"eur": 4_200}, "refunded": {"eur": 200}, "labels": 1,
        "effects": {"intent-created": 1, "captured": 1, "refunded": 1, "label-bought": 1},
    });
    assert_eq!(summary, expected);
    let balance = sandbox.client.get("/balance?order=A1").await.body;
    assert_eq!(balance, json!({"captured": 4_200, "refunded": 200, "balance": 4_000}));
    let first = sandbox.client.get("/ledger?order=A1&effect=refunded").await.body;
    assert_eq!((first[0]["key"].as_str(), first.as_array().map(Vec::len)), (Some("r1"), Some(1)));
    assert_eq!(sandbox.client.get("/ledger?effect=exploded").await.status, 400);

    let calls = |path: &'static str| async { sandbox.client.get(path).await.body };
    let total = json!({"create": 1, "confirm": 1, "cancel": 0, "refund": 1, "search": 0,
        "retrieve": 1, "refunds": 0, "label": 1, "lookup": 2, "rates": 0});
    assert_eq!(calls("/calls").await, total);
    let of_second = json!({"create": 0, "confirm": 0, "cancel": 0, "refund": 0, "search": 0,
        "retrieve": 0, "refunds": 0, "label": 1, "lookup": 1, "rates": 0});
    assert_eq!(calls("/calls?order=A2").await, of_second);
    assert_eq!(calls("/calls?order=A1").await["confirm"], 1);
}

#[tokio::test]
async fn a_label_without_a_key_is_refused() {
    let sandbox = Sandbox::start().await;
    let body = label_body("A1", "DE", "10115");
    let reply = sandbox.client.send(Method::POST, "/carrier/labels", &[], &body).await;
    assert_eq!(reply.expect("a reply").error_code(), "key_missing");
}
