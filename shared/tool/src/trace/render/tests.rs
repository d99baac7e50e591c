//! Fixed messages of the log, and the stories they must make.

use jiff::{SignedDuration, Timestamp};
use quadrille::SagaId;
use quadrille::broker::Stored;
use quadrille::log::story::{Story, tell};
use schemas::order_fulfilment::FLOW;
use serde_json::{Value, json};

use super::{Paint, render};
use crate::output::STRONG;

/// A log of one order, `A1`; an event's number is its sequence.
struct Log(Vec<Stored>);

fn at(milliseconds: i64) -> Timestamp {
    let noon: Timestamp = "2026-01-02T12:00:00Z".parse().unwrap();
    noon.checked_add(SignedDuration::from_millis(milliseconds)).unwrap()
}

impl Log {
    fn placed() -> Self {
        let payload = br#"{"customer":"cus_1"}"#.to_vec().into();
        let subject = "orders.placed.A1".into();
        let stored = Stored { subject, sequence: 1, stored_at: at(0), headers: vec![], payload };
        Self(vec![stored])
    }

    /// An event of `source`, at this millisecond, because of message `cause`.
    fn then(mut self, slot: &str, ms: i64, (source, event_type): (&str, &str), cause: u64) -> Self {
        let reason = if event_type.contains("refused") { "out-of-stock" } else { "" };
        self.push(
            slot,
            ms,
            json!({
                "specversion": "1.0", "id": format!("id-{slot}"), "type": event_type,
                "source": source, "subject": "A1", "causationid": "x", "causationseq": cause,
                "attempt": 2, "startedat": at(ms - 3).to_string(), "data": { "reason": reason },
            }),
        );
        self
    }

    fn push(&mut self, slot: &str, ms: i64, event: Value) {
        let (subject, payload) = (format!("orders.{slot}.A1"), event.to_string().into());
        let sequence = self.0.len() as u64 + 1;
        self.0.push(Stored { subject, sequence, stored_at: at(ms), headers: vec![], payload });
    }

    fn story(&self) -> Story {
        self.story_with(&[])
    }

    fn story_with(&self, parked: &[Stored]) -> Story {
        tell(&FLOW, &SagaId::parse("A1").unwrap(), &self.0, parked)
    }

    fn text(&self) -> String {
        render(&FLOW, &self.story(), at(2_000), Paint(false), None)
    }

    /// What the last line says.
    fn end(&self) -> String {
        self.text().lines().last().unwrap().replace(EARLY, "")
    }
}

const EARLY: &str = " (it is early: look again in a moment)";
const RESERVE: &str = "reserve-inventory";
const CHARGE: &str = "charge-customer";
const SHIP: &str = "ship-order";
const COMPLETE: &str = "complete-order";

fn charged() -> Log {
    Log::placed().then("inventory", 10, (RESERVE, "inventory.reserved.v1"), 1).then(
        "payment",
        20,
        (CHARGE, "payment.charged.v1"),
        2,
    )
}

fn carrier_refused() -> Log {
    charged().then("pivot", 24, (SHIP, "order.go.v1"), 3).then(
        "shipment",
        30,
        (SHIP, "shipment.refused.v1"),
        3,
    )
}

#[test]
fn a_completed_order_is_told_from_beginning_to_end() {
    let log = charged()
        .then("pivot", 24, (SHIP, "order.go.v1"), 3)
        .then("shipment", 1_230, (SHIP, "shipment.dispatched.v1"), 3)
        .then("closed", 1_240, (COMPLETE, "order.completed.v1"), 5);
    assert_eq!(log.text(), include_str!("completed.txt"));
}

