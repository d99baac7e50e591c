//! The step against a scripted carrier: given, when, then, and the laws of every step.

#![expect(clippy::unwrap_used, reason = "in a test a panic is a finding")]

use quadrille::step::Outcome;
use quadrille::testing::laws::{self, Effects, World};
use quadrille::testing::{Faults, given};
use quadrille::{Currency, Money};
use rstest::rstest;
use schemas::order_fulfilment::events::{
    Destination, PaymentCharged, ShipmentDispatched, ShipmentRefused,
};
use ship_order::ShipOrder;
use ship_order::carrier::ScriptedCarrier;

fn charged() -> PaymentCharged {
    PaymentCharged {
        payment: "pi_1".parse().unwrap(),
        amount: Money::new(2_500, Currency::parse("EUR").unwrap()),
        ship_to: Destination { country: "DE".into(), postcode: "10115".into() },
        pieces: 3,
    }
}

#[tokio::test]
async fn a_paid_order_is_handed_to_the_carrier() {
    let carrier = ScriptedCarrier::new(Faults::none());
    let dispatched = ShipmentDispatched {
        carrier: "scripted-post".into(),
        label: "L-1".parse().unwrap(),
        tracking: "T-1".parse().unwrap(),
    };
    given(&ShipOrder::new(carrier)).when(&charged()).await.then(Outcome::Done(dispatched));
}

#[tokio::test]
async fn a_carrier_that_will_not_go_there_is_a_refusal() {
    let carrier = ScriptedCarrier::new(Faults::none()).refusing("destination_refused");
    let refused = ShipmentRefused { reason: "destination_refused".into() };
    given(&ShipOrder::new(carrier)).when(&charged()).await.then(Outcome::Refused(refused));
}

#[rstest]
#[tokio::test]
async fn every_law_holds(#[values(false, true)] refuses: bool) {
    let world = |faults| {
        let carrier = ScriptedCarrier::new(faults);
        let carrier = if refuses { carrier.refusing("too_heavy") } else { carrier };
        let effects = carrier.clone();
        World::new(
            || ShipOrder::new(carrier.clone()),
            move || Effects { done: effects.labels(), undone: 0 },
        )
    };
    laws::hold_for_step(world, &charged()).await;
}
