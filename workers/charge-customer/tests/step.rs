//! The step against a scripted gateway: given, when, then, and the laws of every step with undo.

#![expect(clippy::unwrap_used, reason = "in a test a panic is a finding")]

use std::time::Duration;

use charge_customer::gateway::{Payment, ScriptedGateway, State};
use charge_customer::{ChargeCustomer, Settings};
use quadrille::step::{Evidence, Outcome};
use quadrille::testing::laws::{self, Effects, World};
use quadrille::testing::{Faults, given};
use quadrille::{Currency, Money, SagaId};
use rstest::rstest;
use schemas::order_fulfilment::events::{
    Destination, InventoryReserved, PaymentCharged, PaymentRefunded, PaymentRefused, PaymentUndone,
    PaymentVoided,
};

/// Old enough that the gateway may have forgotten the run's key.
const OLD: Duration = Duration::from_secs(24 * 60 * 60);

fn reserved() -> InventoryReserved {
    InventoryReserved {
        customer: "cus_1".parse().unwrap(),
        payment_method: "pm_card_visa".parse().unwrap(),
        ship_to: Destination { country: "DE".into(), postcode: Some("10115".into()) },
        pieces: 3,
        total: euros(2_500),
    }
}

fn euros(amount: i64) -> Money {
    Money::new(amount, Currency::parse("EUR").unwrap())
}

fn charged(payment: &str) -> PaymentCharged {
    PaymentCharged {
        payment: Some(payment.parse().unwrap()),
        amount: euros(2_500),
        ship_to: reserved().ship_to,
        pieces: 3,
    }
}

fn refunded(payment: &str) -> PaymentUndone {
    let payment = payment.parse().unwrap();
    PaymentUndone::Refunded(PaymentRefunded { payment, amount: euros(2_500) })
}

fn voided() -> PaymentUndone {
    PaymentUndone::Voided(PaymentVoided {})
}

fn step(gateway: &ScriptedGateway) -> ChargeCustomer<ScriptedGateway> {
    ChargeCustomer::new(gateway.clone(), &Settings::default())
}

fn gateway() -> ScriptedGateway {
    ScriptedGateway::new(Faults::none())
}

/// A gateway that knows one payment of the order, under no key.
fn gateway_with(state: State, amount: Money) -> ScriptedGateway {
    let gateway = gateway();
    let payment = Payment { id: "pi_old".parse().unwrap(), amount, state };
    gateway.has(&SagaId::parse("A123").unwrap(), payment);
    gateway
}