#[test]
fn an_undo_is_marked_with_an_arrow_back() {
    let log = carrier_refused()
        .then("refused", 31, (SHIP, "order.refused.v1"), 3)
        .then("payment-undo", 40, (CHARGE, "payment.refunded.v1"), 6)
        .then("inventory-undo", 50, (RESERVE, "inventory.released.v1"), 7)
        .then("closed", 60, (COMPLETE, "order.cancelled.v1"), 8);
    let text = log.text();
    let marks: Vec<_> = text.lines().skip(2).map(|line| line.chars().next().unwrap()).collect();
    assert_eq!(marks, ['→', '→', '→', '→', '×', '×', '←', '←', '←', 'c'], "{text}");
    let end = "cancelled after 60 ms: ship-order refused shipment (out-of-stock); nothing is held, \
               charged or owed";
    assert_eq!(log.end(), end);
}

#[test]
fn undo_has_a_colour_of_its_own_and_none_where_colours_are_off() {
    let story = charged().then("payment-undo", 40, (CHARGE, "payment.voided.v1"), 3).story();
    let coloured = render(&FLOW, &story, at(50), Paint(true), None);
    assert!(coloured.contains("\u{1b}[35m←"), "{coloured:?}");
    assert!(coloured.starts_with(&format!("{STRONG}order A1")));
    assert!(!render(&FLOW, &story, at(50), Paint(false), None).contains('\u{1b}'));
}

#[test]
fn an_open_order_names_the_worker_whose_turn_it_is() {
    let waits = |worker: &str, slot: &str, long: &str| {
        format!("open: waits for {worker} to write {slot}, for {long} now")
    };
    assert_eq!(Log::placed().end(), waits(RESERVE, "inventory", "2.0 s"));
    assert_eq!(charged().end(), waits(SHIP, "shipment", "2.0 s"));
}

#[test]
fn a_wait_of_less_than_two_seconds_is_early() {
    let is_early = |log: &Log| log.text().lines().last().unwrap().ends_with(EARLY);
    assert!(!is_early(&Log::placed()), "two seconds");
    assert!(is_early(&charged()), "some milliseconds less");
}

#[test]
fn a_cancelling_order_names_the_next_undo() {
    let cancelling = "cancelling: ship-order refused shipment (out-of-stock); waits for";
    let log = carrier_refused();
    assert_eq!(log.end(), format!("{cancelling} ship-order to write refused, for 2.0 s now"));
    let log = log.then("refused", 31, (SHIP, "order.refused.v1"), 3);
    assert_eq!(
        log.end(),
        format!("{cancelling} charge-customer to write payment-undo, for 2.0 s now")
    );
    let log = log.then("payment-undo", 1_000, (CHARGE, "payment.refunded.v1"), 6);
    assert_eq!(
        log.end(),
        format!("{cancelling} reserve-inventory to write inventory-undo, for 1.0 s now")
    );
    let log = log.then("inventory-undo", 1_500, (RESERVE, "inventory.released.v1"), 7);
    assert_eq!(log.end(), format!("{cancelling} complete-order to write closed, for 500 ms now"));
}

#[test]
fn an_undo_begins_at_the_step_that_was_refused() {
    let log = Log::placed().then("inventory", 10, (RESERVE, "inventory.refused.v1"), 1).then(
        "refused",
        11,
        (RESERVE, "order.refused.v1"),
        1,
    );
    assert!(
        log.end().contains("waits for reserve-inventory to write inventory-undo"),
        "{}",
        log.end()
    );
}

#[test]
fn what_nobody_may_have_written_counts_for_nothing() {
    let log = Log::placed().then("inventory", 10, ("mallory", "inventory.reserved.v1"), 1);
    let text = log.text();
    assert!(text.contains("?  12:00:00.010"), "{text}");
    assert!(text.contains("inventory holds an event that does not count"), "{text}");
    assert!(log.end().starts_with("open: waits for reserve-inventory"), "{text}");
}

