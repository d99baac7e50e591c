//! What is held, given back and parked.

use super::*;

#[test]
fn nothing_is_called_before_its_retry_after_whatever_the_state() {
    let make = |bench: &mut Bench| {
        let not_before = bench.now + Duration::from_secs(60);
        let message = Message::new(id(1), false, bench.now);
        let message = Message { tries: 1, due: not_before, not_before, ..message };
        bench.replica.hold(message, bench.now);
    };
    let mut flows = flowing();
    make(&mut flows);
    let mut doubts = flowing();
    doubts.doubt();
    make(&mut doubts);
    let mut probes = flowing();
    make(&mut probes);
    probes.probing();
    for mut bench in [flows, doubts, probes] {
        bench.wait(30.0);
        assert!(bench.start_all().is_empty());
    }
}

#[test]
fn a_sick_replica_gives_back_all_that_it_holds() {
    let mut bench = flowing();
    bench.doubt();
    bench.hold_tried(1);
    bench.pull(2);
    bench.see(Phase::Flowing, "me", Reason::Contradicted);
    for expected in [1, 2] {
        match bench.next() {
            Some(Next::GiveBack { message, delay, charged: 0 }) => {
                assert_eq!((message.id, delay), (id(expected), Duration::ZERO));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(bench.next().is_none());
}

#[test]
fn beyond_the_holds_the_one_due_last_goes_back_with_its_delay_and_what_was_charged() {
    let mut bench = flowing_with(Settings { holds: 2, ..Settings::default() });
    bench.replica.remember(id(2), 3);
    for (number, due) in [(1, 10), (2, 30), (3, 20)] {
        let due = Duration::from_secs(due);
        let message = Message { tries: 1, due, ..Message::new(id(number), false, bench.now) };
        bench.replica.hold(message, bench.now);
    }
    match bench.next() {
        Some(Next::GiveBack { message, delay, charged: 3 }) => {
            assert_eq!((message.id, delay), (id(2), Duration::from_secs(30)));
        }
        other => panic!("{other:?}"),
    }
    assert!(bench.next().is_none());
}

#[test]
fn what_was_just_pulled_is_not_what_goes_back() {
    let mut bench = flowing_with(Settings { holds: 2, ..Settings::default() });
    bench.hold_tried(1);
    bench.hold_tried(2);
    bench.wait(100.0);
    bench.pull(3);
    match bench.next() {
        Some(Next::GiveBack { message, delay, .. }) => {
            assert!(
                message.id != id(3) && delay >= Duration::from_secs(1),
                "{message:?} {delay:?}"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_message_that_used_up_its_attempts_is_parked_and_an_undo_is_not() {
    let mut bench = flowing();
    let undo = id(2);
    bench.replica.remember(id(1), 8);
    bench.replica.remember(undo, 8);
    bench.hold_tried(1);
    let message = Message { tries: 9, ..Message::new(undo, true, bench.now) };
    bench.replica.hold(message, bench.now);
    assert!(matches!(bench.next(), Some(Next::Park(message)) if message.id == id(1)));
    assert_eq!(bench.start_all(), [2]);
}

#[test]
fn a_released_message_is_never_started() {
    let mut bench = flowing();
    bench.pull(1);
    bench.replica.release(id(1));
    assert!(bench.start_all().is_empty());
}

#[test]
fn only_whose_turn_it_is_starts_by_itself() {
    let mut bench = flowing();
    bench.limit_of(1);
    bench.pull_undo(1);
    let forward = Message::new(id(2), false, bench.now);
    assert!(bench.replica.try_start(forward, bench.now).is_none());
    bench.replica.release(id(1));
    let ticket = bench.replica.try_start(forward, bench.now).unwrap();
    bench.finish(ticket, Class::Answered);
}
