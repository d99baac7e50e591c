//! What is told of a saga whose slot is taken by what no worker wrote.

use super::seen::{TRIGGER, event, parked, reserved, stored, turned};
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
    let said = "shipment holds message 10 of ship-order, which is not known here";
    assert!(newer.sentence.contains(said), "{}", newer.sentence);
}

#[test]
fn an_event_of_a_newer_worker_in_the_slot_of_another_is_no_strangers() {
    for (slot, event_type) in [("pivot", "order.stop.v2"), ("payment", "payment.refused.v2")] {
        let mut events = turned();
        events.retain(|stored| ["placed", "inventory", "payment"].contains(&slot_of(stored)));
        events.retain(|stored| slot_of(stored) != slot);
        events.push(event(slot, "complete-order", event_type, 9));
        let set_aside = parked("wrong-source");
        let why = why(&events, &[set_aside], |_| {});
        assert_eq!(why.code, Code::AlienEvent);
        let said = "holds message 9 of complete-order, which is not known here";
        assert!(why.sentence.contains(said), "{}", why.sentence);
        assert!(!why.sentence.contains("no worker wrote"), "{}", why.sentence);
        assert!(!why.sentence.contains("out of the log"), "{}", why.sentence);
    }
}

#[test]
fn every_slot_that_is_taken_is_named_and_first_the_one_in_the_way() {
    let mut events = reserved();
    events.push(event("payment-undo", "mallory", "x", 8));
    events.push(event("payment", "mallory", "x", 9));
    let said = why(&events, &[], |_| {}).sentence;
    let taken = "its slots payment and payment-undo are taken by messages 9 and 8, which no worker";
    assert!(said.contains(taken), "{said}");
    assert!(said.contains("take messages 9 and 8 out of the log"), "{said}");
}

#[test]
fn an_order_whose_pivot_is_free_can_be_taken_back_though_its_next_slot_is_taken() {
    let mut events = reserved();
    events.push(event("payment", "charge-customer", "payment.charged.v1", 8));
    events.push(event("shipment", "mallory", "x", 9));
    let said = why(&events, &[], |_| {}).sentence;
    assert!(said.contains("`quadrille cancel A1` takes it back"), "{said}");
    events.push(event("pivot", "ship-order", "order.go.v1", 10));
    let said = why(&events, &[], |_| {}).sentence;
    assert!(said.contains("no cancellation can end it"), "{said}");
}

#[test]
fn what_lies_in_the_slots_of_a_step_that_never_began_is_in_nobodys_way() {
    let mut events = reserved();
    events[1] = event("inventory", "reserve-inventory", "inventory.refused.v1", 2);
    for (slot, sequence) in [("payment", 3), ("payment-undo", 4)] {
        events.push(event(slot, "mallory", "x", sequence));
    }
    events.push(event("refused", "reserve-inventory", "order.refused.v1", TRIGGER));
    let why = why(&events, &[], |_| {});
    assert_ne!(why.code, Code::AlienEvent, "{}", why.sentence);
    assert_eq!(why.waits_for.unwrap().slot, "inventory-undo");
}

#[test]
fn an_id_whose_opening_alone_was_taken_out_is_spent_by_what_is_left() {
    let mut events = reserved();
    events.remove(0);
    events.push(event("payment", "mallory", "x", 9));
    let said = why(&events, &[], |_| {}).sentence;
    let left =
        "its slot inventory is taken by message 7, though there is no opening of it in the log";
    assert!(said.contains(left) && said.contains("take another id"), "{said}");
    assert!(!said.contains("no worker wrote"), "{said}");
}

#[test]
fn an_order_whose_undo_could_not_be_recorded_is_not_said_to_be_taken_back() {
    let mut events = reserved();
    events.push(event("payment", "charge-customer", "payment.charged.v1", 8));
    events.push(event("shipment", "mallory", "x", 9));
    events.push(event("payment-undo", "mallory", "x", 10));
    let said = why(&events, &[], |_| {}).sentence;
    assert!(said.contains("no cancellation can end it"), "{said}");
}

#[test]
fn a_worker_that_may_not_write_a_slot_is_a_stranger_there() {
    let mut events = reserved();
    events.push(event("payment", "ship-order", "payment.charged.v1", 9));
    let said = why(&events, &[], |_| {}).sentence;
    assert!(
        said.contains("its slot payment is taken by message 9, which no worker wrote"),
        "{said}"
    );
}

#[test]
fn a_wish_that_waits_for_its_order_is_no_stray() {
    let wish = stored("cancel", 4, serde_json::json!({ "by": "x", "reason": "" }));
    let said = why(std::slice::from_ref(&wish), &[], |_| {}).sentence;
    assert!(said.contains("its cancellation is asked for by message 4"), "{said}");
    assert!(!said.contains("counts for nothing") && !said.contains("publish"), "{said}");
    let refused = event("cancel-refused", "complete-order", "order.cancel-refused.v1", 5);
    let said = why(&[wish, refused], &[], |_| {}).sentence;
    assert!(said.contains("was refused by 5"), "{said}");
}

fn slot_of(stored: &Stored) -> &str {
    stored.subject.split('.').nth(1).unwrap()
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
