//! How many calls at once, and how long a message waits.

use super::*;

#[test]
fn the_limit_grows_by_one_per_answer_up_to_the_concurrency() {
    let mut bench = flowing();
    bench.machine.open(Duration::ZERO, true);
    for limit in [1, 2, 3, 4, 5, 6, 7, 8, 8] {
        assert_eq!(bench.machine.limit(), limit);
        bench.answer([1]);
    }
}

#[test]
fn failures_do_not_lower_the_limit() {
    let mut bench = flowing();
    bench.fail(1..8, Class::Failed);
    assert_eq!(bench.machine.limit(), 8);
}

#[test]
fn three_busy_messages_in_a_row_make_the_replica_wait_for_the_soonest_and_halve_its_limit() {
    let mut bench = flowing();
    bench.fail([1], Class::Busy(Some(Duration::from_secs(100))));
    bench.fail([2], Class::Busy(Some(Duration::from_secs(10))));
    assert_eq!(bench.machine.limit(), 8);
    bench.fail([3], Class::Busy(Some(Duration::from_secs(100))));
    assert_eq!(bench.machine.limit(), 4);
    assert_eq!(bench.offer(), Offer::Nothing);
    bench.wait(9.9);
    assert_eq!(bench.offer(), Offer::Nothing);
    bench.wait(2.2);
    assert_eq!(bench.offer(), Offer::Free { free: 4, retries: 2 });
}

#[test]
fn busy_messages_with_an_answer_between_or_one_busy_message_stop_nobody() {
    let mut bench = flowing();
    for number in 0..200 {
        bench.fail([number * 3, number * 3 + 1], Class::Busy(None));
        bench.answer([number * 3 + 2]);
    }
    for _ in 0..50 {
        bench.fail([1000], Class::Busy(Some(Duration::from_secs(60))));
    }
    assert_eq!(bench.offer(), Offer::Free { free: 8, retries: 4 });
}

#[test]
fn a_retry_after_holds_the_message_for_at_least_as_long() {
    let mut bench = flowing();
    let asked = Duration::from_secs(40);
    for number in 0..50 {
        match bench.call(message(number), Class::Busy(Some(asked))) {
            Verdict::Hold(held) => {
                assert!(held.not_before >= bench.now + asked, "{held:?}");
                assert!(held.not_before <= bench.now + asked * 6 / 5, "{held:?}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_held_message_waits_longer_each_time_up_to_half_a_minute() {
    let longest = Duration::from_secs(30);
    for (tries, seconds) in [(0, 1), (1, 2), (2, 4), (4, 16), (5, 30), (4_000_000_000, 30)] {
        assert_eq!(hold_wait(tries, longest, 1.0), Duration::from_secs(seconds));
        assert_eq!(hold_wait(tries, longest, 0.5), Duration::from_millis(seconds * 500));
        assert_eq!(hold_wait(tries, longest, 0.0), Duration::ZERO);
    }
}
