//! What is told of a saga that is tried again and again: perhaps for ever, so a person must know
//! whether it is alone with that, and what ends it.

use super::seen::{at, breaker, held, report, reserved, seen, turned};
use super::why;
use crate::breaker::fleet::Phase;
use crate::broker::Stored;
use crate::flow::Row;
use crate::log::story;
use crate::why::{Seen, decide};
use crate::worker::held::{Breaker, Held};
use crate::{Flow, SagaId};
use schemas::order_fulfilment::FLOW;

/// The sentence of a saga whose replica holds it and some others that fail.
fn said(events: &[Stored], durable: &str, others: u64, change: impl FnOnce(&mut Seen)) -> String {
    why(events, &[], |seen| {
        let other = |at| Held { sequence: at, ..held(durable, Some("503"), 0) };
        let others = (0..others).map(|at| other(100 + at));
        let mut report = report(others.chain([held(durable, Some("429"), 0)]).collect());
        report.breakers = vec![breaker(None)];
        seen.replicas = vec![report];
        change(seen);
    })
    .sentence
}

#[test]
fn what_is_tried_again_says_how_others_fare_and_what_ends_it() {
    let alone = said(&reserved(), "charge-customer", 0, |_| {});
    let (no_other, cancel) = ("no other order fails at charge-customer", "`quadrille cancel A1`");
    for part in [no_other, "payment-gateway counts as working", "until it is answered;", cancel] {
        assert!(alone.contains(part), "{alone}");
    }
    let many = said(&reserved(), "charge-customer", 2, |seen| {
        seen.replicas[0].breakers = vec![breaker(Some(at(30)))];
    });
    let since = "payment-gateway gives charge-customer-1 no answers since 2026-01-02 12:00:30 UTC;";
    assert!(many.contains("2 others fail at charge-customer, too") && many.contains(since));
    let undo = said(&turned(), "charge-customer-undo", 0, |_| {});
    assert!(!undo.contains("quadrille cancel") && undo.contains("nothing else ends it."), "{undo}");
}

#[test]
fn what_counts_against_a_message_is_told() {
    let none = said(&reserved(), "charge-customer", 0, |_| {});
    assert!(none.contains("no failure counts against it so far"), "{none}");
    let some = said(&reserved(), "charge-customer", 0, |seen| {
        seen.replicas[0].held[0].charged = 3;
    });
    assert!(some.contains("3 of its failures count, and after 8, unless"), "{some}");
    assert!(!some.contains("until it is answered"), "it is set aside before that: {some}");
    let undo = said(&turned(), "charge-customer-undo", 0, |seen| {
        seen.replicas[0].held[0].charged = 7;
    });
    assert!(undo.contains("it is tried more slowly; it is never given up"), "{undo}");
    assert!(!undo.contains("waits for a human"), "an undo is never set aside: {undo}");
}

#[test]
fn what_is_tried_again_says_when_its_deadline_ends_it() {
    let until = "2026-01-03 12:00:00 UTC";
    let timed = |seen: &mut Seen| seen.deadline = Some((at(0), at(24 * 3_600)));
    // The table's value, which neither the settings nor a service that is away need follow.
    let named = format!(
        "; its deadline is {until}, or later while a service is away, unless `[deadline]` of \
         complete-order is set otherwise; "
    );
    for charged in [0, 2] {
        let waits = said(&reserved(), "charge-customer", 0, |seen| {
            seen.replicas[0].held[0].charged = charged;
            timed(seen);
        });
        assert!(waits.contains(&named), "{waits}");
    }
    // Where nobody may cancel it, the deadline is all that is left.
    let rows = FLOW.steps.iter().map(|row| Row { cancels: None, ..*row }).collect::<Vec<_>>();
    let flow = Flow { steps: rows.leak(), ..FLOW };
    let story = story::tell(&flow, &SagaId::parse("A1").unwrap(), &reserved(), &[]);
    let mut seen = seen(&flow, &story);
    seen.replicas = vec![report(vec![held("charge-customer", Some("429"), 0)])];
    timed(&mut seen);
    let why = decide(&flow, &story, &seen, "quadrille");
    assert!(why.sentence.contains(&named), "{}", why.sentence);
    assert!(
        why.sentence.ends_with("nothing else ends it before its deadline."),
        "{}",
        why.sentence
    );
    // What counts against a message sets it aside in the end.
    seen.replicas = vec![report(vec![held("charge-customer", Some("500"), 2)])];
    let why = decide(&flow, &story, &seen, "quadrille");
    assert!(!why.sentence.contains("nothing else ends it"), "{}", why.sentence);
}

