//! Opt-in: every request of the adapter against stripe-mock, which checks requests against Stripe's
//! own description of its API and answers with fixed examples. So the test does not ask for
//! sensible outcomes: it asks that each request is accepted, and each answer read.
//!
//! `go install github.com/stripe/stripe-mock@v0.203.0`, then
//! `STRIPE_MOCK=FILE cargo test -p charge-customer --features stripe-mock --test stripe_mock`.

#![expect(clippy::unwrap_used, reason = "in a test a panic is a finding")]

use std::process::{Child, Command};
use std::time::Duration;

use charge_customer::Settings;
use charge_customer::gateway::{Bill, HttpGateway, Opened, Owner, Payment, PaymentGateway, State};
use quadrille::ids::Direction;
use quadrille::step::StepError;
use quadrille::{Currency, IdempotencyKey, KeyNamespace, Money, SagaId};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

struct Mock {
    process: Child,
    port: u16,
}

impl Mock {
    async fn start() -> Self {
        let file = std::env::var("STRIPE_MOCK").expect("STRIPE_MOCK names the program");
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(file);
        let process = command.args(["-http-port", &port.to_string()]).spawn().unwrap();
        let mock = Self { process, port };
        let end = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(Instant::now() < end, "stripe-mock does not listen");
            sleep(Duration::from_millis(50)).await;
        }
        mock
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn settings(port: u16) -> Settings {
    let secret = serde_json::from_str(r#""sk_test_123""#).unwrap();
    let timeout = Duration::from_secs(5);
    Settings { url: format!("http://127.0.0.1:{port}"), secret, timeout, ..Settings::default() }
}

/// What the adapter did not like of an answer that it could read.
fn objection<T: std::fmt::Debug>(result: Result<T, StepError>) -> String {
    match result {
        Err(StepError::TryAgain { source, .. }) => source.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_request_is_one_that_stripe_accepts_and_every_answer_is_read() {
    let mock = Mock::start().await;
    let gateway = HttpGateway::new(&settings(mock.port)).unwrap();
    let order = SagaId::parse("A123").unwrap();
    let owner = Owner { order: &order, log: KeyNamespace::FIRST };
    let total = Money::new(100, Currency::parse("USD").unwrap());
    let (customer, method) = ("cus_1".parse().unwrap(), "pm_card_visa".parse().unwrap());
    let bill = Bill { owner, customer: &customer, payment_method: &method, total };
    let key = |name: &str| {
        IdempotencyKey::derive(owner.log, "order", &order, "charge-customer", Direction::Run, name)
    };
    let deadline = Instant::now() + Duration::from_secs(30);
    let payment = Payment { id: "pi_1".parse().unwrap(), amount: total, state: State::Unconfirmed };

    // The examples belong to nobody, and are other payments than those that are asked for.
    let opened: Result<Opened, _> = gateway.open(&bill, key("create"), deadline).await;
    assert!(objection(opened).contains("another order"));
    assert!(objection(gateway.of_order(&owner, deadline).await).contains("another order"));
    for answered in [
        gateway.confirm(&payment, key("confirm"), deadline).await,
        gateway.cancel(&payment, key("cancel"), deadline).await,
    ] {
        match answered {
            Ok(shown) => assert_eq!(shown.id, payment.id),
            error => assert!(objection(error).contains("the payment pi_")),
        }
    }
    gateway.refund(&payment, key("refund"), deadline).await.unwrap();
    // A refund that was made already: the list is read, whose example is of no payment.
    let refunded = Payment { state: State::Refunded, ..payment };
    let listed = objection(gateway.refund(&refunded, key("refund"), deadline).await);
    assert!(listed.contains("but pi_1 was asked for"), "{listed}");
}