#[test]
fn a_parked_order_says_why() {
    let entry = json!({
        "parked_at": at(20).to_string(), "durable": RESERVE, "reason": "invalid-field",
        "pointer": "/lines/0/quantity", "message": "a quantity is at least 1", "deliveries": 1,
        "subject": "orders.placed.A1", "sequence": 1,
    });
    let parked = Stored {
        subject: "parked.orders.reserve-inventory.A1".into(),
        sequence: 1,
        stored_at: at(20),
        headers: vec![],
        payload: entry.to_string().into(),
    };
    let text = render(&FLOW, &Log::placed().story_with(&[parked]), at(2_000), Paint(false), None);
    let expected = "\
parked by reserve-inventory at 2026-01-02 12:00:00.020 UTC: invalid-field at /lines/0/quantity: a \
quantity is at least 1 (message #1, delivery 1)
set aside, and waits for a human
";
    assert!(text.ends_with(expected), "{text}");
}

fn parked(subject: &str, sequence: u64, body: Value) -> Stored {
    let payload = body.to_string().into();
    Stored { subject: subject.into(), sequence, stored_at: at(25), headers: vec![], payload }
}

#[test]
fn a_message_that_was_tried_again_is_no_longer_parked_and_the_end_comes_last() {
    let entry = json!({
        "parked_at": at(20).to_string(), "durable": CHARGE, "reason": "bad-message", "pointer": "",
        "message": "no", "deliveries": 1, "subject": "orders.inventory.A1", "sequence": 2,
    });
    let release = json!({ "verdict": "retry", "by": "ann@host", "reason": "mended" });
    let mut set_aside = vec![parked("parked.orders.charge-customer.A1", 1, entry)];
    let reserved = || Log::placed().then("inventory", 10, (RESERVE, "inventory.reserved.v1"), 1);
    let told = |log: &Log, set_aside: &[Stored]| {
        render(&FLOW, &log.story_with(set_aside), at(2_000), Paint(false), None)
    };
    let waits = told(&reserved(), &set_aside);
    assert!(waits.contains("\nparked by charge-customer"), "{waits}");
    assert!(waits.ends_with("set aside, and waits for a human\n"), "{waits}");
    set_aside.push(parked("released.orders.charge-customer.A1", 2, release));
    let comes = told(&reserved(), &set_aside);
    let by = "; released to be tried again at 12:00:00.025 by ann@host: mended";
    assert!(comes.contains(by) && comes.contains("\nopen: waits for charge-customer"), "{comes}");
    let done = charged()
        .then("pivot", 24, (SHIP, "order.go.v1"), 3)
        .then("shipment", 30, (SHIP, "shipment.dispatched.v1"), 3)
        .then("closed", 40, (COMPLETE, "order.completed.v1"), 5);
    let settled = told(&done, &set_aside);
    assert!(settled.contains("\nwas parked by charge-customer"), "{settled}");
    assert!(settled.contains("by ann@host: mended; settled since\n"), "{settled}");
    assert!(settled.ends_with("\ncompleted in 40 ms\n"), "{settled}");
}

#[test]
fn in_eighty_columns_what_happened_is_told_whole() {
    let story = carrier_refused().then("refused", 31, (SHIP, "order.refused.v1"), 3).story();
    let text = render(&FLOW, &story, at(2_000), Paint(false), Some(80));
    let table = text.lines().skip(1).take(7);
    table.for_each(|line| assert!(line.chars().count() <= 80, "{line}"));
    assert!(text.contains("shipment.refused (out-of-stock, 2nd try)"), "{text}");
}

#[test]
fn a_terminal_obeys_nothing_of_what_others_wrote() {
    let hostile = "x \u{1b}[2J\u{1b}[31m HACKED\nfake line\u{202e}";
    let mut log = Log::placed();
    log.push(
        "inventory",
        5,
        json!({
            "specversion": "1.0", "id": "id", "type": "inventory.refused.v1",
            "source": "reserve-inventory", "subject": "A1", "causationid": "x", "causationseq": 1,
            "data": { "reason": hostile },
        }),
    );
    log.push(
        "refused",
        6,
        json!({ "specversion": "1.0", "id": "y", "type": hostile,
        "source": hostile, "subject": "A1", "data": {} }),
    );
    let text = log.text();
    assert!(text.contains("HACKED"), "{text}");
    let obeyed = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
    assert!(!text.contains(obeyed) && !text.contains("\nfake line"), "{text:?}");
}
