//! The HTTP adapter against the sandbox's payment service: lost and late answers, keys in use and
//! forgotten, and the race of confirm and cancel.

#![expect(clippy::unwrap_used, reason = "in a test a panic is a finding")]

mod answers;
mod services;
mod slowly;

use std::time::Duration;

use charge_customer::gateway::HttpGateway;
use charge_customer::{ChargeCustomer, Settings};
use quadrille::step::{Evidence, Outcome, StepError};
use quadrille::testing::given;
use quadrille::{Currency, Money, SagaId};
use rstest::rstest;
use schemas::order_fulfilment::events::{
    Destination, InventoryReserved, PaymentCharged, PaymentRefused, PaymentUndone, PaymentVoided,
};
use serde_json::json;
use services::Sandbox;
use tokio::time::{Instant, sleep};

type Charge = ChargeCustomer<HttpGateway>;

fn step(sandbox: &Sandbox) -> Charge {
    step_with(sandbox, Settings::default())
}

/// A gateway that forgets keys at once, and a step that knows.
fn forgetful(sandbox: &Sandbox) -> Charge {
    step_with(sandbox, Settings { key_lifetime: Duration::ZERO, ..Settings::default() })
}

fn step_with(sandbox: &Sandbox, settings: Settings) -> Charge {
    let timeout = Duration::from_millis(500);
    let settings = Settings { url: sandbox.url("payment"), timeout, ..settings };
    ChargeCustomer::new(HttpGateway::new(&settings).unwrap(), &settings)
}

fn reserved(payment_method: &str) -> InventoryReserved {
    InventoryReserved {
        customer: "cus_1".parse().unwrap(),
        payment_method: payment_method.parse().unwrap(),
        ship_to: Destination { country: "DE".into(), postcode: Some("10115".into()) },
        pieces: 3,
        total: Money::new(2_500, Currency::parse("EUR").unwrap()),
    }
}

fn visa() -> InventoryReserved {
    reserved("pm_card_visa")
}

async fn charge(step: &Charge) -> PaymentCharged {
    match given(step).when(&visa()).await.result() {
        Ok(Outcome::Done(charged)) => charged,
        other => panic!("not charged: {other:?}"),
    }
}

async fn undo(step: &Charge, evidence: Evidence<&PaymentCharged>) -> PaymentUndone {
    insist("undo", async || given(step).when_undone(&visa(), evidence).await.result()).await
}

/// Tries as long as the answer is to try again, for ten seconds.
async fn insist<T>(what: &str, mut attempt: impl AsyncFnMut() -> Result<T, StepError>) -> T {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        match attempt().await {
            Ok(answer) => return answer,
            Err(StepError::TryAgain { .. }) if Instant::now() < end => {
                sleep(Duration::from_millis(10)).await;
            }
            Err(error) => panic!("{what}: {error:?}"),
        }
    }
}

fn is_refunded(undone: &PaymentUndone) -> bool {
    matches!(undone, PaymentUndone::Refunded(_))
}

async fn balance(sandbox: &Sandbox, order: &str) -> u64 {
    sandbox.get(&format!("/balance?order={order}")).await["balance"].as_u64().unwrap()
}

#[tokio::test]
async fn a_charge_is_captured_once_and_refunded_once() {
    let sandbox = Sandbox::start().await;
    let step = step(&sandbox);
    let charged = charge(&step).await;
    assert_eq!((charged.amount, charge(&step).await), (visa().total, charged.clone()));
    assert_eq!(balance(&sandbox, "A123").await, 2_500);
    for _ in 0..2 {
        assert!(is_refunded(&undo(&step, Evidence::Recorded(&charged)).await));
        assert!(is_refunded(&undo(&step, Evidence::Unknown).await));
    }
    assert_eq!((sandbox.count("captured").await, sandbox.count("refunded").await), (1, 1));
    assert_eq!(sandbox.count("over-refund-refused").await, 0);
}

