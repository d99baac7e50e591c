//! The rule of undo against every log there can be, on a flow of two steps that can be undone, one
//! that cannot, and a closing step. The flow is the test's own, so that the real flow may get more
//! steps without changing this test.

use crate::flow::{opens, step};

use super::*;

static FLOW: Flow = Flow {
    saga: "order",
    stream: "ORDERS",
    subjects: "orders",
    opens: opens("placed", "order.placed.v1"),
    turns: opens("refused", "order.refused.v1"),
    steps: &[
        step("reserve-inventory")
            .on("placed")
            .writes("inventory", "inventory.reserved.v1", "inventory.refused.v1")
            .undone_by("inventory-undo", &["inventory.released.v1"]),
        step("charge-customer")
            .on("inventory")
            .writes("payment", "payment.charged.v1", "payment.refused.v1")
            .undone_by("payment-undo", &["payment.refunded.v1"]),
        step("ship-order")
            .on("payment")
            .after_pivot("pivot", "order.go.v1", "order.stop.v1")
            .writes("shipment", "shipment.dispatched.v1", "shipment.refused.v1"),
        step("complete-order").on("shipment").closes(
            "closed",
            "order.completed.v1",
            "order.cancelled.v1",
        ),
    ],
};

/// A slot as the log may hold it; `E` for empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    E,
    Done,
    Refused,
    Alien,
}
use Slot::{Alien, Done, E, Refused};

fn entry(slot: Slot, sequence: u64) -> Option<Entry> {
    let record = Record {
        event_type: String::new(),
        source: String::new(),
        reason: String::new(),
        sequence,
        stored_at: jiff::Timestamp::UNIX_EPOCH,
        data: "{}".into(),
    };
    match slot {
        E => None,
        Done => Some(Entry::Done(record)),
        Refused => Some(Entry::Refused(record)),
        Alien => Some(Entry::Alien),
    }
}

struct Log {
    inventory: Slot,
    payment: Slot,
    pivot: Slot,
    shipment: Slot,
    closed: Slot,
    payment_undo: Slot,
    inventory_undo: Slot,
}

const NOTHING: Log = Log {
    inventory: E,
    payment: E,
    pivot: E,
    shipment: E,
    closed: E,
    payment_undo: E,
    inventory_undo: E,
};

fn view(log: &Log) -> View {
    let Log { inventory, payment, pivot, shipment, closed, .. } = *log;
    let decided = [inventory, payment, shipment, closed];
    View {
        decisions: decided.into_iter().zip(1..).map(|(slot, at)| entry(slot, at)).collect(),
        undone: vec![entry(log.inventory_undo, 11), entry(log.payment_undo, 12), None, None],
        pivot: entry(pivot, 21),
        is_opened: true,
        trigger: None,
    }
}

fn verdict(worker: &str, log: &Log) -> &'static str {
    let step = FLOW.row(worker).expect("a row");
    match view(log).verdict(&FLOW, step) {
        Verdict::UndoRecorded(_) => "recorded",
        Verdict::UndoUnknown => "unknown",
        Verdict::Settled(why, _) => why,
        Verdict::LookAgain => "again",
        Verdict::Blocked => "blocked",
    }
}

#[test]
fn the_last_undoable_step_waits_for_a_stop_or_a_refusal_after_it() {
    let charged = Log { inventory: Done, payment: Done, ..NOTHING };
    let undo = |log| verdict("charge-customer", &log);
    assert_eq!(undo(Log { ..charged }), "again");
    assert_eq!(undo(Log { pivot: Done, ..charged }), "again");
    assert_eq!(undo(Log { pivot: Refused, ..charged }), "recorded");
    assert_eq!(undo(Log { pivot: Done, shipment: Refused, ..charged }), "recorded");
    assert_eq!(undo(Log { shipment: Alien, ..charged }), "again");
    assert_eq!(undo(Log { payment: Refused, ..charged }), "unknown");
    assert_eq!(undo(Log { pivot: Refused, payment_undo: Done, ..charged }), "undone");
    assert_eq!(undo(Log { pivot: Refused, payment_undo: Alien, ..charged }), "recorded");
    assert_eq!(undo(Log { inventory: Refused, ..NOTHING }), "an earlier step was refused");
    assert_eq!(undo(Log { payment: Alien, pivot: Refused, ..charged }), "blocked");
    assert_eq!(undo(Log { closed: Done, ..charged }), "closed");
    assert_eq!(undo(NOTHING), "again");
}

