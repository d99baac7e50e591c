//! Which failures count against a message, and what probes decide.

use super::*;

#[test]
fn a_failure_is_charged_once_a_later_call_was_answered() {
    let mut bench = flowing();
    bench.answer(100..120);
    let early = bench.machine.start(message(200), bench.now);
    bench.wait(1.0);
    bench.fail([1], Class::Failed);
    assert_eq!(bench.machine.attempts(message(1).id), 0);
    bench.wait(1.0);
    bench.machine.finish(early, Class::Answered, bench.now);
    assert_eq!(bench.machine.attempts(message(1).id), 0, "its call began before");
    bench.answer([201]);
    assert_eq!(bench.machine.attempts(message(1).id), 1);
}

#[test]
fn a_failure_is_not_charged_when_the_others_are_not_answered() {
    let mut bench = flowing();
    for number in 100..120 {
        let class = if number % 3 == 0 { Class::Failed } else { Class::Answered };
        bench.fail([number], class);
    }
    bench.fail([1], Class::Failed);
    bench.answer([200]);
    assert_eq!(bench.machine.attempts(message(1).id), 0);
}

#[test]
fn not_sent_busy_bad_and_local_are_never_charged() {
    let mut bench = flowing();
    bench.answer(100..120);
    for class in [Class::NotSent, Class::Busy(None), Class::Bad, Class::Local] {
        bench.fail([1], class);
        bench.answer([200]);
        assert_eq!(bench.machine.attempts(message(1).id), 0, "{class:?}");
    }
    assert_eq!(bench.machine.charged_total(), 0);
}

#[test]
fn a_trip_forgives_its_run() {
    let mut bench = flowing();
    bench.answer(100..120);
    bench.fail(1..9, Class::Failed);
    assert!(bench.doubts());
    bench.until_single();
    bench.answer([200]);
    bench.answer([201]);
    assert_eq!(bench.machine.charged_total(), 0);
}

#[test]
fn nothing_is_charged_while_doubting() {
    let mut bench = flowing();
    bench.answer(100..120);
    let early = bench.machine.start(message(1), bench.now);
    for number in 300..308 {
        bench.call(Message { tries: 0, ..message(number) }, Class::NotSent);
    }
    assert!(bench.doubts());
    // Enough first tries of others were answered: the window alone would blame it.
    assert!(!bench.machine.window.blames(message(1).id, bench.now));
    bench.machine.window = flowing_window();
    bench.machine.finish(early, Class::Failed, bench.now);
    bench.until_single();
    bench.answer([400]);
    bench.answer([401]);
    assert_eq!(bench.machine.charged_total(), 0);
}

#[test]
fn a_message_is_charged_no_more_often_than_it_may_be() {
    let mut bench = flowing();
    bench.answer(100..120);
    for _ in 0..20 {
        bench.call(again(1), Class::Failed);
    }
    bench.answer([200]);
    assert_eq!(bench.machine.attempts(message(1).id), 8);
    assert_eq!(bench.machine.used_up().collect::<Vec<_>>(), [message(1).id]);
    assert_eq!(bench.machine.charged_total(), 8);
}

#[test]
fn a_settled_message_is_forgotten() {
    let mut bench = flowing();
    bench.answer(100..120);
    bench.fail([1], Class::Failed);
    bench.answer([200]);
    bench.call(again(1), Class::Answered);
    assert_eq!(bench.machine.attempts(message(1).id), 0);
}

#[test]
fn what_was_written_down_counts_again() {
    let mut bench = flowing();
    bench.machine.remember(message(1).id, 7);
    assert!(!bench.machine.has_used_up(message(1).id));
    bench.answer(100..120);
    bench.fail([1], Class::Failed);
    bench.answer([200]);
    assert!(bench.machine.has_used_up(message(1).id));
}

#[test]
fn an_undo_that_failed_too_often_goes_on_but_slowly() {
    let mut bench = flowing();
    bench.machine.remember(message(1).id, 8);
    let waits = (0..50).map(|_| {
        let undo = Message { undo: true, tries: 20, ..message(1) };
        match bench.call(undo, Class::Failed) {
            Verdict::Hold(held) => held.due - bench.now,
            other => panic!("{other:?}"),
        }
    });
    let longest = waits.max().unwrap();
    assert!(longest > Duration::from_secs(30) && longest <= Duration::from_secs(300));
}

#[test]
fn a_result_of_an_older_epoch_settles_its_message_and_moves_nothing() {
    let classes = [
        Class::Answered,
        Class::Bad,
        Class::Busy(None),
        Class::NotSent,
        Class::Failed,
        Class::Credentials,
        Class::Local,
    ];
    for class in classes {
        let mut bench = flowing();
        bench.answer(100..120);
        let old = bench.machine.start(message(1), bench.now);
        bench.machine.open(bench.now, true);
        let mut before = bench.machine.clone();
        before.out = 0;
        let verdict = bench.machine.finish(old, class, bench.now);
        let mut after = bench.machine.clone();
        after.random = before.random.clone();
        assert_eq!(before, after, "{class:?}");
        assert_eq!(matches!(verdict, Verdict::Settle), class == Class::Answered);
    }
}

