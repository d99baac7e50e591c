//! A key that is old, unreadable or overridden.

use super::*;

#[test]
fn an_old_pause_found_at_the_start_counts_from_when_it_is_seen() {
    let mut bench = bench();
    bench.see(paused(OTHER, 5000));
    assert!(bench.is_shut());
    assert_eq!(bench.proposal_within(4.99), None);
    assert_eq!(bench.proposal_within(0.12).unwrap().phase, Phase::Probing);
}

#[test]
fn a_pause_of_a_day_in_the_key_blocks_for_five_minutes_at_most() {
    let mut bench = flowing();
    bench.see(paused(OTHER, 86_400_000));
    assert_eq!(bench.proposal_within(299.0), None);
    assert_eq!(bench.proposal_within(2.0).unwrap().phase, Phase::Probing);
}

#[test]
fn a_key_that_is_unreadable_at_the_start_opens_with_one_call() {
    let mut bench = bench();
    let effects = bench.fleet.unreadable(&mut bench.machine, bench.now);
    assert_eq!(effects, [Effect::Log(News::KeyUnreadable)]);
    assert!(bench.flows());
    assert_eq!(bench.machine.limit(), 1);
}

#[test]
fn a_key_that_becomes_unreadable_ends_the_question_that_it_asked() {
    let mut bench = flowing();
    bench.doubt();
    bench.wait(5.0);
    bench.see(entry(Phase::Suspected, OTHER, Reason::NoAnswer));
    bench.fleet.unreadable(&mut bench.machine, bench.now);
    let tries = bench.singles_within(10.0);
    assert!(tries <= 7, "doubled from 0.05 s: {tries}");
}

#[test]
fn a_deleted_key_is_as_if_nothing_had_been_written_and_revisions_begin_anew() {
    let mut bench = flowing();
    bench.see(paused(OTHER, 60_000));
    let effects = bench.fleet.deleted(&mut bench.machine, bench.now);
    assert_eq!(effects, [Effect::Log(News::Entered(Entry::default()))]);
    assert!(bench.flows());
    bench.revision = 0;
    bench.see(paused(OTHER, 2000));
    assert!(bench.is_shut());
}

#[test]
fn while_the_key_is_unreadable_each_is_on_its_own_and_proposes_nothing() {
    let mut bench = flowing();
    bench.fleet.unreadable(&mut bench.machine, bench.now);
    assert_eq!(bench.fleet.unreadable(&mut bench.machine, bench.now), []);
    bench.doubt();
    assert_eq!(bench.proposal_within(100.0), None);
    assert!(!bench.machine.is_stopped());
}

#[test]
fn a_pause_whose_key_becomes_unreadable_ends_by_itself() {
    for (known, seconds) in [
        (paused(OTHER, 9000), 9.0),
        (entry(Phase::Probing, OTHER, Reason::NoAnswer), 6.0),
        (entry(Phase::Probing, ME, Reason::NoAnswer), 6.0),
    ] {
        let mut bench = flowing();
        bench.see(known);
        bench.wait(1.0);
        bench.fleet.unreadable(&mut bench.machine, bench.now);
        assert_eq!(bench.proposal_within(seconds - 1.1), None);
        assert!(bench.machine.is_stopped());
        assert_eq!(bench.proposal_within(0.2), None);
        assert!(bench.flows());
    }
}

#[test]
fn a_readable_key_counts_again_whatever_its_revision() {
    let mut bench = flowing();
    for _ in 0..10 {
        bench.see(Entry::default());
    }
    bench.fleet.unreadable(&mut bench.machine, bench.now);
    // The bucket was made anew: its revisions begin at one.
    let effects = bench.fleet.seen(&mut bench.machine, paused(OTHER, 2000), 1, bench.now);
    assert!(effects.contains(&Effect::Log(News::KeyReadable)));
    assert!(bench.is_shut());
}

