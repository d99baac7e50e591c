//! The HTTP adapters against the sandbox's carrier and quote service.

#![expect(clippy::unwrap_used, reason = "in a test a panic is a finding")]

// The services are the same for every worker that is tested against them.
#[path = "../../charge-customer/tests/http_gateway/services.rs"]
mod services;

use std::time::Duration;

use quadrille::breaker::{self, call::Breaker};
use quadrille::step::{Outcome, StepError};
use quadrille::testing::given;
use quadrille::{Currency, Money};
use rstest::rstest;
use schemas::order_fulfilment::events::{
    Destination, PaymentCharged, ShipmentDispatched, ShipmentRefused,
};
use serde_json::{Value, json};
use services::{Canned, Sandbox};
use ship_order::carrier::HttpCarrier;
use ship_order::quotes::HttpQuotes;
use ship_order::{Settings, ShipOrder};
use tokio::time::{Instant, sleep};

type Ship = ShipOrder<HttpCarrier, HttpQuotes>;

fn step(sandbox: &Sandbox) -> Ship {
    let timeout = Duration::from_millis(500);
    let settings = Settings {
        url: sandbox.url("carrier"),
        timeout,
        quote_url: sandbox.url("quote"),
        quote_timeout: timeout,
        ..Settings::default()
    };
    let breaker = Breaker::new(breaker::Settings::default());
    let quotes = HttpQuotes::new(&settings).unwrap();
    ShipOrder::new(HttpCarrier::new(&settings).unwrap(), quotes, breaker)
}

/// A carrier that answers so, and a quote service that is the same.
async fn answering(status: u16, body: &str) -> (Canned, Ship) {
    let body = body.to_owned();
    let canned = Canned::start(move |_| (status, body.clone())).await;
    let settings = Settings { url: canned.url(), quote_url: canned.url(), ..Settings::default() };
    let quotes = HttpQuotes::new(&settings).unwrap();
    let breaker = Breaker::new(breaker::Settings::default());
    let step = ShipOrder::new(HttpCarrier::new(&settings).unwrap(), quotes, breaker);
    (canned, step)
}

#[rstest]
#[case(r#"{"error":{"code":"ADDRESS.VERIFY.FAILURE","message":"…"}}"#, "ADDRESS.VERIFY.FAILURE")]
#[case(r#"{"error":{"type":"invalid_address"}}"#, "invalid_address")]
#[tokio::test]
async fn a_422_with_a_reason_is_a_refusal(#[case] body: &str, #[case] reason: &str) {
    let (carrier, step) = answering(422, body).await;
    let refused = ShipmentRefused { reason: reason.into() };
    given(&step).when(&charged("DE")).await.then(Outcome::Refused(refused));
    let labels = carrier.requests().into_iter().filter(|request| request.starts_with("POST"));
    assert_eq!(labels.count(), 1);
}

#[rstest]
#[tokio::test]
async fn a_page_of_a_proxy_is_neither_a_refusal_nor_a_bad_message(
    #[values(400, 413, 422)] status: u16,
    #[values("", "<html>413</html>", "{}")] page: &str,
) {
    let (_carrier, step) = answering(status, page).await;
    given(&step).when(&charged("DE")).await.then_try_again();
}

