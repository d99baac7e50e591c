//! Who is called next, and how many messages are pulled.

use super::*;

#[test]
fn no_more_is_pulled_than_can_start() {
    let mut bench = flowing();
    assert_eq!(bench.room(), 8);
    bench.pull(1);
    bench.pull(2);
    assert_eq!(bench.room(), 6);
    assert_eq!(bench.start_all(), [1, 2]);
    assert_eq!(bench.room(), 6);
}

#[test]
fn a_shut_gate_has_no_room_and_starts_nothing() {
    let mut bench = flowing();
    bench.pull(1);
    bench.see(Phase::Paused, "other", Reason::NoAnswer);
    assert_eq!(bench.room(), 0);
    assert!(bench.start_all().is_empty());
}

#[test]
fn what_was_tried_has_half_of_the_slots_while_new_work_is_waiting_and_else_all() {
    let mut bench = flowing();
    bench.replica.more(0, true);
    for number in 1..=8 {
        bench.hold_tried(number);
    }
    assert_eq!(bench.start_all().len(), 4);
    bench.replica.more(0, false);
    assert_eq!(bench.start_all().len(), 4);
}

#[test]
fn new_messages_in_hand_are_new_work_too() {
    let mut bench = flowing();
    for number in 1..=8 {
        bench.hold_tried(number);
    }
    for number in 11..=18 {
        bench.pull(number);
    }
    let started = bench.start_all();
    assert_eq!(started.len(), 8);
    assert_eq!(started.iter().filter(|number| **number < 10).count(), 4);
}

#[test]
fn with_one_slot_what_was_tried_does_not_wait_for_new_work_that_others_took() {
    let mut bench = flowing();
    bench.replica.more(0, true);
    bench.limit_of(1);
    bench.hold_tried(1);
    let failed = bench.ticket().expect("its turn");
    bench.finish(failed, Class::Failed);
    bench.hold_tried(2);
    assert!(bench.start_all().is_empty(), "the next turn is new work's");
    let wakes_at = bench.replica.wakes_at(bench.now).expect("by itself");
    assert!(wakes_at <= bench.now + NEW_WORK_FIRST);
    bench.now = wakes_at;
    assert_eq!(bench.start_all(), [2]);
}

#[test]
fn with_one_slot_new_work_and_what_was_tried_take_turns() {
    let mut bench = flowing();
    bench.limit_of(1);
    for number in 1..=3 {
        bench.hold_tried(number);
        bench.pull(number + 10);
    }
    let mut order = Vec::new();
    while let Some(ticket) = bench.ticket() {
        order.push(ticket.message().is_first_try());
        bench.finish(ticket, Class::Local);
    }
    assert_eq!(order, [false, true, false, true, false, true]);
}

#[test]
fn a_held_message_takes_no_slot_and_starts_when_it_is_due() {
    let mut bench = flowing();
    let due = Duration::from_secs(5);
    let held = Message { tries: 1, due, ..Message::new(id(1), false, bench.now) };
    bench.replica.hold(held, bench.now);
    assert_eq!(bench.room(), 8);
    assert!(bench.start_all().is_empty());
    assert_eq!(bench.replica.wakes_at(bench.now), Some(due));
    bench.now = due;
    assert_eq!(bench.start_all(), [1]);
}

#[test]
fn undo_goes_first_while_there_are_few_slots_and_in_turn_when_there_are_all() {
    let mut few = flowing();
    few.limit_of(4);
    few.pull(1);
    few.wait(0.001);
    few.pull_undo(2);
    assert_eq!(few.start_all(), [2, 1]);

    let mut all = flowing();
    all.pull(1);
    all.wait(0.001);
    all.pull_undo(2);
    assert_eq!(all.start_all(), [1, 2]);
}

#[test]
fn a_doubting_replica_pulls_one_and_tries_what_was_never_tried_before_what_failed() {
    let mut bench = flowing();
    bench.doubt();
    bench.hold_tried(1);
    assert_eq!(bench.room(), 0);
    bench.wait(0.07);
    assert_eq!(bench.room(), 1);
    assert!(bench.start_all().is_empty());
    bench.pull(2);
    assert_eq!(bench.room(), 0);
    assert_eq!(bench.start_all(), [2]);
}

#[test]
fn a_doubting_replica_tries_what_failed_when_no_new_work_has_come() {
    let mut bench = flowing();
    bench.doubt();
    bench.hold_tried(1);
    bench.wait(0.06 + 0.2);
    assert_eq!(bench.start_all(), [1]);
}

#[test]
fn the_first_probe_is_in_hand_undo_first_and_the_others_were_never_tried() {
    let mut bench = flowing();
    for number in 1..=3 {
        bench.hold_tried(number);
    }
    bench.pull_undo(4);
    bench.probing();
    assert_eq!(bench.room(), 0);
    let first = bench.ticket().unwrap();
    assert_eq!(first.message().id, id(4));
    bench.finish(first, Class::Failed);
    assert_eq!(bench.room(), 1);
    assert!(bench.start_all().is_empty());
    bench.pull(5);
    assert_eq!(bench.start_all(), [5]);
}

#[test]
fn other_held_messages_are_probes_when_no_new_work_has_come_each_at_most_once() {
    let mut bench = flowing();
    bench.hold_tried(1);
    bench.hold_tried(2);
    bench.probing();
    let first = bench.ticket().unwrap();
    let verdict = bench.finish(first, Class::Failed);
    let Verdict::Hold(held) = verdict else { panic!("{verdict:?}") };
    bench.replica.hold(held, bench.now);
    bench.wait(0.2);
    let second = bench.ticket().unwrap();
    assert_eq!(second.message().id, id(2));
    bench.finish(second, Class::Busy(None));
    bench.wait(1.0);
    assert!(bench.start_all().is_empty());
    // One failed, none was answered, none is left.
    assert_eq!(writes(&mut bench).last(), Some(&Phase::Paused));
}

