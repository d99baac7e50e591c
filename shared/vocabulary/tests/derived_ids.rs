//! The ids that are derived never change: a replica, a later version and an auditor must get those
//! that are in the log and at the outside services already.

use quadrille_vocabulary::ids::{Direction, event_id};
use quadrille_vocabulary::{IdempotencyKey, SagaId};

#[test]
fn a_key_and_an_event_id_stay_what_they_are() {
    let order = SagaId::parse("A123").expect("an id");
    let key = IdempotencyKey::derive("order", &order, "charge-customer", Direction::Run, "charge");
    assert_eq!(key.to_string(), "a3287cde-6807-5031-acfc-d614400746b9");
    let event = event_id("order", &order, "payment", "payment.charged.v1", "charge-customer");
    assert_eq!(event.to_string(), "171f88c7-ba69-5b23-9fcd-dcffb16fcc8a");
}
