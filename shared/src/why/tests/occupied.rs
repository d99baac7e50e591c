//! What is told of a saga whose slot is taken by what no worker wrote.

use super::seen::{TRIGGER, event, parked, reserved, stored};
use super::why;
use crate::broker::Stored;
use crate::why::Code;

#[test]
fn a_slot_that_somebody_else_took_is_named() {
    let mut events = reserved();
    events.push(event("payment", "mallory", "payment.charged.v1", 9));
    let alien = why(&events, &[], |_| {});
    assert_eq!(alien.code, Code::AlienEvent);
    let said = "its slot payment is taken by message 9, which no worker wrote";
    assert!(alien.sentence.contains(said), "{}", alien.sentence);
    assert!(alien.sentence.contains("ops/runbooks/occupied-slot.md"), "{}", alien.sentence);
    // The step behind a pivot needs that, too; and it has set its own trigger aside because of it.
    events[2] = event("payment", "charge-customer", "payment.charged.v1", TRIGGER);
    events.push(event("pivot", "mallory", "order.go.v1", 9));
    let text = String::from_utf8(parked("wrong-source").payload.to_vec()).unwrap();
    let payload = text.replace("\"charge-customer\"", "\"ship-order\"").into();
    let pivot = why(&events, &[Stored { payload, ..parked("") }], |_| {});
    assert_eq!(pivot.code, Code::AlienEvent);
    assert!(pivot.sentence.contains("its slot pivot is taken"), "{}", pivot.sentence);
    assert!(!pivot.sentence.contains("parked retry"), "{}", pivot.sentence);
    // A newer version of its own worker is no stranger.
    events[3] = event("pivot", "ship-order", "order.go.v1", 9);
    events.push(event("shipment", "ship-order", "shipment.dispatched.v2", 10));
    let newer = why(&events, &[], |_| {});
    assert!(newer.sentence.contains("a newer ship-order wrote it"), "{}", newer.sentence);
}

#[test]
fn an_id_whose_slot_is_taken_before_its_saga_is_opened_is_spent() {
    for slot in ["inventory", "payment", "pivot", "shipment", "closed", "payment-undo"] {
        let why = why(&[stored(slot, 4, serde_json::json!("junk"))], &[], |_| {});
        assert_eq!(why.code, Code::NotOpened);
        let spent = format!("this id is spent: its slot {slot} is taken by message 4, which no");
        assert!(why.sentence.contains(&spent), "{}", why.sentence);
        assert!(why.sentence.contains("take another id"), "{}", why.sentence);
        assert!(!why.sentence.contains("ublish"), "it could never end: {}", why.sentence);
    }
    // A signal only wakes, and a wish waits for its saga.
    for slot in ["refused", "cancel"] {
        let why = why(&[stored(slot, 4, serde_json::json!("junk"))], &[], |_| {});
        assert!(!why.sentence.contains("spent"), "{slot}: {}", why.sentence);
    }
}