#[test]
fn a_reconnect_that_brings_the_same_entry_changes_nothing() {
    let mut bench = flowing();
    bench.see(entry(Phase::Flowing, OTHER, Reason::Recovered));
    for _ in 0..8 {
        bench.call(Class::Answered);
    }
    let epoch = bench.machine.epoch();
    bench.fleet.unreadable(&mut bench.machine, bench.now);
    let stored = entry(Phase::Flowing, OTHER, Reason::Recovered);
    bench.fleet.seen(&mut bench.machine, stored, bench.revision, bench.now);
    assert_eq!((bench.machine.epoch(), bench.machine.limit()), (epoch, 8));
}

#[test]
fn an_override_that_pauses_beats_the_machine_and_its_end_gives_back_the_automatic_state() {
    let mut bench = flowing();
    bench.force(forced(Mode::Paused));
    assert!(bench.is_shut());
    bench.see(entry(Phase::Flowing, OTHER, Reason::Recovered));
    assert!(bench.is_shut());
    assert_eq!(bench.proposal_within(1000.0), None);
    bench.force(None);
    assert!(bench.flows());
    assert_eq!(bench.machine.limit(), 1);
}

#[test]
fn an_override_ends_on_the_own_clock_even_if_nobody_says_so() {
    let mut bench = flowing();
    bench.force(forced(Mode::Paused));
    bench.wait(3599.0);
    bench.decide();
    assert!(bench.is_shut());
    bench.wait(1.0);
    assert_eq!(bench.decide()[0], Effect::Log(News::Override(None)));
    assert!(bench.flows());
}

#[test]
fn an_override_that_flows_opens_a_paused_gate_and_ends_the_own_pause_on_the_server() {
    let mut bench = flowing();
    bench.see(paused(ME, 2000));
    let effects = bench.force(forced(Mode::Flowing));
    assert!(effects.contains(&Effect::ResumeServer));
    assert!(!bench.machine.is_acting());
    assert_eq!(bench.proposal_within(1000.0), None);
    bench.force(None);
    assert!(bench.is_shut() && bench.machine.is_acting());
    assert_eq!(bench.proposal_within(0.0).unwrap().phase, Phase::Probing);
}

#[test]
fn an_override_read_before_the_key_holds_from_the_start() {
    let mut bench = bench();
    bench.force(forced(Mode::Paused));
    bench.fleet.unreadable(&mut bench.machine, bench.now);
    assert!(bench.is_shut());
    bench.see(Entry::default());
    assert!(bench.is_shut());
}

#[test]
fn observing_goes_through_all_phases_and_writes_and_shuts_nothing() {
    let mut bench = flowing();
    bench.force(forced(Mode::Observe));
    bench.doubt();
    let mut phases = Vec::new();
    for _ in 0..200 {
        for effect in bench.decide() {
            match effect {
                Effect::Log(News::WouldWrite(entry)) => phases.push(entry.phase),
                Effect::Log(_) => {}
                Effect::Write { .. } | Effect::PauseServer(_) | Effect::ResumeServer => {
                    panic!("observing must not act: {effect:?}");
                }
            }
        }
        if matches!(bench.machine.state(), State::Probing(_)) {
            bench.call(Class::Answered);
        }
        bench.wait(0.1);
        assert!(bench.machine.offer(bench.now) != crate::breaker::machine::Offer::Nothing);
    }
    use Phase::{Flowing, Paused, Probing, Suspected};
    assert_eq!(phases, [Suspected, Paused, Probing, Flowing]);
    bench.force(None);
    assert!(bench.machine.is_acting() && bench.flows());
}

#[test]
fn with_the_fleet_off_nothing_is_ever_proposed() {
    let mut bench =
        bench_with(Settings { fleet: crate::breaker::FleetMode::Off, ..Settings::default() });
    bench.machine.open(bench.now, false);
    bench.doubt();
    assert_eq!(bench.proposal_within(1000.0), None);
}
