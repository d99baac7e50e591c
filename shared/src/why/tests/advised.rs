//! What is advised of a message that was set aside, and of an opening of an unknown type.

use super::seen::{TRIGGER, event, parked, turned};
use super::why;
use crate::why::Code;

#[test]
fn what_cannot_be_given_up_is_not_advised_to_be() {
    let mut events = turned();
    events.truncate(4);
    events.push(event("shipment", "ship-order", "shipment.dispatched.v1", TRIGGER));
    for reason in ["malformed-header", "attempts-used-up", "crash-loop", "no-cause"] {
        let mut set_aside = parked(reason);
        let text = String::from_utf8(set_aside.payload.to_vec()).unwrap();
        let text = text.replace("charge-customer", "complete-order");
        set_aside.payload = text.replace("orders.inventory.A1", "orders.shipment.A1").into();
        let sentence = why(&events, &[set_aside], |_| {}).sentence;
        assert!(sentence.contains("parked retry A1"), "{sentence}");
        assert!(!sentence.contains("discard"), "it always refuses: {sentence}");
    }
}

#[test]
fn an_undo_that_waits_for_a_newer_version_is_no_typing_mistake() {
    let said = |event_type| {
        let events = [
            event("placed", "client", event_type, 1),
            event("inventory", "complete-order", "inventory.refused.v1", 2),
            event("refused", "complete-order", "order.refused.v1", TRIGGER),
        ];
        let why = why(&events, &[], |_| {});
        assert_eq!(why.code, Code::UndoBlocked, "{}", why.sentence);
        assert!(!why.sentence.contains("mostly"), "it guesses: {}", why.sentence);
        why.sentence
    };
    let newer = said("order.placed.v2");
    assert!(newer.contains("start a reserve-inventory that knows this version"), "{newer}");
    assert!(!newer.contains("out of the log"), "{newer}");
    let mistyped = said("order.plced.v1");
    assert!(mistyped.contains("if it is a typing mistake, take all of this order"), "{mistyped}");
}
