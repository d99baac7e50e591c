//! Pauses, probes and recoveries.

use super::*;

#[test]
fn a_pause_shuts_every_gate_and_begins_an_epoch() {
    let mut bench = flowing();
    let epoch = bench.machine.epoch();
    bench.see(paused(OTHER, 2000));
    assert!(bench.is_shut() && bench.machine.epoch() > epoch);
}

#[test]
fn when_the_pause_is_over_replicas_that_did_not_doubt_probe_first() {
    let mut calm = flowing();
    calm.see(paused(OTHER, 2000));
    assert_eq!(calm.proposal_within(1.999), None);
    assert_eq!(calm.proposal_within(0.11).unwrap().phase, Phase::Probing);

    let mut doubter = flowing();
    doubter.doubt();
    doubter.see(paused(OTHER, 2000));
    assert_eq!(doubter.proposal_within(2.299), None);
    assert_eq!(doubter.proposal_within(0.11).unwrap().phase, Phase::Probing);
}

#[test]
fn a_replica_without_messages_probes_only_after_all_that_hold_some() {
    let mut empty = flowing();
    empty.fleet.holds(false);
    empty.see(paused(OTHER, 2000));
    assert_eq!(empty.proposal_within(2.699), None);
    assert_eq!(empty.proposal_within(0.11).unwrap().phase, Phase::Probing);
}

#[test]
fn who_failed_itself_probes_last_until_the_fleet_flows_again() {
    let mut failed = flowing();
    failed.see(paused(ME, 2000));
    failed.see(paused(OTHER, 2000));
    assert_eq!(failed.proposal_within(2.999), None);
    assert_eq!(failed.proposal_within(0.11).unwrap().phase, Phase::Probing);
    failed.see(entry(Phase::Flowing, OTHER, Reason::Recovered));
    failed.see(paused(OTHER, 2000));
    assert_eq!(failed.proposal_within(2.11).unwrap().phase, Phase::Probing);
}

#[test]
fn no_message_to_probe_with_is_a_recovery_only_twice_in_a_row() {
    let mut bench = flowing();
    bench.see(entry(Phase::Probing, ME, Reason::NoAnswer));
    bench.machine.nothing_to_probe();
    let paused = bench.proposal_within(0.0).unwrap();
    assert_eq!((paused.phase, paused.reason, paused.k), (Phase::Paused, Reason::NoMessages, 1));
    bench.see(entry(Phase::Probing, ME, Reason::NoMessages));
    bench.machine.nothing_to_probe();
    let recovered = bench.proposal_within(0.0).unwrap();
    assert_eq!((recovered.phase, recovered.reason), (Phase::Flowing, Reason::Recovered));
}

#[test]
fn only_the_one_that_won_probes() {
    let mut bench = flowing();
    bench.see(paused(OTHER, 2000));
    bench.see(entry(Phase::Probing, OTHER, Reason::NoAnswer));
    assert!(bench.is_shut());
    bench.see(entry(Phase::Probing, ME, Reason::NoAnswer));
    assert!(matches!(bench.machine.state(), State::Probing(_)));
}

#[test]
fn two_answers_are_a_recovery_and_all_open_within_a_second_with_one_call() {
    let mut bench = flowing();
    bench.see(entry(Phase::Probing, ME, Reason::NoAnswer));
    bench.call(Class::Answered);
    assert_eq!(bench.proposal_within(0.0), None);
    bench.call(Class::Answered);
    let recovered = bench.proposal_within(0.0).unwrap();
    assert_eq!(recovered, entry(Phase::Flowing, ME, Reason::Recovered));
    bench.see(recovered);
    assert!(bench.flows());
    assert_eq!(bench.machine.limit(), 1);
    let opens = bench.machine.wakes_at(bench.now).unwrap();
    assert!(opens <= bench.now + Duration::from_secs(1));
}

#[test]
fn two_failed_probes_pause_again_for_twice_as_long_at_most_the_maximum() {
    for (k, least, most) in [(0, 3.2, 4.8), (1, 6.4, 9.6), (2, 12.8, 15.0), (40, 15.0, 15.0)] {
        let mut bench = flowing();
        bench.see(Entry { k, ..entry(Phase::Probing, ME, Reason::NoAnswer) });
        bench.call(Class::Failed);
        assert_eq!(bench.proposal_within(0.0), None);
        bench.call(Class::Failed);
        let pause = bench.proposal_within(0.0).unwrap();
        assert_eq!((pause.phase, pause.k), (Phase::Paused, k + 1));
        let wait = Duration::from_millis(pause.wait_ms).as_secs_f64();
        assert!((least..=most).contains(&wait), "{k}: {wait}");
    }
}

#[test]
fn bad_probes_with_nothing_else_pause_again_but_no_longer() {
    let mut bench = flowing();
    bench.see(Entry { k: 3, ..entry(Phase::Probing, ME, Reason::NoAnswer) });
    bench.call(Class::Bad);
    assert_eq!(bench.proposal_within(1.0), None);
    bench.machine.nothing_to_probe();
    let pause = bench.proposal_within(0.0).unwrap();
    assert_eq!((pause.phase, pause.k), (Phase::Paused, 3));
}

#[test]
fn a_pause_for_credentials_lasts_about_a_minute() {
    let mut bench = flowing();
    bench.see(entry(Phase::Probing, ME, Reason::NoAnswer));
    bench.call(Class::Credentials);
    bench.call(Class::Credentials);
    let pause = bench.proposal_within(0.0).unwrap();
    assert_eq!(pause.reason, Reason::Credentials);
    assert!((48_000..=72_000).contains(&pause.wait_ms), "{pause:?}");
}

#[test]
fn a_silent_prober_is_taken_over_after_three_time_outs() {
    let mut bench = flowing();
    bench.see(entry(Phase::Probing, OTHER, Reason::NoAnswer));
    assert_eq!(bench.proposal_within(5.99), None);
    let probing = entry(Phase::Probing, ME, Reason::NoAnswer);
    assert_eq!(bench.proposal_within(0.12), Some(probing));
}

#[test]
fn an_ousted_probers_result_decides_nothing() {
    let mut bench = flowing();
    bench.see(entry(Phase::Probing, ME, Reason::NoAnswer));
    bench.call(Class::Answered);
    let id = MessageId { source: 0, number: 77 };
    let late = bench.machine.start(Message::new(id, false, bench.now), bench.now);
    bench.see(entry(Phase::Probing, OTHER, Reason::NoAnswer));
    bench.machine.finish(late, Class::Answered, bench.now);
    assert_eq!(bench.proposal_within(5.0), None);
    assert!(bench.is_shut());
}

#[test]
fn after_a_minute_of_flowing_pauses_are_short_again_even_if_a_sick_replica_suspects_all_the_time() {
    let mut bench = flowing();
    bench.see(Entry { k: 5, ..entry(Phase::Flowing, OTHER, Reason::Recovered) });
    bench.wait(30.0);
    bench.see(Entry { k: 5, ..entry(Phase::Suspected, OTHER, Reason::NoAnswer) });
    bench.see(Entry { k: 5, ..entry(Phase::Flowing, OTHER, Reason::Contradicted) });
    bench.doubt();
    assert_eq!(bench.proposal_within(1.0).unwrap().k, 5);
    bench.call(Class::Answered);
    bench.wait(31.0);
    bench.doubt();
    assert_eq!(bench.proposal_within(1.0).unwrap().k, 0);
}