#[test]
fn that_no_other_fails_is_said_only_if_all_are_named() {
    let blind: [fn(&mut Seen); 4] = [
        |seen| seen.replicas[0].held_total = 1_001,
        |seen| seen.unanswered.push("the question timed out".into()),
        // Two messages are in hand, and the replica that has the other one does not answer.
        |seen| seen.durable.as_mut().unwrap().in_hand = 2,
        |seen| seen.durable = None,
    ];
    for change in blind {
        let none = said(&reserved(), "charge-customer", 0, change);
        assert!(none.contains("no other order is known to fail at charge-customer"), "{none}");
        assert!(none.contains("as far as its replicas say"), "{none}");
    }
    let some = said(&reserved(), "charge-customer", 2, blind[0]);
    assert!(some.contains("at least 2 others fail at charge-customer, too"), "{some}");
    // Another durable's message may have the same number.
    let same = said(&reserved(), "charge-customer", 0, |seen| {
        seen.replicas[0].held.push(held("charge-customer-undo", Some("503"), 0));
        seen.replicas[0].held_total += 1;
    });
    assert!(same.contains("another order fails at charge-customer, too"), "{same}");
}

#[test]
fn each_service_counts_as_working_only_where_its_gate_is_open_and_it_flows() {
    let services = |change: fn(&mut Seen)| {
        said(&reserved(), "charge-customer", 0, |seen| {
            let mut second = breaker(None);
            second.dependency = "quote-service".into();
            seen.replicas[0].breakers.push(second);
            change(seen);
        })
    };
    let both = services(|_| {});
    for part in ["payment-gateway counts as working", "quote-service counts as working"] {
        assert!(both.contains(part), "{both}");
    }
    let shut = services(|seen| seen.replicas[0].breakers[1].gate_open = false);
    let one = "payment-gateway counts as working, and quote-service does not count as working at \
               charge-customer-1: shut";
    assert!(shut.contains(one), "{shut}");
    let probing = services(|seen| seen.replicas[0].breakers[0].phase = Phase::Probing);
    let one = "payment-gateway does not count as working at charge-customer-1: probing";
    assert!(probing.contains(one), "{probing}");
}

#[test]
fn a_service_that_one_replica_cannot_reach_is_not_said_to_be_away() {
    let of_two = |second: fn(&mut Breaker)| {
        said(&reserved(), "charge-customer", 0, |seen| {
            let mut other = seen.replicas[0].clone();
            (other.instance, other.held, other.held_total) = ("second".into(), Vec::new(), 0);
            second(&mut other.breakers[0]);
            seen.replicas.push(other);
        })
    };
    let cut_off = of_two(|one| (one.doubting_since, one.cut_off) = (Some(at(30)), true));
    let only_it = "and payment-gateway gives second no answers since 2026-01-02 12:00:30 UTC, and \
                   others are answered;";
    assert!(cut_off.contains(only_it), "{cut_off}");
    // Where several say the same, it is none's alone, and began with the first.
    let both = said(&reserved(), "charge-customer", 0, |seen| {
        let mut other = seen.replicas[0].clone();
        (other.instance, other.held, other.held_total) = ("second".into(), Vec::new(), 0);
        seen.replicas[0].breakers[0].doubting_since = Some(at(30));
        other.breakers[0].doubting_since = Some(at(20));
        seen.replicas.push(other);
    });
    let since = "payment-gateway gives 2 replicas no answers since 2026-01-02 12:00:20 UTC;";
    assert!(both.contains(since), "{both}");
    // What is worst is said.
    let shut = of_two(|one| one.gate_open = false);
    assert!(shut.contains("payment-gateway does not count as working at second: shut"), "{shut}");
}
