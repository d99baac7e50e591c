//! Fixed messages of the log, and what their story must say; how it looks is tested where it is
//! shown.

use jiff::SignedDuration;
use schemas::order_fulfilment::FLOW;
use serde_json::json;

use super::*;

/// A log of one saga, `A1`; an event's number is its sequence.
struct Messages(Vec<Stored>);

/// Who writes what into a slot.
type Written = (&'static str, &'static str, &'static str);

const RESERVED: Written = ("inventory", "reserve-inventory", "inventory.reserved.v1");
const CHARGED: Written = ("payment", "charge-customer", "payment.charged.v1");
const GO: Written = ("pivot", "ship-order", "order.go.v1");
const NO_PARCEL: Written = ("shipment", "ship-order", "shipment.refused.v1");
const TURNED: Written = ("refused", "ship-order", "order.refused.v1");

fn at(milliseconds: i64) -> Timestamp {
    let noon: Timestamp = "2026-01-02T12:00:00Z".parse().unwrap();
    noon.checked_add(SignedDuration::from_millis(milliseconds)).unwrap()
}

fn stored(subject: String, sequence: u64, ms: i64, payload: serde_json::Value) -> Stored {
    let payload = payload.to_string().into();
    Stored { subject, sequence, stored_at: at(ms), headers: vec![], payload }
}

impl Messages {
    fn placed() -> Self {
        let order = json!({ "customer": "cus_1" });
        Self(vec![stored("orders.placed.A1".into(), 1, 0, order)])
    }

    /// An event at this millisecond, because of message `cause`; it says that it began 3 ms before.
    fn then(mut self, (slot, source, event_type): Written, ms: i64, cause: u64) -> Self {
        let reason = if event_type.contains("refused") { "out-of-stock" } else { "" };
        let event = json!({
            "specversion": "1.0", "id": format!("id-{slot}"), "type": event_type,
            "source": source, "subject": "A1", "causationid": "x", "causationseq": cause,
            "attempt": 2, "startedat": at(ms - 3).to_string(), "data": { "reason": reason },
        });
        let sequence = self.0.len() as u64 + 1;
        self.0.push(stored(format!("orders.{slot}.A1"), sequence, ms, event));
        self
    }

    fn story(&self) -> Story {
        self.story_with(&[])
    }

    fn story_with(&self, parked: &[Stored]) -> Story {
        tell(&FLOW, &SagaId::parse("A1").unwrap(), &self.0, parked)
    }
}

fn carrier_refused() -> Messages {
    let charged = Messages::placed().then(RESERVED, 10, 1).then(CHARGED, 20, 2);
    charged.then(GO, 24, 3).then(NO_PARCEL, 30, 3)
}

#[test]
fn an_open_saga_waits_for_the_first_step_without_a_decision() {
    let story = Messages::placed().then(RESERVED, 10, 1).story();
    let waits = Waits { worker: "charge-customer".into(), slot: "payment".into(), since: at(10) };
    let state = State { phase: Phase::Open, waits_for: Some(waits), turned_by: None };
    assert_eq!((story.state, story.took_ms), (state, Some(10.0)));
}

#[test]
fn a_cancelling_saga_waits_for_the_signal_and_then_for_the_last_undo() {
    let turn =
        Turn { slot: "shipment".into(), by: "ship-order".into(), reason: "out-of-stock".into() };
    let unsignalled = carrier_refused().story().state;
    assert_eq!((unsignalled.phase, unsignalled.turned_by), (Phase::Cancelling, Some(turn)));
    assert_eq!(unsignalled.waits_for.unwrap().slot, "refused");
    let signalled = carrier_refused().then(TURNED, 31, 3).story().state;
    assert_eq!(signalled.waits_for.unwrap().slot, "payment-undo");
}

#[test]
fn an_event_of_a_stranger_decides_nothing() {
    let (slot, _, event_type) = RESERVED;
    let story = Messages::placed().then((slot, "mallory", event_type), 10, 1).story();
    assert_eq!((story.events[1].kind, story.state.phase), (Kind::Alien, Phase::Open));
    assert_eq!(story.state.waits_for.unwrap().worker, "reserve-inventory");
}

#[test]
fn what_lies_before_the_opening_or_in_its_last_slot_counts_no_time() {
    let junk =
        |slot: &str, sequence, ms| stored(format!("orders.{slot}.A1"), sequence, ms, "".into());
    let mut messages = Messages::placed();
    messages.0[0].sequence = 2;
    messages.0.insert(0, junk("closed", 1, -114));
    let story = messages.then(RESERVED, 10, 2).story();
    let since: Vec<_> = story.events.iter().map(|line| line.since_opened_ms).collect();
    assert_eq!((since, story.took_ms), (vec![None, Some(0.0), Some(10.0)], Some(10.0)));
}

#[test]
fn what_the_waiting_worker_set_aside_makes_a_saga_parked() {
    let entry = |sequence| {
        let entry = json!({
            "parked_at": at(20).to_string(), "durable": "reserve-inventory", "reason": "not-json",
            "pointer": "", "message": "", "deliveries": 1, "subject": "orders.placed.A1",
            "sequence": sequence,
        });
        [stored("parked.orders.reserve-inventory.A1".into(), 7, 20, entry)]
    };
    assert_eq!(Messages::placed().story_with(&entry(1)).state.phase, Phase::Parked);
    let of_another_log = Messages::placed().story_with(&entry(2));
    assert_eq!((of_another_log.state.phase, of_another_log.parked.len()), (Phase::Open, 1));
}

#[test]
fn a_saga_that_was_never_opened_is_unknown() {
    assert_eq!(Messages(Vec::new()).story().state.phase, Phase::Unknown);
}

#[test]
fn wait_and_work_add_up_even_if_a_clock_is_off() {
    // It claims to have begun 3 ms before it ended, which was 1 ms after its cause.
    let story = Messages::placed().then(RESERVED, 1, 1).story();
    assert_eq!((story.events[1].wait_ms, story.events[1].work_ms), (Some(0.0), Some(1.0)));
}

/// As a worker's clock mostly is: it runs ahead of the broker's.
#[test]
fn work_is_at_least_as_long_as_the_worker_says_by_one_clock() {
    let marks = |started, time| Marks {
        startedat: Some(at(started)),
        time: Some(at(time)),
        ..Marks::default()
    };
    let began = |marks: Marks| marks.began(Some(at(0)), at(10));
    assert_eq!(began(marks(12, 16)), Some(at(6)), "it began behind what was stored at 10");
    assert_eq!(began(marks(9, 16)), Some(at(3)));
    assert_eq!(began(marks(5, 6)), Some(at(5)), "its own time is the longer one");
    assert_eq!(began(marks(12, 50)), Some(at(0)), "not before its cause");
    assert_eq!(began(marks(16, 12)), Some(at(10)), "a clock that was set back says nothing");
}

#[test]
fn json_says_the_same() {
    let seen = serde_json::to_value(carrier_refused().story()).unwrap();
    assert_eq!(seen["state"], "cancelling");
    let turn = json!({ "slot": "shipment", "by": "ship-order", "reason": "out-of-stock" });
    assert_eq!(seen["turned_by"], turn);
    assert_eq!(seen["waits_for"]["slot"], "refused");
    assert_eq!(seen["events"][4]["kind"], "refusal");
    assert_eq!(seen["events"][4]["cause"], json!({ "sequence": 3, "slot": "payment" }));
}

#[test]
fn an_id_whose_opening_is_gone_is_spent_whether_it_had_ended_or_not() {
    let shipped = ("shipment", "ship-order", "shipment.dispatched.v1");
    let closed = |event_type| ("closed", "complete-order", event_type);
    let charged = Messages::placed().then(RESERVED, 10, 1).then(CHARGED, 20, 2);
    let completed = charged.then(GO, 24, 3).then(shipped, 30, 3);
    let completed = completed.then(closed("order.completed.v1"), 40, 5);
    let cancelled = carrier_refused().then(TURNED, 31, 5);
    let cancelled = cancelled.then(closed("order.cancelled.v1"), 40, 6);
    for (mut messages, phase) in [
        (completed, Phase::Completed),
        (cancelled, Phase::Cancelled),
        (carrier_refused(), Phase::Cancelling),
    ] {
        let whole = messages.story();
        assert_eq!((whole.state.phase, whole.occupied(&FLOW)), (phase, None));
        messages.0.remove(0);
        let spent = messages.story().occupied(&FLOW).expect("it is spent");
        assert_eq!((spent.kind, spent.is_opened()), (Obstacle::Leftover, false));
        let left = "though there is no opening of it in the log; take another id";
        assert!(spent.what().contains(left), "{}", spent.what());
    }
}

#[test]
fn a_slot_that_its_writer_may_not_write_is_foreign_whatever_the_version() {
    let closing = |slot| (slot, "complete-order", "of.a.newer.version.v2");
    for (slot, may) in [
        ("inventory", true),
        ("payment", true),
        ("pivot", true),
        ("closed", true),
        ("shipment", false),
        ("payment-undo", false),
        ("inventory-undo", false),
    ] {
        let story = Messages::placed().then(closing(slot), 10, 1).story();
        assert_eq!(story.events[1].is_foreign(&FLOW), !may, "{slot}");
    }
}