#[test]
fn an_earlier_step_waits_until_the_later_one_is_undone() {
    let charged = Log { inventory: Done, payment: Done, ..NOTHING };
    let undo = |log| verdict("reserve-inventory", &log);
    let later = "a later step undoes first";
    assert_eq!(undo(Log { ..charged }), "again");
    assert_eq!(undo(Log { pivot: Refused, ..charged }), later);
    assert_eq!(undo(Log { pivot: Refused, payment_undo: Done, ..charged }), "recorded");
    assert_eq!(undo(Log { payment: Refused, ..charged }), later);
    let refused = Log { inventory: Done, payment: Refused, ..NOTHING };
    assert_eq!(undo(Log { payment_undo: Done, ..refused }), "recorded");
    assert_eq!(undo(Log { payment_undo: Alien, ..refused }), later);
    assert_eq!(undo(Log { inventory: Refused, ..NOTHING }), "unknown");
    assert_eq!(undo(Log { inventory: Refused, inventory_undo: Done, ..NOTHING }), "undone");
}

/// A replica that lags shows the stop and not yet the undo that wakes, for the last time.
#[test]
fn the_message_that_wakes_an_undo_is_seen_though_a_replica_lags() {
    let saga = SagaId::parse("A1").unwrap();
    let stored = |slot: &'static str, source: &str, event_type: &str, sequence| {
        let id = crate::ids::event_id(FLOW.saga, &saga, slot, event_type, source);
        let event = serde_json::json!({
            "specversion": "1.0", "id": id, "type": event_type, "source": source, "subject": saga,
            "time": "2026-01-02T12:00:00Z", "datacontenttype": "application/json",
            "causationid": id, "causationseq": 1, "data": {},
        });
        let subject = FLOW.slot(slot, &saga).subject().to_owned();
        let payload = event.to_string().into();
        let stored_at = jiff::Timestamp::UNIX_EPOCH;
        (slot, Stored { subject, sequence, stored_at, headers: Vec::new(), payload })
    };
    let seen = [
        stored("inventory", "reserve-inventory", "inventory.reserved.v1", 2),
        stored("payment", "charge-customer", "payment.charged.v1", 3),
        stored("pivot", "complete-order", "order.stop.v1", 4),
    ];
    let (_, waking) = stored("payment-undo", "charge-customer", "payment.refunded.v1", 6);
    let row = FLOW.row("reserve-inventory").expect("a row");
    let view = View::of(&FLOW, row, &saga, seen.into(), &waking);
    let verdict = view.verdict(&FLOW, row);
    assert!(matches!(verdict, Verdict::UndoRecorded(_)), "{verdict:?}");
}

/// A client that writes the first step's undo slot cancels no order that goes well.
#[test]
fn a_stray_undo_slot_alone_cancels_nothing() {
    let all_undone = |log: Log| view(&log).all_undone(&FLOW);
    let stray = Log { inventory: Done, payment: Done, inventory_undo: Done, ..NOTHING };
    assert!(!all_undone(Log { ..stray }));
    assert!(!all_undone(Log { pivot: Done, ..stray }));
    assert!(!all_undone(Log { payment_undo: Done, ..stray }));
    assert!(all_undone(Log { pivot: Refused, ..stray }));
    assert!(all_undone(Log { payment: Refused, ..stray }));
    assert!(all_undone(Log { pivot: Done, shipment: Refused, ..stray }));
    assert!(all_undone(Log { inventory: Refused, inventory_undo: Done, ..NOTHING }));
    assert!(!all_undone(Log { pivot: Refused, inventory_undo: Alien, ..stray }));
}

/// Whichever slots a read misses (empty or alien instead of what is there), no undo starts that
/// would not start on the full log.
#[test]
fn a_stale_read_never_starts_an_undo() {
    let slots = [E, Done, Refused, Alien];
    for code in 0..4_usize.pow(7) {
        let at = |digit: u32| slots[code / 4_usize.pow(digit) % 4];
        let seen = Log {
            inventory: at(0),
            payment: at(1),
            pivot: at(2),
            shipment: at(3),
            closed: at(4),
            payment_undo: at(5),
            inventory_undo: at(6),
        };
        let turned = seen.pivot == Refused || seen.shipment == Refused;
        let payment = verdict("charge-customer", &seen);
        let inventory = verdict("reserve-inventory", &seen);
        assert_eq!(payment == "unknown", seen.payment == Refused && seen.payment_undo != Done);
        if payment == "recorded" {
            assert!(seen.payment == Done && turned && seen.payment_undo != Done);
        }
        if inventory == "recorded" {
            assert!(seen.inventory == Done && seen.payment_undo == Done);
        }
        if inventory == "unknown" {
            assert!(seen.inventory == Refused && seen.inventory_undo != Done);
        }
    }
}