#[rstest]
#[case("pm_card_chargeDeclinedInsufficientFunds", "insufficient_funds")]
#[case("pm_card_chargeDeclined", "generic_decline")]
#[case("pm_card_authenticationRequired", "authentication_required")]
#[tokio::test]
async fn a_decline_is_a_refusal_with_its_code(#[case] card: &str, #[case] code: &str) {
    let sandbox = Sandbox::start().await;
    let refused = || Outcome::Refused(PaymentRefused { reason: code.into() });
    let step = step(&sandbox);
    given(&step).when(&reserved(card)).await.then(refused());
    given(&step).when(&reserved(card)).await.then(refused());
    let voided = PaymentUndone::Voided(PaymentVoided {});
    given(&step).when_undone(&reserved(card), Evidence::Unknown).await.then(voided);
}

#[tokio::test]
async fn an_unknown_payment_method_or_customer_is_a_refusal_that_can_be_voided() {
    let sandbox = Sandbox::start().await;
    let step = step(&sandbox);
    let refused = |reason: &str| Outcome::Refused(PaymentRefused { reason: reason.into() });
    let of_nobody = refused("resource_missing (payment_method)");
    given(&step).when(&reserved("pm_nobody")).await.then(of_nobody);
    let mut stranger = visa();
    stranger.customer = sandbox::UNKNOWN_CUSTOMER.parse().unwrap();
    let of_stranger = refused("resource_missing (customer)");
    given(&step).of(SagaId::parse("A124").unwrap()).when(&stranger).await.then(of_stranger);
    let voided = PaymentUndone::Voided(PaymentVoided {});
    given(&step).when_undone(&reserved("pm_nobody"), Evidence::Unknown).await.then(voided);
}

/// Faults that strike one request of one operation.
fn once(operation: &str, fault: &str) -> serde_json::Value {
    json!({ "operations": [operation], "times": 1, fault: 1.0 })
}

#[rstest]
#[tokio::test]
async fn one_lost_request_or_answer_charges_once(
    #[values("create", "confirm")] operation: &str,
    #[values("drop_before_rate", "drop_reply_rate", "error_rate")] fault: &str,
) {
    let sandbox = Sandbox::start().await;
    let step = step(&sandbox);
    sandbox.set_faults("payment", &once(operation, fault)).await;
    given(&step).when(&visa()).await.then_try_again();
    charge(&step).await;
    assert_eq!((sandbox.count("captured").await, balance(&sandbox, "A123").await), (1, 2_500));
}

#[rstest]
#[tokio::test]
async fn one_lost_request_or_answer_of_undo_refunds_once(
    #[values("retrieve", "refund", "create")] operation: &str,
    #[values("drop_before_rate", "drop_reply_rate", "error_rate")] fault: &str,
) {
    let sandbox = Sandbox::start().await;
    let step = step(&sandbox);
    charge(&step).await;
    sandbox.set_faults("payment", &once(operation, fault)).await;
    given(&step).when_undone(&visa(), Evidence::Unknown).await.then_try_again();
    assert!(is_refunded(&undo(&step, Evidence::Unknown).await));
    assert_eq!((sandbox.count("refunded").await, balance(&sandbox, "A123").await), (1, 0));
}

#[rstest]
#[tokio::test]
async fn one_lost_request_or_answer_of_a_cancellation_leaves_nothing_to_charge(
    #[values("drop_before_rate", "drop_reply_rate", "error_rate")] fault: &str,
) {
    let sandbox = Sandbox::start().await;
    let step = step(&sandbox);
    sandbox.set_faults("payment", &once("cancel", fault)).await;
    given(&step).when_undone(&visa(), Evidence::Unknown).await.then_try_again();
    assert!(!is_refunded(&undo(&step, Evidence::Unknown).await));
    given(&step).when(&visa()).await.then_superseded();
    assert_eq!(sandbox.count("captured").await, 0);
}

