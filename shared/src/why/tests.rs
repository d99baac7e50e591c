//! One row a stall: what was seen, and the code, the words and the remedy that follow from it.

mod ended;
mod advised;
mod occupied;
mod released;
mod retried;
mod seen;

use std::time::Duration;

use schemas::order_fulfilment::FLOW;

use super::*;
use crate::SagaId;
use crate::breaker::fleet::{Mode, Reason};
use crate::broker::{Pause, Stored};
use crate::log::story;
use seen::{TRIGGER, at, event, held, parked, paused, report, reserved, seen, turned};

fn why(events: &[Stored], set_aside: &[Stored], change: impl FnOnce(&mut Seen)) -> Why {
    let story = story::tell(&FLOW, &SagaId::parse("A1").unwrap(), events, set_aside);
    let mut seen = seen(&FLOW, &story);
    change(&mut seen);
    decide(&FLOW, &story, &seen, "quadrille")
}

fn durable(seen: &mut Seen) -> &mut DurableState {
    seen.durable.as_mut().unwrap()
}

fn delivered(seen: &mut Seen) {
    let durable = durable(seen);
    (durable.delivered, durable.pending, durable.in_hand) = (TRIGGER, 0, 1);
}

type Change = fn(&mut Seen);

/// A row of the table below.
type Row<'r> = (&'r [Stored], Option<&'r str>, Change, Code, &'r str, &'r str);

/// Events, what was set aside, what else was seen; the code, and what the sentence must say of what
/// it waits for, and of the way out.
#[test]
#[expect(clippy::too_many_lines, reason = "one row a stall")]
fn every_stall_has_its_code_and_its_way_out() {
    let (open, undo) = (reserved(), turned());
    let rows: Vec<Row<'_>> = vec![
        (
            &open,
            None,
            |seen| {
                (seen.replicas, durable(seen).pulls) = (Vec::new(), 0);
            },
            Code::NoWorker,
            "no replica answers",
            "start charge-customer",
        ),
        (
            &open,
            None,
            |seen| {
                seen.replicas = vec![report(vec![held("charge-customer", Some("503"), 0)])];
            },
            Code::Retrying,
            "attempt 3 failed: 503; the next try comes at 2026-01-02 12:01:10",
            "no other order fails at charge-customer; ask payment-gateway about this order, or \
             `quadrille cancel A1` takes it back",
        ),
        (
            &open,
            None,
            |seen| seen.services[0].key = paused(Reason::NoAnswer),
            Code::BreakerPaused,
            "payment-gateway is not working",
            "breaker show payment-gateway",
        ),
        (
            &open,
            None,
            |seen| {
                let by = "ada".to_owned();
                seen.services[0].forced =
                    Some(Override { mode: Mode::Paused, by, reason: "audit".into(), until_ms: 1 });
            },
            Code::BreakerPaused,
            "ada paused payment-gateway: audit",
            "breaker reset payment-gateway",
        ),
        (
            &open,
            None,
            |seen| seen.services[0].key = paused(Reason::Credentials),
            Code::Credentials,
            "refuses our credentials",
            "give charge-customer credentials",
        ),
        (
            &open,
            None,
            |seen| {
                durable(seen).pause =
                    Pause::On { until: at(600), remaining: Duration::from_secs(540) };
            },
            Code::ForeignPause,
            "paused by hand",
            "nats consumer resume ORDERS charge-customer",
        ),
        (
            &open,
            Some("invalid-field"),
            |_| {},
            Code::Parked,
            "set message 7 aside: invalid-field at /data/x",
            "mend the cause",
        ),
        (
            &open,
            Some("unknown-version"),
            |_| {},
            Code::UnknownVersion,
            "set message 7 aside: unknown-version",
            "knows this version",
        ),
        (
            &undo,
            None,
            |seen| {
                seen.replicas = vec![report(vec![held("charge-customer-undo", Some("422"), 9)])];
            },
            Code::UndoBlocked,
            "to take back what it did, which failed 9 times: 422",
            "must be made to accept it",
        ),
        (
            &open,
            None,
            |seen| {
                (durable(seen).delivered, durable(seen).pending) = (2, 30);
            },
            Code::ConsumerLag,
            "up to 4 messages before it",
            "more replicas of charge-customer",
        ),
        (
            &open,
            None,
            |seen| {
                delivered(seen);
                let log = seen.log.as_mut().unwrap();
                log.bytes = log.max_bytes.unwrap() - 100;
            },
            Code::LogFull,
            "the log ORDERS is full",
            "--max-bytes SIZE",
        ),
        (
            &open,
            None,
            |seen| {
                delivered(seen);
                (durable(seen).in_hand, durable(seen).settled) = (0, TRIGGER);
            },
            Code::StepNotDelivered,
            "will not deliver message 7",
            "nats consumer reset ORDERS charge-customer --sequence 7",
        ),
        (
            &open,
            None,
            |seen| seen.deadline = Some((at(-1_000), at(70))),
            Code::DeadlineNear,
            "nothing that was looked at says why",
            "at its deadline, 2026-01-02",
        ),
        (
            &open,
            None,
            |seen| seen.durable = None,
            Code::NoDurable,
            "whose durable charge-customer does not exist",
            "topology apply",
        ),
        (&open, None, delivered, Code::InHand, "to which it was delivered", "again, at 20"),
        (
            &open,
            None,
            |seen| {
                seen.replicas = vec![report(vec![held("charge-customer", None, 0)])];
            },
            Code::Held,
            "until a call is free",
            "",
        ),
    ];
    for (events, set_aside, change, code, what, way_out) in rows {
        let set_aside: Vec<_> = set_aside.map(parked).into_iter().collect();
        let why = why(events, &set_aside, change);
        assert_eq!(why.code, code, "{why:#?}");
        assert!(Code::WAITING.contains(&code), "{code:?} is one that lists are filtered by");
        assert!(why.sentence.starts_with("order A1 waits for "), "{}", why.sentence);
        assert!(why.sentence.contains(what), "{code:?}: {}", why.sentence);
        assert!(why.sentence.contains(way_out), "{code:?}: {}", why.sentence);
        // What was set aside waits since then.
        let since = match set_aside.is_empty() {
            true => ", since 2026-01-02 12:00:00 UTC (1m 0s)",
            false => " since 2026-01-02 12:00:02 UTC (58.0 s)",
        };
        assert!(why.sentence.contains(since), "{}", why.sentence);
    }
}

