//! A message that was set aside, and is tried again.

use serde_json::json;

use super::super::Code;
use super::seen::{held, parked, report, reserved, stored};
use super::{durable, why};
use crate::broker::Stored;

#[test]
fn what_is_tried_again_is_no_longer_set_aside_until_it_is_set_aside_again() {
    let open = reserved();
    let on = |kind: &str, sequence, body: &Stored| Stored {
        subject: format!("{kind}.orders.charge-customer.A1"),
        sequence,
        ..body.clone()
    };
    let entry = parked("invalid-field");
    let tried =
        |at| vec![on("parked", 20, &entry), on("released", at, &stored("x", at, json!({})))];
    assert_eq!(why(&open, &tried(19), |_| {}).code, Code::Parked, "that was before");
    let comes = why(&open, &tried(21), |seen| {
        let awaited = seen.awaited.as_ref().unwrap();
        assert_eq!(awaited.durable, "charge-customer-released");
        let durable = durable(seen);
        (durable.delivered, durable.in_hand) = (21, 1);
    });
    assert_eq!(comes.code, Code::InHand, "{}", comes.sentence);
    let skipped = why(&open, &tried(21), |seen| {
        let durable = durable(seen);
        (durable.delivered, durable.settled, durable.pending) = (21, 21, 0);
    });
    assert_eq!(skipped.code, Code::StepNotDelivered);
    let way_out = "nats consumer reset ORDERS_PARKED charge-customer-released --sequence 21";
    assert!(skipped.sentence.contains(way_out), "{}", skipped.sentence);
    let refuse = [
        on("parked", 20, &entry),
        on("released", 21, &stored("x", 21, json!({ "verdict": "refuse" }))),
    ];
    let told = why(&open, &refuse, |seen| {
        let durable = durable(seen);
        (durable.delivered, durable.in_hand) = (21, 1);
    });
    assert!(told.sentence.contains("which an operator has told to refuse it"), "{}", told.sentence);
    assert!(!told.sentence.contains("at any moment"), "{}", told.sentence);
    let retried = why(&open, &tried(21), |seen| {
        let mut held = held("charge-customer-released", Some("503"), 0);
        held.sequence = 21;
        seen.replicas = vec![report(vec![held])];
    });
    assert_eq!(retried.code, Code::Retrying);
}
