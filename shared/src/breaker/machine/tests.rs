use super::*;
use crate::breaker::MessageId;
use crate::breaker::fleet::Reason;

/// A machine and a clock.
struct Bench {
    machine: Machine,
    now: Duration,
}

fn message(number: u64) -> Message {
    Message::new(MessageId { source: 0, number }, false, Duration::ZERO)
}

fn again(number: u64) -> Message {
    Message { tries: 1, ..message(number) }
}

fn flowing() -> Bench {
    let mut machine = Machine::new(Settings::default(), 1);
    machine.open(Duration::ZERO, false);
    Bench { machine, now: Duration::ZERO }
}

fn doubting() -> Bench {
    let mut bench = flowing();
    bench.fail(1..9, Class::Failed);
    assert!(bench.doubts());
    bench
}

impl Bench {
    fn call(&mut self, message: Message, class: Class) -> Verdict {
        let ticket = self.machine.start(message, self.now);
        self.machine.finish(ticket, class, self.now)
    }

    fn fail(&mut self, numbers: impl IntoIterator<Item = u64>, class: Class) {
        for number in numbers {
            self.call(message(number), class);
        }
    }

    fn answer(&mut self, numbers: impl IntoIterator<Item = u64>) {
        self.fail(numbers, Class::Answered);
    }

    fn doubts(&self) -> bool {
        self.machine.doubting_since().is_some()
    }

    fn wait(&mut self, seconds: f64) {
        self.now += Duration::from_secs_f64(seconds);
    }

    fn offer(&self) -> Offer {
        self.machine.offer(self.now)
    }

    /// Waits until a single try is allowed, and says for how long.
    fn until_single(&mut self) -> Duration {
        let began = self.now;
        while self.offer() == Offer::Nothing {
            self.now = self.machine.wakes_at(self.now).unwrap();
        }
        assert!(matches!(self.offer(), Offer::Single { .. }));
        self.now - began
    }
}

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
        assert_eq!(bench.call(message(number), Class::Bad), Verdict::Park(Parking::Bad));
    }
    assert!(bench.doubts());
    assert!(bench.until_single() > Duration::from_secs(10));
}

#[test]
fn an_answered_single_try_lets_half_of_the_calls_flow() {
    let mut bench = doubting();
    bench.until_single();
    bench.answer([9]);
    assert_eq!(bench.offer(), Offer::Free { free: 4, retries: 2 });
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

fn flowing_window() -> Window {
    let mut bench = flowing();
    bench.answer(500..520);
    bench.machine.window
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
    let cases: [(&[Class], Option<Proof>); 8] = [
        (&[Class::Answered], None),
        (&[Class::Answered, Class::Answered], recovered),
        (&[Class::Failed, Class::Answered, Class::Answered], recovered),
        (&[Class::Failed], None),
        (&[Class::NotSent], None),
        (&[Class::Failed, Class::Answered, Class::NotSent], failed),
        (&[Class::Credentials, Class::Credentials], Some(Proof::Failed(Reason::Credentials))),
        (&[Class::Bad, Class::Busy(None), Class::Local, Class::Bad], None),
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
        (&[], Proof::Recovered),
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