#[tokio::test]
async fn a_reserved_order_is_charged_in_full() {
    let gateway = gateway();
    given(&step(&gateway)).when(&reserved()).await.then(Outcome::Done(charged("pi_1")));
    assert_eq!(gateway.charges(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_order_that_another_replica_charged_while_this_machine_slept_is_charged_once() {
    let young = Duration::from_secs(60);
    let gateway = gateway_with(State::Charged, euros(2_500)).slow_to_open(OLD);
    given(&step(&gateway)).aged(young).when(&reserved()).await.then_try_again();
    let now = young + OLD;
    given(&step(&gateway)).aged(now).when(&reserved()).await.then(Outcome::Done(charged("pi_old")));
    assert_eq!(gateway.charges(), 0, "no second charge");
}

#[tokio::test]
async fn an_order_that_costs_nothing_is_done_without_the_gateway() {
    let gateway = ScriptedGateway::new(Faults::none()).declining("asked");
    let free = InventoryReserved { total: euros(0), ..reserved() };
    let done = PaymentCharged { payment: None, amount: euros(0), ..charged("pi_1") };
    given(&step(&gateway)).when(&free).await.then(Outcome::Done(done.clone()));
    for evidence in [Evidence::Recorded(&done), Evidence::Unknown] {
        given(&step(&gateway)).when_undone(&free, evidence).await.then(voided());
    }
    assert_eq!((gateway.charges(), gateway.payments().len()), (0, 0));
}

#[tokio::test]
async fn a_declined_card_is_a_refusal_with_the_gateways_code() {
    let gateway = gateway().declining("insufficient_funds");
    let refused = PaymentRefused { reason: "insufficient_funds".into() };
    given(&step(&gateway)).when(&reserved()).await.then(Outcome::Refused(refused));
}

#[tokio::test]
async fn what_the_gateway_never_takes_is_a_bad_message_and_voided_when_undone() {
    let gateway = gateway().rejecting("parameter_invalid");
    given(&step(&gateway)).when(&reserved()).await.then_bad_message();
    given(&step(&gateway)).when_undone(&reserved(), Evidence::Unknown).await.then(voided());
}

#[tokio::test]
async fn a_no_before_anything_is_charged_is_a_refusal_and_voided_when_undone() {
    let gateway = gateway().refusing("amount_too_small");
    let refused = PaymentRefused { reason: "amount_too_small".into() };
    given(&step(&gateway)).when(&reserved()).await.then(Outcome::Refused(refused));
    given(&step(&gateway)).when_undone(&reserved(), Evidence::Unknown).await.then(voided());
}

#[tokio::test]
async fn what_the_gateway_still_works_on_is_neither_charged_again_nor_given_up() {
    let gateway = gateway_with(State::Processing, reserved().total);
    given(&step(&gateway)).aged(OLD).when(&reserved()).await.then_try_again();
    given(&step(&gateway))
        .aged(OLD)
        .when_undone(&reserved(), Evidence::Unknown)
        .await
        .then_try_again();
    assert_eq!((gateway.charges(), gateway.payments().len()), (0, 1));
}

#[tokio::test]
async fn a_key_used_with_other_parameters_waits_until_its_payment_is_shown() {
    let gateway = gateway().knowing_keys();
    given(&step(&gateway)).when(&reserved()).await.then_try_again();
    given(&step(&gateway)).when_undone(&reserved(), Evidence::Unknown).await.then_try_again();
    let gateway = gateway_with(State::Unconfirmed, reserved().total).knowing_keys();
    given(&step(&gateway)).when_undone(&reserved(), Evidence::Unknown).await.then(voided());
    assert_eq!(gateway.payments()[0].state, State::Cancelled);
}

#[tokio::test]
async fn a_recorded_charge_is_refunded() {
    let gateway = gateway();
    given(&step(&gateway)).when(&reserved()).await.then(Outcome::Done(charged("pi_1")));
    let evidence = charged("pi_1");
    given(&step(&gateway))
        .when_undone(&reserved(), Evidence::Recorded(&evidence))
        .await
        .then(refunded("pi_1"));
    assert_eq!(gateway.refunds(), 1);
}

#[tokio::test]
async fn an_unknown_charge_is_refunded_if_it_happened_and_voided_if_not() {
    let happened = gateway();
    given(&step(&happened)).when(&reserved()).await.then(Outcome::Done(charged("pi_1")));
    given(&step(&happened))
        .when_undone(&reserved(), Evidence::Unknown)
        .await
        .then(refunded("pi_1"));

    let never = gateway();
    given(&step(&never)).when_undone(&reserved(), Evidence::Unknown).await.then(voided());
    given(&step(&never)).when(&reserved()).await.then_superseded();
    assert_eq!(never.charges(), 0);
}

#[tokio::test]
async fn a_declined_charge_is_voided_so_that_no_later_attempt_succeeds() {
    let gateway = gateway().declining("insufficient_funds");
    let refused = PaymentRefused { reason: "insufficient_funds".into() };
    given(&step(&gateway)).when(&reserved()).await.then(Outcome::Refused(refused));
    given(&step(&gateway)).when_undone(&reserved(), Evidence::Unknown).await.then(voided());
    assert_eq!(gateway.payments()[0].state, State::Cancelled);
}

#[tokio::test]
async fn a_payment_of_another_amount_is_not_touched() {
    let gateway = gateway_with(State::Unconfirmed, euros(9_999));
    given(&step(&gateway)).aged(OLD).when(&reserved()).await.then_try_again();
    assert_eq!((gateway.charges(), gateway.payments()[0].state.clone()), (0, State::Unconfirmed));
}

#[rstest]
#[case::unconfirmed(State::Unconfirmed, 1)]
#[case::charged(State::Charged, 0)]
#[tokio::test]
async fn with_an_old_trigger_the_payment_found_is_the_one_that_counts(
    #[case] state: State,
    #[case] charges: u32,
) {
    let gateway = gateway_with(state, euros(2_500));
    given(&step(&gateway)).aged(OLD).when(&reserved()).await.then(Outcome::Done(charged("pi_old")));
    assert_eq!((gateway.charges(), gateway.payments().len()), (charges, 1));
}

#[rstest]
#[case::cancelled(State::Cancelled)]
#[case::refunded(State::Refunded)]
#[tokio::test]
async fn with_an_old_trigger_a_payment_taken_back_supersedes_the_run(#[case] state: State) {
    let gateway = gateway_with(state, euros(2_500));
    given(&step(&gateway)).aged(OLD).when(&reserved()).await.then_superseded();
    assert_eq!(gateway.charges(), 0);
}

#[tokio::test]
async fn with_an_old_trigger_a_decline_stays_a_decline() {
    let gateway = gateway_with(State::Declined("lost_card".into()), euros(2_500));
    let refused = PaymentRefused { reason: "lost_card".into() };
    given(&step(&gateway)).aged(OLD).when(&reserved()).await.then(Outcome::Refused(refused));
}

#[tokio::test]
async fn with_an_old_trigger_a_charge_that_was_forgotten_is_not_made_again() {
    let gateway = gateway();
    given(&step(&gateway)).when(&reserved()).await.then(Outcome::Done(charged("pi_1")));
    gateway.forget_keys();
    given(&step(&gateway)).aged(OLD).when(&reserved()).await.then(Outcome::Done(charged("pi_1")));
    assert_eq!(gateway.charges(), 1);
}

#[rstest]
#[case::unconfirmed(State::Unconfirmed, voided(), 0)]
#[case::declined(State::Declined("lost_card".into()), voided(), 0)]
#[case::cancelled(State::Cancelled, voided(), 0)]
#[case::charged(State::Charged, refunded("pi_old"), 1)]
#[case::refunded(State::Refunded, refunded("pi_old"), 0)]
#[tokio::test]
async fn with_an_old_trigger_undo_takes_back_what_it_finds(
    #[case] state: State,
    #[case] undone: PaymentUndone,
    #[case] refunds: u32,
) {
    let gateway = gateway_with(state, euros(2_500));
    given(&step(&gateway)).aged(OLD).when_undone(&reserved(), Evidence::Unknown).await.then(undone);
    assert_eq!((gateway.refunds(), gateway.payments().len()), (refunds, 1));
}

#[tokio::test]
async fn with_an_old_trigger_undo_leaves_a_fence_where_it_finds_nothing() {
    let gateway = gateway();
    let undo = given(&step(&gateway)).aged(OLD).when_undone(&reserved(), Evidence::Unknown).await;
    undo.then(voided());
    // A run that had looked before the undo did, and one that looks after it.
    given(&step(&gateway)).when(&reserved()).await.then_superseded();
    given(&step(&gateway)).aged(OLD).when(&reserved()).await.then_superseded();
    assert_eq!((gateway.charges(), gateway.payments().len()), (0, 1));
}

fn world(key_lifetime: Duration, declines: bool) -> impl Fn(Faults) -> World<Charge> {
    let settings = Settings { key_lifetime, ..Settings::default() };
    move |faults| {
        let gateway = ScriptedGateway::new(faults);
        let gateway = if declines { gateway.declining("lost_card") } else { gateway };
        let effects = gateway.clone();
        World::new(
            || ChargeCustomer::new(gateway.clone(), &settings),
            move || Effects { done: effects.charges(), undone: effects.refunds() },
        )
    }
}

type Charge = ChargeCustomer<ScriptedGateway>;

#[rstest]
#[case::young(Settings::default().key_lifetime)]
#[case::old(Duration::ZERO)]
#[tokio::test]
async fn every_law_holds(#[case] key_lifetime: Duration, #[values(false, true)] declines: bool) {
    laws::hold_for_undo(world(key_lifetime, declines), &reserved()).await;
}
