//! What is told of sagas that ended, are taken back or never began, and of what is held.

use serde_json::json;

use super::seen::{at, event, held, report, reserved, stored, turned};
use super::why;

#[test]
fn what_was_cancelled_says_why_and_so_does_what_is_being_taken_back() {
    let mut events = turned();
    let back = why(&events, &[], |_| {}).sentence;
    let because = "because ship-order refused shipment (why-not)";
    assert!(back.contains(&format!("it is taken back, {because}")), "{back}");
    events.push(event("closed", "complete-order", "order.cancelled.v1", 19));
    let cancelled = why(&events, &[], |_| {}).sentence;
    assert!(cancelled.starts_with(&format!("order A1 is cancelled, {because}: ")), "{cancelled}");
    let asked = json!({
        "specversion": "1.0", "id": "c", "type": "order.cancel-requested.v1", "source": "shop",
        "subject": "A1", "data": { "reason": "bought twice" },
    });
    let refused = json!({
        "specversion": "1.0", "id": "r", "type": "payment.refused.v1", "source": "complete-order",
        "subject": "A1", "causationid": "c", "causationseq": 8, "data": { "reason": "cancelled" },
    });
    let mut events = reserved();
    events.push(stored("cancel", 8, asked));
    events.push(stored("payment", 9, refused));
    let wanted = why(&events, &[], |_| {}).sentence;
    assert!(
        wanted.contains("it is taken back, because shop asked for it (bought twice)"),
        "{wanted}"
    );
}

#[test]
fn a_message_that_nobody_reads_is_named_with_the_subject_that_was_meant() {
    let said = |slot| why(&[event(slot, "client", "", 7)], &[], |_| {}).sentence;
    let mistyped = said("palced");
    for part in ["message 7 has its id", "orders.palced.A1", "was orders.placed.A1 meant?"] {
        assert!(mistyped.contains(part), "{mistyped}");
    }
    let strange = said("nosuch");
    assert!(strange.contains("publish what opens it under orders.placed.A1"), "{strange}");
    let unopened = said("cancel-refused");
    assert!(unopened.contains("under orders.cancel-refused.A1 counts for nothing"), "{unopened}");
}

#[test]
fn what_is_held_says_how_often_it_was_tried() {
    let said = |attempt| {
        let mut one = held("charge-customer", None, 0);
        one.attempt = attempt;
        why(&reserved(), &[], |seen| seen.replicas = vec![report(vec![one])]).sentence
    };
    assert!(said(3).contains("until a call is free (tried 3 times)"), "{}", said(3));
    assert!(said(0).contains("until a call is free, since"), "{}", said(0));
}

#[test]
fn what_is_due_waits_for_a_call_and_says_no_time_that_is_over() {
    let mut due = held("charge-customer", Some("503"), 0);
    due.next_try = Some(at(2));
    let next = why(&reserved(), &[], |seen| seen.replicas = vec![report(vec![due])]).next;
    assert!(next.starts_with("it is tried once a call is free"), "{next}");
}