#[rstest]
#[tokio::test]
async fn failures_that_the_gateway_saved_under_many_keys_are_walked_past(
    #[values("create", "confirm", "cancel", "refund")] operation: &str,
) {
    let sandbox = Sandbox::start().await;
    let step = step(&sandbox);
    if operation == "refund" {
        charge(&step).await;
    }
    let faults = json!({
        "operations": [operation], "times": 12, "error_rate": 1.0, "save_errors": true
    });
    sandbox.set_faults("payment", &faults).await;
    if operation != "cancel" {
        let charged = insist("run", async || match given(&step).when(&visa()).await.result()? {
            Outcome::Done(charged) => Ok(charged),
            Outcome::Refused(refused) => panic!("{refused:?}"),
        });
        let charged = charged.await;
        assert_eq!(charge(&step).await, charged);
        assert_eq!(sandbox.count("captured").await, 1);
    }
    let undone = undo(&step, Evidence::Unknown).await;
    assert_eq!(is_refunded(&undone), operation != "cancel");
    assert_eq!(balance(&sandbox, "A123").await, 0);
    given(&step).when(&visa()).await.then_superseded();
}

#[tokio::test]
async fn a_failure_saved_under_every_key_ends_the_walk_and_takes_no_more() {
    let sandbox = Sandbox::start().await;
    let step = step(&sandbox);
    sandbox.set_faults("payment", &json!({ "error_rate": 1.0, "save_errors": true })).await;
    for _ in 0..70 {
        given(&step).when(&visa()).await.then_try_again();
    }
    let calls = || async { sandbox.get("/calls").await["create"].as_u64().unwrap() };
    let before = calls().await;
    given(&step).when(&visa()).await.then_try_again();
    assert_eq!(calls().await - before, 64);
}

#[tokio::test]
async fn a_saved_failure_opens_no_way_around_the_fence() {
    let sandbox = Sandbox::start().await;
    let faults = json!({
        "operations": ["create"], "times": 1, "error_rate": 1.0, "save_errors": true
    });
    sandbox.set_faults("payment", &faults).await;
    let step = step(&sandbox);
    given(&step).when_undone(&visa(), Evidence::Unknown).await.then_try_again();
    assert!(!is_refunded(&undo(&step, Evidence::Unknown).await));
    given(&step).when(&visa()).await.then_superseded();
    assert_eq!(sandbox.count("captured").await, 0);
}

#[tokio::test]
async fn a_key_in_use_is_tried_again_in_a_second_or_two() {
    let sandbox = Sandbox::start().await;
    sandbox.set_faults("payment", &once("confirm", "in_use_rate")).await;
    let after = given(&step(&sandbox)).when(&visa()).await.then_try_again().unwrap();
    assert!((1_000..2_000).contains(&after.as_millis()), "{after:?}");
}

