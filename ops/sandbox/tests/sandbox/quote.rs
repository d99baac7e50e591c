//! The quote service, and what a label says that was bought at its rate.

use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{Sandbox, label_body};

fn rates(order: &str, country: &str, items: u32) -> String {
    format!("/quote/rates?reference={order}&country={country}&postcode=10115&items={items}")
}

fn with_rate(body: &str, rate: &Value) -> String {
    let mut body: Value = serde_json::from_str(body).expect("JSON");
    body["rate"] = rate.clone();
    body.to_string()
}

#[rstest]
#[case("DE", 1, "sandbox-post", 580)]
#[case("DE", 4, "sandbox-post", 850)]
#[case("DE", 5, "sandbox-parcel", 890)]
#[case("FR", 1, "sandbox-parcel", 1_330)]
#[tokio::test]
async fn the_cheapest_carrier_is_quoted_and_stays_so(
    #[case] country: &str,
    #[case] items: u32,
    #[case] carrier: &str,
    #[case] amount: u64,
) {
    let sandbox = Sandbox::start().await;
    let quoted = json!({"carrier": carrier, "price": {"amount": amount, "currency": "EUR"}});
    for _ in 0..2 {
        let reply = sandbox.client.get(&rates("A1", country, items)).await;
        assert_eq!((reply.status, &reply.body), (200, &quoted));
    }
    assert_eq!(sandbox.client.calls("rates").await, 2);
    assert!(sandbox.ledger_lines().await.is_empty(), "a quote has no effect");
}

#[tokio::test]
async fn a_label_says_at_which_rate_it_was_bought_and_the_first_rate_of_a_key_stays() {
    let sandbox = Sandbox::start().await;
    let plain = label_body("A1", "FR", "75001");
    let rate = sandbox.client.get(&rates("A1", "FR", 2)).await.body;
    let quoted = sandbox.client.buy_label("quoted", &with_rate(&plain, &rate)).await;
    assert_eq!(quoted.status, 201);
    assert_eq!(quoted.body["rate"], "quoted");
    assert_eq!(
        (&quoted.body["carrier"], &quoted.body["price"]),
        (&rate["carrier"], &rate["price"])
    );
    let flat = sandbox.client.buy_label("flat", &plain).await;
    assert_eq!(
        (&flat.body["rate"], &flat.body["carrier"]),
        (&json!("flat"), &json!("sandbox-post"))
    );
    assert_eq!(flat.body["price"], json!({"amount": 990, "currency": "EUR"}));
    for (key, body) in [("quoted", plain.clone()), ("flat", with_rate(&plain, &rate))] {
        let other = sandbox.client.buy_label(key, &body).await;
        assert_eq!((other.status, other.error_code()), (409, "key_reused"));
    }
    assert_eq!(sandbox.client.get("/carrier/labels?key=flat").await.body, flat.body);
    assert_eq!(sandbox.effects("label-bought").await, 2);
}

#[rstest]
#[case("", "reference")]
#[case("?reference=A1&country=DE&postcode=10115", "items")]
#[case("?reference=A1&country=DE&postcode=10115&items=many", "items")]
#[case("?reference=A1&country=DE&postcode=10115&items=0", "items")]
#[case("?reference=A1&country=Germany&postcode=10115&items=1", "country")]
#[tokio::test]
async fn a_malformed_question_is_told_why(#[case] query: &str, #[case] named: &str) {
    let sandbox = Sandbox::start().await;
    let bad = sandbox.client.get(&format!("/quote/rates{query}")).await;
    assert_eq!((bad.status, bad.error_code()), (400, "malformed"));
    assert!(bad.body["error"]["message"].to_string().contains(named), "{:?}", bad.body);
    assert_eq!(sandbox.client.calls("rates").await, 1);
}

#[tokio::test]
async fn its_faults_are_its_own() {
    let sandbox = Sandbox::start().await;
    sandbox.client.set_faults("quote", r#"{"error_rate":1,"order":"A1"}"#).await;
    assert_eq!(sandbox.client.get(&rates("A1", "DE", 1)).await.status, 503);
    assert_eq!(sandbox.client.get(&rates("A2", "DE", 1)).await.status, 200);
    let label = sandbox.client.buy_label("k1", &label_body("A1", "DE", "10115")).await;
    assert_eq!(label.status, 201);
    sandbox.client.clear_faults().await;
    assert_eq!(sandbox.client.get(&rates("A1", "DE", 1)).await.status, 200);
}

#[tokio::test]
async fn a_look_up_says_that_a_label_is_being_bought() {
    let sandbox = Sandbox::start().await;
    sandbox
        .client
        .set_faults("carrier", r#"{"operations":["label"],"commit_late_ms":60000}"#)
        .await;
    let late = sandbox.client.buy_label("k1", &label_body("A1", "DE", "10115")).await;
    assert_eq!(late.status, 504);
    let found = sandbox.client.get("/carrier/labels?key=k1").await;
    assert_eq!((found.status, found.error_code()), (409, "key_in_use"));
    let other = sandbox.client.buy_label("k1", &label_body("A1", "FR", "10115")).await;
    assert_eq!((other.status, other.error_code()), (409, "key_reused"));
}
