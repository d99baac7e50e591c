//! Fixed messages of the log, and the list that they must make.

use jiff::SignedDuration;
use schemas::order_fulfilment::FLOW;
use serde_json::{Value, json};

use super::*;

fn at(milliseconds: i64) -> Timestamp {
    let noon: Timestamp = "2026-01-02T12:00:00Z".parse().unwrap();
    noon.checked_add(SignedDuration::from_millis(milliseconds)).unwrap()
}

fn stored(subject: &str, sequence: u64, ms: i64, payload: &Value) -> Stored {
    let (subject, payload) = (subject.to_owned(), payload.to_string().into());
    Stored { subject, sequence, stored_at: at(ms), headers: vec![], payload }
}

/// An event of `source`, stored at this millisecond, which is its sequence, too.
fn event(id: &str, slot: &str, ms: i64, source: &str, event_type: &str) -> Stored {
    let data = json!({ "reason": "card_declined" });
    let payload = json!({
        "specversion": "1.0", "id": format!("{id}-{slot}"), "type": event_type, "source": source,
        "subject": id, "causationid": "x", "causationseq": 1, "data": data,
    });
    stored(&format!("orders.{slot}.{id}"), ms.unsigned_abs(), ms, &payload)
}

fn placed(id: &str, ms: i64) -> Stored {
    stored(&format!("orders.placed.{id}"), ms.unsigned_abs(), ms, &json!({ "customer": "c" }))
}

fn reserved(id: &str, ms: i64) -> Stored {
    event(id, "inventory", ms, "reserve-inventory", "inventory.reserved.v1")
}

fn story(id: &str, events: &[Stored], parked: &[Stored]) -> Story {
    story::tell(&FLOW, &SagaId::parse(id).unwrap(), events, parked)
}

/// Another worker may have set another of its messages aside since.
#[test]
fn the_reason_is_that_of_the_message_that_it_waits_for() {
    let parked = |durable: &str, slot: &str, sequence: u64, reason: &str| {
        let entry = json!({
            "parked_at": at(60).to_string(), "durable": durable, "reason": reason, "pointer": "",
            "message": "", "deliveries": 1, "subject": format!("orders.{slot}.A"),
            "sequence": sequence,
        });
        stored(&format!("parked.orders.{durable}.A"), sequence, 60, &entry)
    };
    let junk = stored("orders.payment.A", 55, 55, &json!("junk"));
    let story = story(
        "A",
        &[placed("A", 1), reserved("A", 50), junk],
        &[
            parked("charge-customer", "inventory", 50, "wrong-source"),
            parked("ship-order", "payment", 55, "not-json"),
        ],
    );
    let row = row(&FLOW, &story, at(70));
    let waits_for = row.waits_for.as_deref();
    assert_eq!((row.state, waits_for), (Phase::Parked, Some("charge-customer")));
    assert_eq!(row.reason.as_deref(), Some("wrong-source"));
}

#[test]
fn what_waits_longest_comes_first_and_what_has_ended_is_left_out() {
    let declined = |id: &str, ms| event(id, "payment", ms, "charge-customer", "payment.refused.v1");
    let parked = json!({
        "parked_at": at(9).to_string(), "durable": "reserve-inventory", "reason": "invalid-field",
        "pointer": "", "message": "", "deliveries": 1, "subject": "orders.placed.P", "sequence": 7,
    });
    let parked = stored("parked.orders.reserve-inventory.P", 1, 9, &parked);
    let closed = event("E", "closed", 60, "complete-order", "order.completed.v1");
    let stories = [
        // Placed first, and it waits for the shortest time.
        story("A", &[placed("A", 1), reserved("A", 50)], &[]),
        story("B", &[placed("B", 5), reserved("B", 20), declined("B", 30)], &[]),
        story("P", &[placed("P", 7)], &[parked]),
        story("E", &[placed("E", 2), closed], &[]),
    ];
    let rows = worst_first(&FLOW, &stories, at(1_050));
    let seen: Vec<_> =
        rows.iter().map(|row| (row.id.as_str(), row.waits_for.as_deref().unwrap())).collect();
    let expected = [("P", "reserve-inventory"), ("B", "charge-customer"), ("A", "charge-customer")];
    assert_eq!(seen, expected);
    assert_eq!(rows[0].state, Phase::Parked);
    assert_eq!(rows[0].reason.as_deref(), Some("invalid-field"));
    assert_eq!(rows[1].reason.as_deref(), Some("card_declined"));
    assert_eq!((rows[2].waits_ms, rows[2].age_ms), (Some(1_000.0), Some(1_049.0)));
    let text = table(&rows, Some(80));
    let expected = "\
id  state       waits for            for  reason         opened (UTC)
P   parked      reserve-inventory  1.0 s  invalid-field  2026-01-02 12:00:00
B   cancelling  charge-customer    1.0 s  card_declined  2026-01-02 12:00:00
A   open        charge-customer    1.0 s  -              2026-01-02 12:00:00
";
    assert_eq!(text, expected, "{text}");
}
