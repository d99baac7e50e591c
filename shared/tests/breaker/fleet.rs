//! A fleet of replicas against outages, sick replicas, poison and kills, in simulated time.
//!
//! Every run has a seed, which a failure prints; `SEED=7 cargo test` runs that one alone.

use std::time::Duration;

use quadrille::breaker::Settings;
use quadrille::breaker::class::Class;
use quadrille::breaker::fleet::Phase;
use quadrille::breaker::machine::Parking;

use crate::sim::scenarios::{Outage, always, never, outage, poison, random_errors, setup};
use crate::sim::{Dependency, Simulation, seconds};

const FLEETS: [usize; 2] = [3, 8];
const OUTAGES: [Outage; 3] = [Outage::Fast, Outage::Hole, Outage::Refused];
/// Longest pause, a dead prober's time, and a second each for jitter and for opening.
const BACK_WITHIN: f64 = 15.0 + 3.0 * 2.0 + 2.0;

/// Runs each seed, and names the one that fails.
fn for_seeds(seeds: u64, run: impl Fn(u64)) {
    let only = option_env!("SEED").and_then(|seed| seed.parse().ok());
    for seed in only.map_or(0..seeds, |seed: u64| seed..seed + 1) {
        let shown = Shown(seed);
        run(seed);
        std::mem::forget(shown);
    }
}

struct Shown(u64);

impl Drop for Shown {
    fn drop(&mut self) {
        eprintln!("the failing seed is {}", self.0);
    }
}

fn fleet(replicas: usize, rate: f64, seed: u64, dependency: Dependency) -> Simulation {
    Simulation::new(setup(replicas, rate, 0, seed), dependency, never)
}

/// What no run may show.
fn check(simulation: &Simulation) {
    assert_eq!(simulation.counts.calls_while_shut, 0, "a call while shut that was no probe");
}

type Down = fn(f64, usize) -> bool;

#[test]
fn one_sick_replica_among_healthy_ones_never_pauses_anybody_and_costs_no_attempt() {
    let down: Down = |at, replica| (20.0..200.0).contains(&at) && replica == 1;
    for_seeds(12, |seed| {
        for replicas in FLEETS {
            let kind = OUTAGES[seed as usize % 3];
            let rate = 20.0 * replicas as f64;
            let mut simulation = fleet(replicas, rate, seed, outage(kind, down));
            simulation.run_until(200.0);
            assert_eq!(simulation.counts.pauses, 0);
            assert_eq!(simulation.counts.sick, 1);
            assert_eq!(simulation.counts.parked.len(), 0);
            let good = simulation.good_between(20.0, 200.0) as f64;
            assert!(good > 0.95 * rate * 180.0, "goodput {good}");
            // Its single tries are at most twice `wait_max` apart.
            simulation.run_until(200.0 + 32.1);
            assert!(simulation.all_flow(), "the sick one has not recovered");
            assert_eq!(simulation.charged(), 0);
            check(&simulation);
        }
    });
}

#[test]
fn a_zone_without_egress_never_pauses_the_rest() {
    let down: Down = |at, replica| (20.0..200.0).contains(&at) && replica != 0;
    for_seeds(6, |seed| {
        for replicas in FLEETS {
            let kind = OUTAGES[seed as usize % 3];
            let mut simulation = fleet(replicas, 40.0, seed, outage(kind, down));
            simulation.run_until(260.0);
            assert_eq!(simulation.counts.pauses, 0);
            assert_eq!(simulation.counts.sick, replicas as u64 - 1);
            assert!(simulation.all_flow());
            check(&simulation);
        }
    });
}

