//! The step against a scripted carrier: given, when, then, and the laws of every step.

#![expect(clippy::unwrap_used, reason = "in a test a panic is a finding")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use quadrille::breaker::Settings;
use quadrille::breaker::call::Breaker;
use quadrille::step::{Outcome, Step, StepError};
use quadrille::testing::laws::{self, Effects, World};
use quadrille::testing::{Faults, When, given};
use quadrille::{Currency, Money};
use rstest::rstest;
use schemas::order_fulfilment::events::{
    Destination, PaymentCharged, ShipmentDispatched, ShipmentRefused,
};
use ship_order::ShipOrder;
use ship_order::carrier::{Parcel, ScriptedCarrier};
use ship_order::quotes::{Quote, Quotes, ScriptedQuotes};
use tokio::time::Instant;

/// A replica with a breaker of its own.
fn step(
    carrier: ScriptedCarrier,
    quotes: ScriptedQuotes,
) -> impl Step<On = PaymentCharged, Done = ShipmentDispatched, Refused = ShipmentRefused> {
    ShipOrder::new(carrier, quotes, Breaker::new(Settings::default()))
}

fn dispatched(carrier: &str, degraded: bool) -> Outcome<ShipmentDispatched, ShipmentRefused> {
    let (label, tracking) = ("L-1".parse().unwrap(), Some("T-1".to_owned()));
    Outcome::Done(ShipmentDispatched { carrier: carrier.into(), label, tracking, degraded })
}

fn charged() -> PaymentCharged {
    PaymentCharged {
        payment: Some("pi_1".parse().unwrap()),
        amount: Money::new(2_500, Currency::parse("EUR").unwrap()),
        ship_to: Destination { country: "DE".into(), postcode: Some("10115".into()) },
        pieces: 3,
    }
}

#[tokio::test]
async fn a_paid_order_is_handed_to_the_cheapest_carrier() {
    let step = step(ScriptedCarrier::default(), ScriptedQuotes::default());
    given(&step).when(&charged()).await.then(dispatched("scripted-parcel", false));
}

#[rstest]
#[case::no_answer(ScriptedQuotes::new(Faults::failing(1, When::Before)))]
#[case::a_lost_answer(ScriptedQuotes::new(Faults::failing(1, When::After)))]
#[case::a_no(ScriptedQuotes::default().refusing())]
#[tokio::test]
async fn without_a_quote_the_parcel_goes_at_the_flat_rate(#[case] quotes: ScriptedQuotes) {
    let step = step(ScriptedCarrier::default(), quotes);
    given(&step).when(&charged()).await.then(dispatched("scripted-post", true));
}

#[tokio::test(start_paused = true)]
async fn a_quote_service_that_gives_no_answer_is_soon_left_alone() {
    struct Gone(Arc<AtomicU32>);
    impl Quotes for Gone {
        async fn cheapest(&self, _: &Parcel<'_>, _: Instant) -> Result<Quote, StepError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Err(StepError::try_again("no answer"))
        }
    }
    let asked = Arc::new(AtomicU32::new(0));
    let breaker = Breaker::new(Settings::default());
    let step = ShipOrder::new(ScriptedCarrier::default(), Gone(asked.clone()), breaker);
    for _ in 0..50 {
        given(&step).when(&charged()).await.then(dispatched("scripted-post", true));
    }
    assert_eq!(asked.load(Ordering::Relaxed), Settings::default().run);
}

#[tokio::test]
async fn what_the_label_says_is_recorded_not_what_this_attempt_found_out() {
    // The quote is lost, then the label's answer; the second attempt has both.
    let quotes = ScriptedQuotes::new(Faults::failing(1, When::Before));
    let carrier = ScriptedCarrier::new(Faults::failing(1, When::After));
    let step = step(carrier.clone(), quotes);
    given(&step).when(&charged()).await.then_try_again();
    given(&step).when(&charged()).await.then(dispatched("scripted-post", true));
    assert_eq!(carrier.labels(), 1);
}

#[tokio::test]
async fn a_carrier_that_will_not_go_there_is_a_refusal() {
    let carrier = ScriptedCarrier::new(Faults::none()).refusing("destination_refused");
    let refused = ShipmentRefused { reason: "destination_refused".into() };
    let step = step(carrier, ScriptedQuotes::default());
    given(&step).when(&charged()).await.then(Outcome::Refused(refused));
}

#[rstest]
#[tokio::test]
async fn every_law_holds(#[values(false, true)] refuses: bool) {
    let world = |faults: Faults| {
        let quotes = ScriptedQuotes::new(faults.clone());
        let carrier = ScriptedCarrier::new(faults);
        let carrier = if refuses { carrier.refusing("too_heavy") } else { carrier };
        let effects = carrier.clone();
        World::new(
            || step(carrier.clone(), quotes.clone()),
            move || Effects { done: effects.labels(), undone: 0 },
        )
    };
    laws::hold_for_step(world, &charged()).await;
}