#[test]
fn a_prober_with_nothing_held_and_nothing_to_pull_says_so_after_a_second() {
    let mut bench = flowing();
    bench.probing();
    assert!(bench.start_all().is_empty());
    bench.wait(0.9);
    assert!(bench.start_all().is_empty());
    assert_eq!(writes(&mut bench), [], "a slow broker may still bring one");
    bench.wait(0.1);
    assert!(bench.start_all().is_empty());
    // Another replica may hold what it cannot find.
    assert_eq!(writes(&mut bench), [Phase::Paused]);
}

#[test]
fn one_message_that_always_fails_cannot_keep_a_dependency_paused() {
    let mut bench = flowing();
    let mut poison = Message { tries: 3, ..Message::new(id(1), false, bench.now) };
    bench.probing();
    for number in 10..20 {
        bench.replica.hold(poison, bench.now);
        bench.pull(number);
        let Some(ticket) = bench.ticket() else { break };
        let is_poison = ticket.message().id == id(1);
        let class = if is_poison { Class::NotSent } else { Class::Answered };
        if let Verdict::Hold(held) = bench.finish(ticket, class) {
            poison = held;
        }
    }
    assert_eq!(writes(&mut bench), [Phase::Flowing]);
}

#[test]
fn what_decided_nothing_is_probed_after_what_may_decide_though_it_is_an_undo() {
    let mut bench = flowing();
    bench.pull_undo(1);
    let undo = bench.ticket().unwrap();
    bench.replica.machine.shut();
    let Verdict::Hold(bad) = bench.finish(undo, Class::Bad) else { panic!("it is held") };
    bench.replica.hold(bad, bench.now);
    bench.hold_tried(2);
    bench.probing();
    assert_eq!(bench.ticket().unwrap().message().id, id(2));
}

/// A doubting replica with a message in hand from before its doubt; there are more.
fn looks_ahead() -> Bench {
    let mut bench = flowing();
    bench.replica.looks_ahead();
    bench.replica.more(0, true);
    bench.doubt();
    bench.pull(1);
    bench.wait(0.06);
    bench
}

impl Bench {
    fn ahead(&mut self, number: u64) -> Option<Ticket> {
        self.replica.try_ahead(Message::new(id(number), false, self.now), self.now)
    }
}

#[test]
fn a_single_call_is_of_a_message_ahead_of_its_turn_and_what_is_in_hand_waits_for_it() {
    let mut bench = looks_ahead();
    assert!(bench.replica.wants_ahead(bench.now));
    assert!(bench.start_all().is_empty());
    let ticket = bench.ahead(9).expect("it is wanted");
    assert!(!bench.replica.wants_ahead(bench.now), "one at a time");
    bench.finish(ticket, Class::Answered);
    assert!(bench.ahead(10).is_none(), "the doubt is over");
    assert_eq!(bench.start_all(), [1]);
}

#[test]
fn every_third_single_call_is_by_turn() {
    let mut bench = looks_ahead();
    for number in 8..10 {
        let failed = bench.ahead(number).expect("it is wanted");
        bench.finish(failed, Class::Failed);
        bench.wait(1.0);
    }
    assert!(bench.ahead(10).is_none(), "now it is the turn of what is in hand");
    let failed = bench.ticket().expect("at once");
    assert_eq!(failed.message().id, id(1));
    bench.finish(failed, Class::Failed);
    bench.wait(1.0);
    assert!(bench.ahead(10).is_some());
}

/// It may be its own fault, and would pause the fleet.
#[test]
fn no_message_is_called_twice_ahead_of_its_turn() {
    let mut bench = looks_ahead();
    let failed = bench.ahead(9).expect("it is wanted");
    bench.finish(failed, Class::Failed);
    bench.wait(1.0);
    assert!(bench.ahead(9).is_none());
    assert!(bench.ahead(8).is_some());
}

#[test]
fn an_undo_in_hand_goes_before_a_message_ahead_of_its_turn() {
    let mut bench = looks_ahead();
    bench.pull_undo(2);
    assert!(!bench.replica.wants_ahead(bench.now));
    assert_eq!(bench.start_all(), [2]);
}

#[test]
fn what_is_in_hand_does_not_wait_long_for_a_message_ahead_of_its_turn() {
    let mut bench = looks_ahead();
    let wakes_at = bench.replica.wakes_at(bench.now).expect("by itself");
    assert!(wakes_at <= bench.now + NEW_WORK_FIRST);
    bench.now = wakes_at;
    assert_eq!(bench.start_all(), [1]);
}

#[test]
fn what_is_in_hand_waits_for_no_other_message_when_there_are_no_more() {
    let mut bench = looks_ahead();
    bench.replica.more(0, false);
    assert_eq!(bench.start_all(), [1]);
}

#[test]
fn all_probes_but_the_first_are_of_messages_ahead_of_their_turn() {
    let mut bench = looks_ahead();
    bench.probing();
    assert!(bench.ahead(9).is_none(), "the first probe is of what is in hand");
    let failed = bench.ticket().expect("the first probe");
    bench.finish(failed, Class::Failed);
    assert!(bench.ahead(1).is_none(), "it had its turn");
    for number in 8..10 {
        let answered = bench.ahead(number).expect("it is wanted");
        bench.finish(answered, Class::Answered);
    }
    assert_eq!(writes(&mut bench).last(), Some(&Phase::Flowing));
}