#[test]
fn an_outage_pauses_within_seconds_wastes_little_and_costs_nobody_an_attempt() {
    let down: Down = |at, _| (20.0..320.0).contains(&at);
    for_seeds(9, |seed| {
        for replicas in FLEETS {
            let kind = OUTAGES[seed as usize % 3];
            let settings = Settings::default();
            let rate = 20.0 * replicas as f64;
            let setup = setup(replicas, rate, 0, seed);
            let mut simulation = Simulation::new(setup, outage(kind, down), down);
            simulation.run_until(320.0);
            let is_pause = |(_, phase, _): &&(Duration, Phase, String)| *phase == Phase::Paused;
            let first = simulation.log.iter().find(is_pause).unwrap().0.as_secs_f64();
            assert!(first < 20.0 + 8.0, "paused at {first}");
            let allowed = replicas as u64 * (u64::from(settings.concurrency) + 24);
            let allowed = allowed + 2 * simulation.counts.probings;
            assert!(simulation.counts.wasted <= allowed, "{:?}", simulation.counts);
            assert!(simulation.counts.probes <= 2 * simulation.counts.probings);
            assert_eq!(simulation.counts.probes_at_once, 1);
            simulation.run_until(320.0 + BACK_WITHIN);
            assert!(simulation.all_flow());
            simulation.run_until(400.0);
            assert_eq!(simulation.charged(), 0);
            assert_eq!(simulation.counts.parked.len(), 0);
            assert_eq!((simulation.counts.given_back, simulation.counts.most_deliveries), (0, 1));
            check(&simulation);
        }
    });
}

#[test]
fn a_dependency_that_answers_again_flows_again_whoever_was_killed() {
    let down: Down = |at, _| (20.0..100.0).contains(&at);
    for_seeds(10, |seed| {
        for replicas in FLEETS {
            for (phase, all) in [
                (Phase::Suspected, false),
                (Phase::Suspected, true),
                (Phase::Paused, false),
                (Phase::Paused, true),
                (Phase::Probing, false),
                (Phase::Probing, true),
            ] {
                let kind = OUTAGES[seed as usize % 3];
                let mut simulation = fleet(replicas, 40.0, seed, outage(kind, down));
                if phase == Phase::Suspected {
                    simulation.kill_on = Some((phase, all));
                }
                simulation.run_until(80.0 + seed as f64 * 2.0);
                if phase != Phase::Suspected {
                    simulation.kill_on = Some((phase, all));
                }
                // The kill may come with the last pause or its probe, after the outage.
                simulation.run_until(100.0 + BACK_WITHIN);
                assert!(simulation.all_flow(), "{phase:?} {all} {:?}", simulation.log);
                simulation.run_until(300.0);
                assert!(simulation.left() < 60, "{}", simulation.left());
                check(&simulation);
            }
        }
    });
}

#[test]
fn all_killed_and_restarted_in_an_outage_read_the_pause_and_recover() {
    let down: Down = |at, _| (20.0..100.0).contains(&at);
    for_seeds(20, |seed| {
        let mut simulation = fleet(3, 40.0, seed, outage(Outage::Fast, down));
        let killed = 85.0 + seed as f64 * 0.75;
        for replica in 0..3 {
            simulation.kill_at(killed, replica);
        }
        simulation.run_until(killed.max(100.0) + BACK_WITHIN);
        assert!(simulation.all_flow(), "{:?}", simulation.log);
        check(&simulation);
    });
}

#[test]
fn one_message_that_always_fails_is_charged_exactly_max_attempts_and_pauses_nobody() {
    for_seeds(10, |seed| {
        for replicas in FLEETS {
            let dependency = poison(|message| message == 77, Class::Failed);
            let mut simulation = fleet(replicas, 10.0 * replicas as f64, seed, dependency);
            simulation.run_until(400.0);
            assert_eq!(simulation.counts.parked.get(&77), Some(&Parking::Attempts));
            assert_eq!(simulation.counts.parked.len(), 1);
            assert_eq!(simulation.charged(), 8);
            assert_eq!((simulation.counts.pauses, simulation.counts.doubts), (0, 0));
            check(&simulation);
        }
    });
}

#[test]
fn one_message_pauses_nobody_whatever_it_gets_even_if_it_is_alone() {
    for class in [Class::Failed, Class::NotSent, Class::Credentials, Class::Busy(None)] {
        for_seeds(4, |seed| {
            let mut simulation = fleet(3, 0.0, seed, always(class));
            simulation.send_at(1.0);
            simulation.run_until(3600.0);
            assert!(simulation.counts.calls > 100);
            assert_eq!((simulation.counts.pauses, simulation.counts.doubts), (0, 0), "{class:?}");
            assert_eq!(simulation.charged(), 0);
        });
    }
}