#[test]
fn the_reason_is_credentials_only_if_nothing_else_failed() {
    let mut bench = flowing();
    bench.fail(1..9, Class::Credentials);
    assert_eq!(bench.machine.reason(), Reason::Credentials);
    let mut bench = flowing();
    bench.fail(1..8, Class::Credentials);
    bench.fail([8], Class::Failed);
    assert_eq!(bench.machine.reason(), Reason::NoAnswer);
    bench.fail([9], Class::Credentials);
    assert_eq!(bench.machine.reason(), Reason::NoAnswer);
}

#[test]
fn probes_go_one_at_a_time_and_two_of_a_kind_decide() {
    let failed = Some(Proof::Failed(Reason::NoAnswer));
    let recovered = Some(Proof::Recovered);
    let cases: [(&[Class], Option<Proof>); 11] = [
        (&[Class::Answered], None),
        (&[Class::Answered, Class::Answered], recovered),
        (&[Class::Failed, Class::Answered, Class::Answered], recovered),
        (&[Class::Failed], None),
        (&[Class::NotSent], None),
        (&[Class::Failed, Class::Answered, Class::NotSent], failed),
        (&[Class::Credentials, Class::Credentials], Some(Proof::Failed(Reason::Credentials))),
        (&[Class::Bad, Class::Local], None),
        (&[Class::Undecided, Class::Bad, Class::Busy(None), Class::Answered], recovered),
        (&[Class::Bad, Class::Local, Class::Busy(None)], Some(Proof::Nothing)),
        (&[Class::Failed, Class::Bad, Class::Bad], failed),
    ];
    for (classes, proof) in cases {
        let mut bench = flowing();
        bench.machine.probe(bench.now);
        for (number, class) in (1..).zip(classes) {
            assert_eq!(bench.offer(), Offer::Probe { first: number == 1, since: bench.now });
            let ticket = bench.machine.start(message(number), bench.now);
            assert_eq!(bench.offer(), Offer::Nothing);
            bench.machine.finish(ticket, *class, bench.now);
        }
        assert_eq!(bench.machine.proof(), proof, "{classes:?}");
    }
}

#[test]
fn with_no_message_left_any_answer_will_do_and_bad_ends_no_pause() {
    let cases: [(&[Class], Proof); 5] = [
        (&[], Proof::NoMessages),
        (&[Class::Failed, Class::Answered], Proof::Recovered),
        (&[Class::Failed], Proof::Failed(Reason::NoAnswer)),
        (&[Class::Bad], Proof::Nothing),
        (&[Class::Busy(None), Class::Failed], Proof::Failed(Reason::NoAnswer)),
    ];
    for (classes, proof) in cases {
        let mut bench = flowing();
        bench.machine.probe(bench.now);
        for (number, class) in (1..).zip(classes) {
            bench.call(message(number), *class);
        }
        bench.machine.nothing_to_probe();
        assert_eq!(bench.machine.proof(), Some(proof), "{classes:?}");
    }
}

#[test]
fn an_observing_machine_offers_everything_and_decides_the_same() {
    let mut acting = doubting();
    let mut observing = doubting();
    observing.machine.act(false);
    assert_eq!(observing.offer(), Offer::Free { free: 8, retries: 4 });
    for number in 10..20 {
        acting.until_single();
        observing.now = acting.now;
        let class = if number == 19 { Class::Answered } else { Class::Failed };
        assert_eq!(acting.call(message(number), class), observing.call(message(number), class));
        assert_eq!(acting.machine.state(), observing.machine.state());
    }
    assert_eq!(acting.machine.limit(), observing.machine.limit());
}

#[test]
fn a_bad_request_is_believed_only_of_the_epoch_in_which_the_calls_flow() {
    let mut bench = flowing();
    let early = bench.machine.start(message(1), bench.now);
    bench.machine.shut();
    bench.machine.open(bench.now, false);
    assert!(matches!(bench.machine.finish(early, Class::Bad, bench.now), Verdict::Hold(_)));
    assert_eq!(bench.call(message(2), Class::Bad), Verdict::Park(Parking::Bad));
}

#[test]
fn what_one_dependency_calls_bad_is_held_while_another_may_be_away() {
    let held = Verdict::Hold(message(1));
    assert_eq!(Verdict::Park(Parking::Bad).and(held), held);
    assert_eq!(held.and(Verdict::Park(Parking::Bad)), held);
    let used_up = Verdict::Park(Parking::Attempts);
    assert_eq!(used_up.and(held), used_up);
}
