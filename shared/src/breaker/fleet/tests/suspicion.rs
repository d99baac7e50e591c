//! Who suspects, who contradicts, and who is the sick one.

use super::*;

#[test]
fn a_doubting_replica_is_asked_and_tries_as_rarely_as_before_once_it_is_decided() {
    let mut bench = flowing();
    bench.doubt();
    let before = bench.singles_within(20.0);
    assert!(before <= 8, "doubled from 0.05 s: {before}");
    bench.see(entry(Phase::Suspected, OTHER, Reason::NoAnswer));
    let asked = bench.singles_within(2.2);
    assert!((6..=10).contains(&asked), "every 0.3 s: {asked}");
    bench.see(entry(Phase::Flowing, OTHER, Reason::Withdrawn));
    let after = bench.singles_within(20.0);
    assert!((1..=2).contains(&after), "at most 15 s apart, and no sooner for having been asked");
}

#[test]
fn a_replica_that_doubts_for_half_a_second_suspects() {
    let mut bench = flowing();
    bench.doubt();
    assert_eq!(bench.proposal_within(0.49), None);
    let suspected = bench.proposal_within(0.02);
    assert_eq!(suspected, Some(entry(Phase::Suspected, ME, Reason::NoAnswer)));
    assert!(!bench.machine.is_stopped());
}

#[test]
fn a_proposal_names_the_revision_it_replaces_and_is_made_again_after_a_second() {
    let mut bench = flowing();
    bench.doubt();
    bench.wait(0.5);
    let first = bench.decide();
    assert!(matches!(first[..], [Effect::Write { expected: 1, .. }]));
    bench.wait(0.9);
    assert_eq!(bench.decide(), []);
    bench.wait(0.1);
    assert_eq!(bench.decide(), first);
}

#[test]
fn an_older_revision_is_ignored() {
    let mut bench = flowing();
    bench.see(paused(OTHER, 2000));
    let old = bench.fleet.seen(&mut bench.machine, Entry::default(), 1, bench.now);
    assert_eq!(old, []);
    assert!(bench.is_shut());
}

#[test]
fn any_replica_contradicts_with_an_answer_to_a_call_that_began_after_it_saw_the_suspicion() {
    let mut bench = flowing();
    let early = bench.now;
    bench.wait(1.0);
    bench.see(entry(Phase::Suspected, OTHER, Reason::NoAnswer));
    bench.fleet.answered(early);
    assert_eq!(bench.proposal_within(4.0), None);
    bench.call(Class::Bad);
    assert_eq!(bench.proposal_within(0.0), None);
    bench.call(Class::Answered);
    let contradicted = entry(Phase::Flowing, OTHER, Reason::Contradicted);
    assert_eq!(bench.proposal_within(0.0), Some(contradicted));
}

#[test]
fn a_suspect_that_nobody_contradicts_pauses_the_fleet_after_the_time_out() {
    let mut bench = flowing();
    bench.doubt();
    bench.wait(0.5);
    bench.see(entry(Phase::Suspected, ME, Reason::NoAnswer));
    assert_eq!(bench.proposal_within(2.19), None);
    let pause = bench.proposal_within(0.02).unwrap();
    assert_eq!(pause.phase, Phase::Paused);
    assert!((1600..=2400).contains(&pause.wait_ms), "{pause:?}");
    let effects = bench.see(pause.clone());
    let server = Effect::PauseServer(Duration::from_millis(pause.wait_ms));
    assert_eq!(effects.iter().filter(|effect| **effect == server).count(), 1);
    assert!(bench.is_shut());
}

#[test]
fn a_suspect_that_is_answered_withdraws() {
    let mut bench = flowing();
    bench.doubt();
    let early = bench.now;
    bench.see(entry(Phase::Suspected, ME, Reason::NoAnswer));
    bench.call(Class::Answered);
    // As if the call had begun before the suspicion was seen.
    bench.fleet.view.contradicted = false;
    bench.fleet.answered(early.saturating_sub(Duration::from_secs(1)));
    let withdrawn = entry(Phase::Flowing, ME, Reason::Withdrawn);
    assert_eq!(bench.proposal_within(0.0), Some(withdrawn));
}

#[test]
fn a_dead_suspects_suspicion_is_withdrawn_by_anybody() {
    let mut bench = flowing();
    bench.see(entry(Phase::Suspected, OTHER, Reason::NoAnswer));
    assert_eq!(bench.proposal_within(4.39), None);
    let withdrawn = entry(Phase::Flowing, OTHER, Reason::Withdrawn);
    assert_eq!(bench.proposal_within(0.12), Some(withdrawn));
}

#[test]
fn somebody_elses_suspicion_is_judged_before_ones_own() {
    let mut bench = flowing();
    bench.see(entry(Phase::Suspected, OTHER, Reason::NoAnswer));
    bench.doubt();
    assert_eq!(bench.proposal_within(4.0), None);
}

#[test]
fn a_contradicted_suspect_is_the_sick_one_says_so_once_and_is_quiet_for_ten_seconds() {
    let mut bench = flowing();
    bench.doubt();
    let contradicted = entry(Phase::Flowing, ME, Reason::Contradicted);
    let sick = Effect::Log(News::LocalSuspect);
    assert!(bench.see(contradicted.clone()).contains(&sick));
    assert!(bench.machine.is_sick());
    assert_eq!(bench.proposal_within(9.99), None);
    let suspected = bench.proposal_within(0.02).unwrap();
    bench.see(suspected);
    assert!(!bench.see(contradicted).contains(&sick));
    assert_eq!(bench.proposal_within(9.99), None);
}

#[test]
fn a_healthy_replica_goes_on_while_another_is_contradicted() {
    let mut bench = flowing();
    let epoch = bench.machine.epoch();
    bench.see(entry(Phase::Suspected, OTHER, Reason::NoAnswer));
    bench.see(entry(Phase::Flowing, OTHER, Reason::Contradicted));
    assert_eq!((bench.machine.epoch(), bench.machine.limit()), (epoch, 8));
}