#[test]
fn a_message_that_is_never_sent_does_not_keep_a_recovered_dependency_paused() {
    for_seeds(10, |seed| {
        for replicas in [1, 3] {
            let dependency: Dependency = Box::new(|call, _| {
                let down = (20.0..60.0).contains(&call.at);
                let class =
                    if down || call.message == 7 { Class::NotSent } else { Class::Answered };
                (seconds(0.05), class)
            });
            let mut simulation = fleet(replicas, 5.0, seed, dependency);
            simulation.run_until(60.0 + BACK_WITHIN);
            assert_eq!(simulation.key.0.phase, Phase::Flowing, "{:?}", simulation.log);
            let pauses = simulation.counts.pauses;
            simulation.run_until(200.0);
            assert_eq!(simulation.counts.pauses, pauses);
        }
    });
}

#[test]
fn refusals_and_wrong_requests_and_busy_answers_alone_pause_nobody() {
    for class in [Class::Answered, Class::Bad, Class::Busy(None)] {
        for_seeds(4, |seed| {
            for replicas in FLEETS {
                let mut simulation = fleet(replicas, 30.0, seed, always(class));
                simulation.run_until(120.0);
                assert_eq!((simulation.counts.pauses, simulation.counts.doubts), (0, 0));
                assert_eq!(simulation.charged(), 0);
            }
        });
    }
}

#[test]
fn random_errors_pause_nobody_and_park_nobody() {
    for_seeds(4, |seed| {
        let mut simulation = fleet(8, 100.0, seed, random_errors(0.2));
        simulation.run_until(300.0);
        assert_eq!((simulation.counts.pauses, simulation.counts.parked.len()), (0, 0));
        assert!(simulation.counts.good as f64 > 0.97 * 300.0 * 100.0);
    });
}

#[test]
fn replicas_that_all_doubt_ask_each_other_before_they_pause() {
    for_seeds(4, |seed| {
        let mut simulation = fleet(8, 200.0, seed, random_errors(0.8));
        simulation.run_until(300.0);
        assert_eq!((simulation.counts.pauses, simulation.counts.parked.len()), (0, 0));
    });
}

#[test]
fn a_key_that_becomes_unreadable_never_blocks_for_ever() {
    let down: Down = |at, _| (20.0..60.0).contains(&at);
    for_seeds(20, |seed| {
        for replicas in FLEETS {
            let kind = OUTAGES[seed as usize % 3];
            let mut simulation = fleet(replicas, 40.0, seed, outage(kind, down));
            simulation.unreadable_between(18.0 + 2.0 * seed as f64, 150.0);
            simulation.run_until(60.0 + BACK_WITHIN);
            let from = 60.0 + BACK_WITHIN;
            simulation.run_until(150.0);
            let good = simulation.good_between(from, 150.0) as f64;
            assert!(good > 0.9 * 40.0 * (150.0 - from), "goodput {good}");
            simulation.run_until(150.0 + BACK_WITHIN);
            assert!(simulation.all_flow());
            assert_eq!(simulation.counts.parked.len(), 0);
        }
    });
}

#[test]
fn an_edge_that_says_bad_for_a_dead_service_ends_no_pause() {
    for_seeds(6, |seed| {
        let dependency: Dependency = Box::new(|call, rng| {
            let class = match call.at {
                at if !(20.0..100.0).contains(&at) => Class::Answered,
                at if at < 40.0 => Class::Failed,
                _ if rng.bool() => Class::Bad,
                _ => Class::Failed,
            };
            (seconds(0.01), class)
        });
        let mut simulation = fleet(8, 100.0, seed, dependency);
        simulation.run_until(100.0);
        let parked = simulation.counts.parked.len() as u64;
        assert!(parked <= 2 * simulation.counts.probings + 8, "{parked} were parked");
        let recovered = |entry: &&(Duration, Phase, String)| {
            entry.1 == Phase::Flowing && entry.0 > seconds(30.0)
        };
        assert_eq!(simulation.log.iter().filter(recovered).count(), 0);
        simulation.run_until(100.0 + BACK_WITHIN);
        assert!(simulation.all_flow());
    });
}

