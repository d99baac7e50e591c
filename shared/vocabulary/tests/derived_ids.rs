//! The ids that are derived never change: a replica, a later version and an auditor must get those
//! that are in the log and at the outside services already.

use quadrille_vocabulary::ids::{Direction, event_id};
use quadrille_vocabulary::{IdempotencyKey, KeyNamespace, SagaId};

#[test]
fn a_key_and_an_event_id_stay_what_they_are() {
    let order = SagaId::parse("A123").expect("an id");
    let key_in = |log| {
        let key = IdempotencyKey::derive(
            log,
            "order",
            &order,
            "charge-customer",
            Direction::Run,
            "charge",
        );
        key.to_string()
    };
    assert_eq!(key_in(KeyNamespace::FIRST), "a3287cde-6807-5031-acfc-d614400746b9");
    assert_ne!(key_in(KeyNamespace::draw()), key_in(KeyNamespace::draw()));
    let seal = KeyNamespace::FIRST.seal(1_700_000_000_000_000_000, "orders.payment.A123", 7);
    assert_eq!(seal.to_string(), "ea8593d7-c2f7-5188-a181-7377c09607aa");
    let event = event_id("order", &order, "payment", "payment.charged.v1", "charge-customer");
    assert_eq!(event.to_string(), "171f88c7-ba69-5b23-9fcd-dcffb16fcc8a");
}
