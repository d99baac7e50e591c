//! When a replica doubts, and what it does then.

use super::*;

#[test]
fn nothing_starts_before_the_key_was_read() {
    let machine = Machine::new(Settings::default(), 1);
    assert_eq!(machine.offer(Duration::from_secs(100)), Offer::Nothing);
}

#[test]
fn flowing_takes_up_to_the_concurrency() {
    let mut bench = flowing();
    let tickets: Vec<_> = (0..8).map(|n| bench.machine.start(message(n), bench.now)).collect();
    assert_eq!(bench.offer(), Offer::Nothing);
    for ticket in tickets {
        bench.machine.finish(ticket, Class::Local, bench.now);
    }
    assert_eq!(bench.offer(), Offer::Free { free: 8, retries: 4 });
}

#[test]
fn eight_failed_first_tries_in_a_row_are_a_doubt_and_seven_are_not() {
    let mut bench = flowing();
    bench.fail(1..8, Class::Failed);
    assert!(!bench.doubts());
    bench.fail([8], Class::Failed);
    assert!(bench.doubts());
}

#[test]
fn an_answer_ends_the_run() {
    let mut bench = flowing();
    bench.fail(1..8, Class::Failed);
    bench.answer([8]);
    bench.fail(9..16, Class::Failed);
    assert!(!bench.doubts());
}

#[test]
fn one_message_tried_fifty_times_is_one_whatever_it_gets() {
    for class in [Class::Failed, Class::NotSent, Class::Credentials, Class::Busy(None)] {
        let mut bench = flowing();
        for _ in 0..50 {
            bench.call(message(1), class);
            bench.call(again(1), class);
            bench.wait(1.0);
        }
        assert!(!bench.doubts(), "{class:?}");
    }
}

#[test]
fn what_is_tried_again_does_not_count_as_a_first_try() {
    let mut bench = flowing();
    for number in 1..20 {
        bench.call(again(number), Class::Failed);
    }
    assert!(!bench.doubts());
}

#[test]
fn eight_that_were_not_sent_are_a_doubt_even_if_they_were_tried_before() {
    let mut bench = flowing();
    for number in [1, 2, 3, 1, 2, 3, 1] {
        bench.call(again(number), Class::NotSent);
    }
    assert!(!bench.doubts());
    bench.call(again(2), Class::NotSent);
    assert!(bench.doubts());
}

#[test]
fn three_different_messages_within_ten_seconds_are_no_doubt_and_after_that_they_are() {
    let mut bench = flowing();
    bench.fail([1, 2, 3], Class::Failed);
    bench.wait(9.9);
    bench.call(again(1), Class::Failed);
    assert!(!bench.doubts());
    bench.wait(0.1);
    bench.call(again(1), Class::Failed);
    assert!(bench.doubts());
}

#[test]
fn two_messages_are_no_doubt_however_long_they_fail() {
    let mut bench = flowing();
    for number in [1, 2, 1, 2, 1, 2] {
        bench.wait(10.0);
        bench.call(again(number), Class::Failed);
    }
    assert!(!bench.doubts());
}

#[test]
fn bad_and_busy_and_local_are_no_failures() {
    let mut bench = flowing();
    for class in [Class::Bad, Class::Busy(None), Class::Local] {
        bench.fail(1..50, class);
        bench.wait(60.0);
    }
    assert!(!bench.doubts());
}

#[test]
fn single_tries_are_doubled_and_jittered_and_at_most_the_longest_wait_apart() {
    let mut bench = doubting();
    let mut expected = 0.05;
    for number in 10..40 {
        let waited = bench.until_single().as_secs_f64();
        let (least, most) = (expected * 0.799, f64::min(expected * 1.201, 15.0));
        assert!((least..=most).contains(&waited), "{waited} not in {least}..{most}");
        bench.fail([number], Class::Failed);
        expected = f64::min(expected * 2.0, 15.0);
    }
}

#[test]
fn a_doubting_replica_makes_one_call_at_a_time() {
    let mut bench = doubting();
    bench.until_single();
    let ticket = bench.machine.start(message(9), bench.now);
    bench.wait(100.0);
    assert_eq!(bench.offer(), Offer::Nothing);
    bench.machine.finish(ticket, Class::Failed, bench.now);
    assert_eq!(bench.offer(), Offer::Nothing);
    bench.until_single();
}

#[test]
fn a_single_try_waits_for_the_calls_that_began_before_the_doubt() {
    let mut bench = flowing();
    let hanging = bench.machine.start(message(100), bench.now);
    bench.fail(1..9, Class::Failed);
    assert!(bench.doubts());
    bench.wait(1.5);
    assert_eq!(bench.offer(), Offer::Nothing);
    bench.machine.finish(hanging, Class::Failed, bench.now);
    assert!(matches!(bench.offer(), Offer::Single { .. }));
}

#[test]
fn an_answer_to_a_call_that_began_before_the_first_failure_ends_no_doubt() {
    let mut bench = flowing();
    let early = bench.machine.start(message(100), bench.now);
    bench.wait(0.01);
    bench.fail(1..8, Class::Failed);
    let later = bench.machine.start(message(101), bench.now);
    bench.fail([8], Class::Failed);
    bench.machine.finish(early, Class::Answered, bench.now);
    assert!(bench.doubts());
    bench.machine.finish(later, Class::Answered, bench.now);
    assert!(!bench.doubts());
}

#[test]
fn a_single_try_that_was_not_made_is_made_again_at_once() {
    let mut bench = doubting();
    bench.until_single();
    bench.fail([9], Class::Local);
    assert!(matches!(bench.offer(), Offer::Single { .. }));
}

#[test]
fn bad_messages_of_a_dead_service_do_not_go_one_after_the_other() {
    let mut bench = doubting();
    for number in 10..20 {
        bench.until_single();
        // It may be the edge that says so: the message is judged once the service answers.
        assert!(matches!(bench.call(message(number), Class::Bad), Verdict::Hold(_)));
    }
    assert!(bench.doubts());
    assert!(bench.until_single() > Duration::from_secs(10));
    bench.answer([20]);
    assert_eq!(bench.call(message(21), Class::Bad), Verdict::Park(Parking::Bad));
}

#[test]
fn an_answered_single_try_lets_half_of_the_calls_flow() {
    let mut bench = doubting();
    bench.until_single();
    bench.answer([9]);
    assert_eq!(bench.offer(), Offer::Free { free: 4, retries: 2 });
}

#[test]
fn a_sick_replica_tries_half_as_often_because_the_others_do_its_work() {
    let mut bench = doubting();
    bench.machine.sicken();
    let waits = (10..30).map(|number| {
        let wait = bench.until_single();
        bench.call(message(number), Class::Failed);
        wait
    });
    let longest = waits.max().expect("twenty");
    assert!(longest > Duration::from_secs(20) && longest <= Duration::from_secs(30), "{longest:?}");
}

#[test]
fn a_sick_replica_gives_back_at_once_what_fails_and_begins_with_one_call() {
    let mut bench = doubting();
    bench.machine.sicken();
    bench.until_single();
    let back = Verdict::GiveBack { delay: Duration::ZERO, charged: 0 };
    assert_eq!(bench.call(message(9), Class::Failed), back);
    bench.until_single();
    bench.answer([10]);
    assert_eq!(bench.machine.limit(), 1);
    assert!(matches!(bench.call(message(11), Class::Failed), Verdict::Hold(_)));
}
