use super::*;
use crate::breaker::class::Class;
use crate::breaker::machine::State;
use crate::breaker::{Message, MessageId};

/// One replica, `me`, with its key and its clock; another replica is played by hand.
struct Bench {
    fleet: Fleet,
    machine: Machine,
    now: Duration,
    revision: u64,
    calls: u64,
}

const ME: &str = "me";
const OTHER: &str = "other";

fn bench() -> Bench {
    bench_with(Settings::default())
}

fn bench_with(settings: Settings) -> Bench {
    let machine = Machine::new(settings, 1);
    let fleet = Fleet::new(ME.into(), settings, 2);
    Bench { fleet, machine, now: Duration::from_secs(1000), revision: 0, calls: 0 }
}

fn flowing() -> Bench {
    let mut bench = bench();
    bench.see(Entry::default());
    bench
}

fn entry(phase: Phase, by: &str, reason: Reason) -> Entry {
    Entry { phase, by: by.into(), reason, ..Entry::default() }
}

fn paused(by: &str, wait_ms: u64) -> Entry {
    Entry { wait_ms, ..entry(Phase::Paused, by, Reason::NoAnswer) }
}

fn written(effects: &[Effect]) -> Option<Entry> {
    effects.iter().find_map(|effect| match effect {
        Effect::Write { entry, .. } => Some(entry.clone()),
        Effect::PauseServer(_) | Effect::ResumeServer | Effect::Log(_) => None,
    })
}

impl Bench {
    fn see(&mut self, entry: Entry) -> Vec<Effect> {
        self.revision += 1;
        self.fleet.seen(&mut self.machine, entry, self.revision, self.now)
    }

    fn decide(&mut self) -> Vec<Effect> {
        self.fleet.decide(&mut self.machine, self.now)
    }

    /// Waits until something is proposed, at most this long, and writes it.
    fn proposal_within(&mut self, seconds: f64) -> Option<Entry> {
        let end = self.now + Duration::from_secs_f64(seconds);
        loop {
            if let Some(entry) = written(&self.decide()) {
                return Some(entry);
            }
            match self.fleet.wakes_at(&self.machine) {
                Some(at) if at <= end => self.now = at.max(self.now),
                Some(_) | None => {
                    self.now = end;
                    return None;
                }
            }
        }
    }

    fn call(&mut self, class: Class) {
        self.calls += 1;
        let id = MessageId { source: 0, number: self.calls };
        let ticket = self.machine.start(Message::new(id, false, self.now), self.now);
        let began = self.now;
        self.machine.finish(ticket, class, self.now);
        if class == Class::Answered {
            self.fleet.answered(began);
        }
    }

    fn doubt(&mut self) {
        for _ in 0..8 {
            self.call(Class::Failed);
        }
        assert!(self.machine.doubting_since().is_some());
    }

    fn is_shut(&self) -> bool {
        *self.machine.state() == State::Shut
    }

    fn flows(&self) -> bool {
        *self.machine.state() == State::Flowing
    }

    fn wait(&mut self, seconds: f64) {
        self.now += Duration::from_secs_f64(seconds);
    }
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

fn forced(mode: Mode) -> Option<(Override, Duration)> {
    let (by, reason) = ("ann".to_owned(), "maintenance".to_owned());
    Some((Override { mode, by, reason, until_ms: 0 }, Duration::from_secs(3600)))
}

impl Bench {
    fn force(&mut self, wanted: Option<(Override, Duration)>) -> Vec<Effect> {
        self.fleet.overridden(&mut self.machine, wanted, self.now)
    }
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