#[tokio::test]
async fn a_422_without_a_reason_is_set_aside_with_the_carriers_sentence() {
    let (_carrier, step) = answering(422, r#"{"error":{"message":"No rate fits."}}"#).await;
    match given(&step).when(&charged("DE")).await.result() {
        Err(StepError::BadMessage(why)) => assert!(why.contains("No rate fits."), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[rstest]
#[case(r#""JD 0143 0001 2345""#, Some("JD 0143 0001 2345"))]
#[case("null", None)]
#[case("143000123", Some("143000123"))]
#[case(r#""JD１４３\u001b[31m""#, Some("JD１４３ [31m"))]
#[tokio::test]
async fn a_tracking_number_is_taken_as_the_carrier_writes_it(
    #[case] tracking: &str,
    #[case] recorded: Option<&str>,
) {
    let body = format!(r#"{{"label":"shp 1","tracking":{tracking},"carrier":"x"}}"#);
    let (_carrier, step) = answering(201, &body).await;
    let dispatched = ship(&step).await;
    assert_eq!(dispatched.tracking.as_deref(), recorded);
    assert_eq!(dispatched.label.as_str(), "shp%201");
}

fn charged(country: &str) -> PaymentCharged {
    PaymentCharged {
        payment: Some("pi_1".parse().unwrap()),
        amount: Money::new(2_500, Currency::parse("EUR").unwrap()),
        ship_to: Destination { country: country.into(), postcode: Some("10115".into()) },
        pieces: 3,
    }
}

async fn ship(step: &Ship) -> ShipmentDispatched {
    ship_to(step, "DE").await
}

async fn ship_to(step: &Ship, country: &str) -> ShipmentDispatched {
    match given(step).when(&charged(country)).await.result() {
        Ok(Outcome::Done(dispatched)) => dispatched,
        other => panic!("not dispatched: {other:?}"),
    }
}

/// The first label that was bought, as the carrier has it.
async fn label(sandbox: &Sandbox) -> Value {
    let bought = sandbox.get("/ledger?effect=label-bought").await;
    let key = bought[0]["key"].as_str().unwrap();
    sandbox.get(&format!("/carrier/labels?key={key}")).await
}

/// Looks again for ten seconds.
async fn until_a_label_is_bought(sandbox: &Sandbox) {
    let end = Instant::now() + Duration::from_secs(10);
    while sandbox.count("label-bought").await == 0 {
        assert!(Instant::now() < end, "no label is bought");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn one_key_buys_one_label() {
    let sandbox = Sandbox::start().await;
    let step = step(&sandbox);
    assert_eq!(ship(&step).await, ship(&step).await);
    assert_eq!(sandbox.count("label-bought").await, 1);
}

#[tokio::test]
async fn a_destination_nobody_delivers_to_is_a_refusal_and_stays_one() {
    let sandbox = Sandbox::start().await;
    let step = step(&sandbox);
    for _ in 0..2 {
        let refused = ShipmentRefused { reason: "destination_refused".into() };
        given(&step).when(&charged("AQ")).await.then(Outcome::Refused(refused));
    }
    assert_eq!(sandbox.count("destination-refused").await, 1);
}

#[rstest]
#[tokio::test]
async fn one_lost_request_or_answer_buys_one_label(
    #[values("drop_before_rate", "drop_reply_rate", "error_rate", "hang_rate")] fault: &str,
) {
    let sandbox = Sandbox::start().await;
    let step = step(&sandbox);
    sandbox.set_faults("carrier", &json!({ "times": 1, fault: 1.0 })).await;
    given(&step).when(&charged("DE")).await.then_try_again();
    ship(&step).await;
    assert_eq!(sandbox.count("label-bought").await, 1);
}

#[tokio::test]
async fn a_label_bought_late_is_the_one_that_is_recorded() {
    let sandbox = Sandbox::start().await;
    let step = step(&sandbox);
    let faults = json!({ "times": 1, "commit_late_ms": 300 });
    sandbox.set_faults("carrier", &faults).await;
    given(&step).when(&charged("DE")).await.then_try_again();
    let after = given(&step).when(&charged("DE")).await.then_try_again().unwrap();
    assert!((1_000..2_000).contains(&after.as_millis()), "{after:?}");
    until_a_label_is_bought(&sandbox).await;
    ship(&step).await;
    assert_eq!(sandbox.count("label-bought").await, 1);
}

#[tokio::test]
async fn a_key_used_with_other_parameters_leads_to_the_label_it_bought() {
    let sandbox = Sandbox::start().await;
    let step = step(&sandbox);
    let dispatched = ship(&step).await;
    given(&step).when(&charged("FR")).await.then(Outcome::Done(dispatched));
    assert_eq!(sandbox.count("label-bought").await, 1);
}

#[tokio::test]
async fn the_cheapest_carrier_is_taken() {
    let sandbox = Sandbox::start().await;
    let cheapest = ship_to(&step(&sandbox), "FR").await;
    assert_eq!((cheapest.carrier.as_str(), cheapest.degraded), ("sandbox-parcel", false));
}

/// Ways in which a quote service is not there.
#[rstest]
#[case(json!({ "error_rate": 1 }))]
#[case(json!({ "error_rate": 1, "error_status": 400 }))]
#[case(json!({ "error_rate": 1, "error_status": 403 }))]
#[case(json!({ "overload_rate": 1 }))]
#[case(json!({ "drop_before_rate": 1 }))]
#[case(json!({ "drop_reply_rate": 1 }))]
#[case(json!({ "hang_rate": 1 }))]
#[tokio::test]
async fn without_a_quote_the_label_is_bought_at_the_flat_rate(#[case] faults: Value) {
    let sandbox = Sandbox::start().await;
    let step = step(&sandbox);
    sandbox.set_faults("quote", &faults).await;
    let flat = ship_to(&step, "FR").await;
    assert_eq!((flat.carrier.as_str(), flat.degraded), ("sandbox-post", true));
    assert_eq!(
        sandbox.get("/calls").await["rates"],
        1,
        "a step that asks again makes its order wait"
    );
}

#[rstest]
#[case("degraded first", json!({ "error_rate": 1, "times": 1 }), true)]
#[case("quoted first", json!({ "error_rate": 0 }), false)]
#[tokio::test]
async fn a_repeated_request_at_another_rate_finds_the_label_of_the_first(
    #[case] _first: &str,
    #[case] quote_faults: Value,
    #[case] degraded: bool,
) {
    let sandbox = Sandbox::start().await;
    let step = step(&sandbox);
    sandbox.set_faults("quote", &quote_faults).await;
    sandbox.set_faults("carrier", &json!({ "times": 1, "drop_reply_rate": 1 })).await;
    given(&step).when(&charged("FR")).await.then_try_again();
    if !degraded {
        sandbox.set_faults("quote", &json!({ "error_rate": 1 })).await;
    }
    let recorded = ship_to(&step, "FR").await;
    assert_eq!(recorded.degraded, degraded);
    let label = label(&sandbox).await;
    assert_eq!(label["rate"], if degraded { "flat" } else { "quoted" });
    assert_eq!(label["carrier"], recorded.carrier);
    assert_eq!(label["label"], recorded.label.as_str());
    assert_eq!(sandbox.count("label-bought").await, 1);
}

#[tokio::test]
async fn a_lost_refusal_is_found_at_another_rate() {
    let sandbox = Sandbox::start().await;
    let step = step(&sandbox);
    sandbox.set_faults("quote", &json!({ "error_rate": 1, "times": 1 })).await;
    sandbox.set_faults("carrier", &json!({ "times": 1, "drop_reply_rate": 1 })).await;
    given(&step).when(&charged("AQ")).await.then_try_again();
    let refused = ShipmentRefused { reason: "destination_refused".into() };
    given(&step).when(&charged("AQ")).await.then(Outcome::Refused(refused));
}

#[tokio::test]
async fn at_another_rate_a_label_that_is_being_bought_is_waited_for() {
    let sandbox = Sandbox::start().await;
    let step = step(&sandbox);
    sandbox.set_faults("quote", &json!({ "error_rate": 1, "times": 1 })).await;
    sandbox.set_faults("carrier", &json!({ "times": 1, "commit_late_ms": 300 })).await;
    given(&step).when(&charged("DE")).await.then_try_again();
    let after = given(&step).when(&charged("DE")).await.then_try_again();
    assert_eq!(after, Some(Duration::from_secs(1)), "busy, neither parked nor bought again");
    until_a_label_is_bought(&sandbox).await;
    assert!(ship(&step).await.degraded);
    assert_eq!(sandbox.count("label-bought").await, 1);
}

#[tokio::test]
async fn a_key_that_bought_no_label_is_not_used_for_another_destination() {
    let sandbox = Sandbox::start().await;
    let step = step(&sandbox);
    let refused = ShipmentRefused { reason: "destination_refused".into() };
    given(&step).when(&charged("AQ")).await.then(Outcome::Refused(refused));
    given(&step).when(&charged("DE")).await.then_bad_message();
    assert_eq!(sandbox.count("label-bought").await, 0);
}

#[tokio::test]
async fn an_overloaded_carrier_says_when_to_come_back() {
    let sandbox = Sandbox::start().await;
    let faults = json!({ "overload_rate": 1.0, "retry_after_s": 4 });
    sandbox.set_faults("carrier", &faults).await;
    let after = given(&step(&sandbox)).when(&charged("DE")).await.then_try_again();
    assert_eq!(after, Some(Duration::from_secs(4)));
}