/// Without its evidence, each reason is no reason.
#[test]
fn nothing_is_said_without_something_that_was_seen() {
    let open = reserved();
    let plain = why(&open, &[], |_| {});
    assert_eq!(plain.code, Code::Unknown);
    assert!(plain.advice.contains("looked at: 2 events in ORDERS"), "{}", plain.advice);
    let silent = why(&open, &[], |seen| {
        seen.durable = None;
        seen.unanswered.push("the question timed out".into());
    });
    assert_eq!(silent.code, Code::Unknown, "no answer is not the answer that there is none");
    assert!(silent.looked_at.iter().any(|what| what.contains("timed out")));
    let settled = |seen: &mut Seen| {
        delivered(seen);
        (durable(seen).in_hand, durable(seen).settled) = (0, TRIGGER);
    };
    let unasked = why(&open, &[], |seen| {
        settled(seen);
        seen.slot_taken = None;
    });
    assert_eq!(unasked.code, Code::Unknown, "the leader did not say that the slot is empty");
    let unnamed = why(&open, &[], |seen| {
        settled(seen);
        seen.replicas[0].held_total = 1_001;
    });
    assert_eq!(unnamed.code, Code::Unknown, "a replica may hold it among those it did not name");
    let other = why(&open, &[], |seen| {
        let mut neighbour = held("charge-customer", Some("503"), 0);
        neighbour.sequence = 99;
        seen.replicas = vec![report(vec![neighbour])];
    });
    assert_eq!(other.code, Code::Unknown, "what failed is another order");
    let alive = why(&open, &[], |seen| seen.replicas = Vec::new());
    assert_eq!(alive.code, Code::Unknown, "a pull waits, so somebody runs");
}

#[test]
fn what_ended_or_never_began_waits_for_nothing() {
    let mut events = reserved();
    events.push(event("closed", "complete-order", "order.completed.v1", 9));
    let done = why(&events, &[], |_| {});
    assert_eq!((done.code, done.advice.as_str()), (Code::Completed, ""));
    assert_eq!(why(&[], &[], |_| {}).code, Code::NotOpened);
}

#[test]
fn a_saga_has_time_by_its_flow_until_it_passes_its_pivot_or_turns_around() {
    let time = |events: &[Stored]| {
        let saga = SagaId::parse("A1").unwrap();
        let story = crate::log::story::tell(&FLOW, &saga, events, &[]);
        super::waiting::deadline(&FLOW, &story, &awaited(&FLOW, &story).unwrap())
    };
    let mut events = reserved();
    assert_eq!(time(&events), Some((at(0), at(24 * 3_600))));
    events.push(event("payment", "charge-customer", "payment.charged.v1", 8));
    assert_eq!(time(&events), Some((at(0), at(24 * 3_600))));
    events.push(event("pivot", "ship-order", "order.go.v1", 9));
    assert_eq!(time(&events), None);
    assert_eq!(time(&turned()), None);
}

#[test]
fn what_opens_a_saga_and_no_worker_takes_is_to_be_given_up() {
    let opening = event("placed", "shop", "order.placed.v1", TRIGGER);
    let advised = |reason: &str| {
        let mut set_aside = parked(reason);
        let text = String::from_utf8(set_aside.payload.to_vec()).unwrap();
        let text = text.replace("charge-customer", "reserve-inventory");
        set_aside.payload = text.replace("orders.inventory.A1", "orders.placed.A1").into();
        why(std::slice::from_ref(&opening), &[set_aside], |_| {}).sentence
    };
    // A rule of the event's own is about its bytes, too.
    for reason in ["not-json", "invalid-field", "id-mismatch", "mixed-currencies"] {
        let sentence = advised(reason);
        assert!(sentence.contains("parked discard A1 --reason"), "{sentence}");
        assert!(sentence.contains("its id is spent"), "{sentence}");
        assert!(!sentence.contains("parked retry"), "trying it again changes nothing: {sentence}");
    }
    for reason in ["malformed-header", "attempts-used-up", "crash-loop"] {
        let sentence = advised(reason);
        assert!(sentence.contains("parked retry A1"), "{sentence}");
        assert!(sentence.contains("parked discard A1"), "it may never succeed: {sentence}");
        let mends = reason != "malformed-header";
        assert_eq!(sentence.contains("mend the cause"), mends, "{sentence}");
    }
}