#[test]
fn wrong_credentials_are_asked_about_once_a_minute() {
    let down: Down = |at, _| (20.0..620.0).contains(&at);
    for_seeds(4, |seed| {
        let mut simulation = fleet(3, 40.0, seed, outage(Outage::Credentials, down));
        simulation.run_until(620.0);
        assert!((9..=13).contains(&simulation.counts.pauses), "{}", simulation.counts.pauses);
        simulation.run_until(620.0 + 72.0 + 8.0);
        assert!(simulation.all_flow());
        assert_eq!(simulation.charged(), 0);
    });
}

/// Random spells of every kind for any replicas, kills, a key that comes and goes; then all is
/// well, and everything must flow and be settled.
#[test]
fn whatever_happened_when_all_answers_again_all_flows_and_nothing_is_left() {
    for_seeds(60, |seed| {
        let mut chance = fastrand::Rng::with_seed(seed);
        let replicas = [1, 2, 3, 8][chance.usize(..4)];
        let mut spells = Vec::new();
        let mut at = 10.0;
        while at < 300.0 {
            let long = [1.0, 3.0, 10.0, 40.0][chance.usize(..4)];
            let who: Vec<bool> = (0..replicas).map(|_| chance.bool()).collect();
            spells.push((at, at + long, chance.usize(..5), who, chance.f64()));
            at += long + [0.0, 1.0, 5.0, 30.0][chance.usize(..4)];
        }
        let end = at;
        let dependency: Dependency = Box::new(move |call, rng| {
            let spell = spells.iter().find(|(from, until, _, who, _)| {
                (*from..*until).contains(&call.at) && who[call.replica]
            });
            match spell {
                Some((_, _, kind @ 0..3, _, _)) => OUTAGES[*kind].result(),
                Some((_, _, 3, _, share)) if rng.f64() < *share => {
                    let class = [Class::Failed, Class::Failed, Class::Busy(None)][rng.usize(..3)];
                    (seconds(0.05), class)
                }
                Some(_) | None => (seconds(0.05 * rng.f64()), Class::Answered),
            }
        });
        let rate = [0.2, 5.0, 60.0][chance.usize(..3)];
        let mut simulation = fleet(replicas, rate, seed, dependency);
        for _ in 0..chance.usize(..7) {
            simulation.kill_at(5.0 + chance.f64() * (end - 5.0), chance.usize(..replicas));
        }
        for _ in 0..chance.usize(..3) {
            let from = chance.f64() * end;
            simulation.unreadable_between(from, from + chance.f64() * 40.0);
        }
        simulation.stop_arriving_at(end + 60.0);
        simulation.run_until(end + 200.0);
        assert!(simulation.all_flow(), "{:?}", simulation.log.last());
        assert_eq!(simulation.left(), 0);
        check(&simulation);
    });
}

/// The table of section 7 with its limits: `cargo test --test fleet -- --nocapture table`.
#[test]
fn the_table_of_scenarios_stays_within_its_limits() {
    println!("{}", crate::sim::scenarios::Row::head());
    for row in crate::sim::scenarios::table("", |row| println!("{row}")) {
        let replicas = match row.name {
            "one replica, outage" => 1,
            "two replicas, one sick" => 2,
            _ => 8,
        };
        let never_pauses = ["one of 8", "zone", "7 of 8", "20 %", "50 %", "poison", "slow", "two"];
        let is_healthy = never_pauses.iter().any(|name| row.name.starts_with(name));
        if is_healthy {
            assert_eq!(row.pauses, 0, "{row}");
            assert!(row.goodput > 0.79, "{row}");
        }
        if row.name == "quiet: 1 in 5 s, one sick" {
            assert!(row.goodput > 0.9, "the healthy ones are asked, too: {row}");
        }
        if row.name.contains("outage") || row.name.contains("hole") || row.name.contains("refused")
        {
            assert!(row.wasted <= replicas * 32 + 2 * row.probings, "{row}");
            assert_eq!((row.charged, row.parked), (0, 0), "{row}");
        }
    }
}