#[tokio::test]
async fn an_overloaded_gateway_says_when_to_come_back() {
    let sandbox = Sandbox::start().await;
    let faults = json!({ "overload_rate": 1.0, "retry_after_s": 7 });
    sandbox.set_faults("payment", &faults).await;
    let after = given(&step(&sandbox)).when(&visa()).await.then_try_again();
    assert_eq!(after, Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn silence_is_no_refusal() {
    let sandbox = Sandbox::start().await;
    sandbox.set_faults("payment", &once("confirm", "hang_rate")).await;
    let step = step(&sandbox);
    given(&step).when(&visa()).await.then_try_again();
    sandbox.set_faults("payment", &json!({})).await;
    undo(&step, Evidence::Unknown).await;
    assert_eq!(balance(&sandbox, "A123").await, 0);
}

#[rstest]
#[tokio::test]
async fn what_is_carried_out_late_is_fenced_off_or_refunded(
    #[values("create", "confirm")] operation: &str,
) {
    let sandbox = Sandbox::start().await;
    let faults = json!({ "operations": [operation], "times": 1, "commit_late_ms": 300 });
    sandbox.set_faults("payment", &faults).await;
    let step = step(&sandbox);
    given(&step).when(&visa()).await.then_try_again();
    undo(&step, Evidence::Unknown).await;
    // A run in another replica is told to try again until the gateway has carried out what it was
    // asked for: so long the key is in use.
    let decided = insist("run", async || match given(&step).when(&visa()).await.result() {
        Err(again @ StepError::TryAgain { .. }) => Err(again),
        decided => Ok(decided),
    });
    let decided = decided.await;
    assert!(matches!(decided, Err(StepError::Superseded)), "{decided:?}");
    assert_eq!(balance(&sandbox, "A123").await, 0);
}

#[tokio::test]
async fn in_every_race_of_run_and_undo_nothing_stays_charged() {
    let sandbox = Sandbox::start().await;
    sandbox.set_faults("payment", &json!({ "jitter_ms": 6 })).await;
    let (here, there) = (step(&sandbox), step(&sandbox));
    let (mut refunded, mut voided) = (0, 0);
    for at in 0..150 {
        let order = SagaId::parse(&format!("R{at}")).unwrap();
        let visa = visa();
        let run = async {
            sleep(Duration::from_millis(fastrand::u64(0..8))).await;
            given(&here).of(order.clone()).when(&visa).await.result()
        };
        let undo = async {
            sleep(Duration::from_millis(fastrand::u64(0..16))).await;
            insist("undo", async || {
                let given = given(&there).of(order.clone());
                given.when_undone(&visa, Evidence::Unknown).await.result()
            })
            .await
        };
        let (run, undone) = tokio::join!(run, undo);
        let _ = given(&here).of(order.clone()).when(&visa).await.result();
        assert_eq!(balance(&sandbox, order.as_str()).await, 0, "{order}: {run:?} {undone:?}");
        if is_refunded(&undone) { refunded += 1 } else { voided += 1 }
    }
    assert!(refunded > 0 && voided > 0, "both ends of the race: {refunded} and {voided}");
}

#[tokio::test]
async fn once_keys_are_forgotten_the_order_is_looked_up() {
    let sandbox = Sandbox::start().await;
    sandbox.set_faults("payment", &json!({ "key_lifetime_ms": 0 })).await;
    let step = forgetful(&sandbox);
    let charged = charge(&step).await;
    assert_eq!(charge(&step).await, charged);
    assert_eq!(sandbox.count("captured").await, 1);
    assert!(is_refunded(&undo(&step, Evidence::Unknown).await));
    assert!(is_refunded(&undo(&step, Evidence::Unknown).await));
    given(&step).when(&visa()).await.then_superseded();
    assert_eq!((sandbox.count("refunded").await, balance(&sandbox, "A123").await), (1, 0));
    assert_eq!(sandbox.count("over-refund-refused").await, 0);
}

#[tokio::test]
async fn a_key_used_with_other_parameters_leads_to_the_payment_it_made() {
    let sandbox = Sandbox::start().await;
    let step = step(&sandbox);
    let charged = charge(&step).await;
    let mut changed = visa();
    changed.customer = "cus_2".parse().unwrap();
    given(&step).when(&changed).await.then(Outcome::Done(charged));
    changed.total = Money::new(1, changed.total.currency);
    given(&step).when(&changed).await.then_try_again();
    assert_eq!(sandbox.count("captured").await, 1);
    given(&step)
        .when_undone(&changed, Evidence::Unknown)
        .await
        .result()
        .map(|undone| assert!(is_refunded(&undone)))
        .unwrap();
    assert_eq!(balance(&sandbox, "A123").await, 0);
}

#[tokio::test]
async fn a_gateway_that_is_not_there_is_tried_again() {
    let settings = Settings { url: "http://127.0.0.1:1/payment".into(), ..Settings::default() };
    let step = ChargeCustomer::new(HttpGateway::new(&settings).unwrap(), &settings);
    given(&step).when(&visa()).await.then_try_again();
    given(&step).when_undone(&visa(), Evidence::Unknown).await.then_try_again();
}
