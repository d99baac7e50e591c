//! What dependencies do, and the table of section 7.

use quadrille::breaker::Settings;
use quadrille::breaker::class::Class;

pub(crate) use super::report::Row;
use super::{Dependency, Setup, Simulation, seconds};

/// An answer after 50 ms on average.
fn fine(rng: &mut fastrand::Rng) -> (std::time::Duration, Class) {
    slow(rng, 0.05)
}

fn slow(rng: &mut fastrand::Rng, mean: f64) -> (std::time::Duration, Class) {
    (seconds(-(1.0 - rng.f64()).ln() * mean), Class::Answered)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outage {
    /// 500 within 10 ms.
    Fast,
    /// No answer until the time-out.
    Hole,
    /// Connection refused.
    Refused,
    /// 401.
    Credentials,
}

impl Outage {
    pub(crate) fn result(self) -> (std::time::Duration, Class) {
        match self {
            Self::Fast => (seconds(0.01), Class::Failed),
            Self::Hole => (seconds(2.0), Class::Failed),
            Self::Refused => (seconds(0.001), Class::NotSent),
            Self::Credentials => (seconds(0.01), Class::Credentials),
        }
    }
}

pub(crate) fn outage(kind: Outage, is_down: fn(f64, usize) -> bool) -> Dependency {
    Box::new(
        move |call, rng| {
            if is_down(call.at, call.replica) { kind.result() } else { fine(rng) }
        },
    )
}

pub(crate) fn random_errors(share: f64) -> Dependency {
    Box::new(
        move |_, rng| {
            if rng.f64() < share { (seconds(0.05), Class::Failed) } else { fine(rng) }
        },
    )
}

/// Messages that `fails` says yes to always fail.
pub(crate) fn poison(fails: fn(u64) -> bool, class: Class) -> Dependency {
    Box::new(move |call, rng| if fails(call.message) { (seconds(0.05), class) } else { fine(rng) })
}

pub(crate) fn always(class: Class) -> Dependency {
    Box::new(move |_, rng| (fine(rng).0, class))
}

fn slower(factor: f64) -> Dependency {
    Box::new(move |call, rng| {
        let slow_now = (60.0..240.0).contains(&call.at);
        slow(rng, if slow_now { 0.05 * factor } else { 0.05 })
    })
}

fn quarter(is_down: fn(f64, usize) -> bool) -> Dependency {
    Box::new(move |call, rng| {
        if is_down(call.at, call.replica) {
            Outage::Fast.result()
        } else if call.at >= 305.0 && call.busy > 16 {
            (seconds(0.005), Class::Busy(None))
        } else {
            fine(rng)
        }
    })
}

pub(crate) fn never(_: f64, _: usize) -> bool {
    false
}

pub(crate) fn setup(replicas: usize, rate: f64, backlog: u64, seed: u64) -> Setup {
    Setup { replicas, rate, backlog, seed, settings: Settings::default() }
}

type Down = fn(f64, usize) -> bool;

/// Runs the table of section 7 and prints it.
#[allow(dead_code)]
pub(crate) fn table(wanted: &str, each: impl Fn(&Row)) -> Vec<Row> {
    let ten: Down = |at, _| (60.0..660.0).contains(&at);
    let early: Down = |at, _| (5.0..605.0).contains(&at);
    let one: Down = |at, who| (60.0..360.0).contains(&at) && who == 3;
    let zone: Down = |at, who| (60.0..360.0).contains(&at) && who < 3;
    let seven: Down = |at, who| (60.0..360.0).contains(&at) && who < 7;
    let flap: Down = |at, _| (60.0..240.0).contains(&at) && ((at / 15.0) as u64).is_multiple_of(2);
    let quarters: Down = |at, _| (5.0..305.0).contains(&at);
    let quiet: Down = |at, _| (60.0..1260.0).contains(&at);
    let quiet_one: Down = |at, who| (60.0..660.0).contains(&at) && who == 2;
    let five: Down = |at, _| (60.0..360.0).contains(&at);
    let first: Down = |at, who| (60.0..360.0).contains(&at) && who == 0;
    let run =
        |name: &'static str, replicas, rate, backlog, down: Down, dependency, end, ends: f64| {
            if !name.contains(wanted) {
                return None;
            }
            let mut simulation =
                Simulation::new(setup(replicas, rate, backlog, 7), dependency, down);
            simulation.run_until(end);
            let row = Row::of(name, &simulation, backlog as f64 + rate * end, ends);
            each(&row);
            Some(row)
        };
    let fast = |down| outage(Outage::Fast, down);
    let hole = outage(Outage::Hole, ten);
    let refused = outage(Outage::Refused, ten);
    let zone_hole = outage(Outage::Hole, zone);
    let fails = |fails| poison(fails, Class::Failed);
    let fifth: fn(u64) -> bool = |message| message.wrapping_mul(2_654_435_761) % 1000 < 200;
    let most: fn(u64) -> bool = |message| message.wrapping_mul(2_654_435_761) % 1000 < 600;
    let thousandth: fn(u64) -> bool = |message| message % 1000 == 7;
    let rows = [
        run("fast outage 10 min, 100/s", 8, 100.0, 0, ten, fast(ten), 900.0, 660.0),
        run("black hole 10 min, 100/s", 8, 100.0, 0, ten, hole, 900.0, 660.0),
        run("refused 10 min, 100/s", 8, 100.0, 0, ten, refused, 900.0, 660.0),
        run("fast outage, backlog 20000", 8, 0.0, 20_000, early, fast(early), 900.0, 605.0),
        run("one of 8 sick, 100/s", 8, 100.0, 0, one, fast(one), 480.0, 360.0),
        run("zone 3 of 8 sick, 100/s", 8, 100.0, 0, zone, zone_hole, 480.0, 360.0),
        run("7 of 8 sick, 100/s", 8, 100.0, 0, seven, fast(seven), 480.0, 360.0),
        run("20 % errors, 400/s", 8, 400.0, 0, never, random_errors(0.2), 200.0, 0.0),
        run("50 % errors, 400/s", 8, 400.0, 0, never, random_errors(0.5), 200.0, 0.0),
        run("80 % errors, 400/s", 8, 400.0, 0, never, random_errors(0.8), 200.0, 0.0),
        run("95 % errors, 400/s", 8, 400.0, 0, never, random_errors(0.95), 200.0, 0.0),
        run("poison 1 in 1000, 400/s", 8, 400.0, 0, never, fails(thousandth), 300.0, 0.0),
        run("20 % of messages always fail", 8, 100.0, 0, never, fails(fifth), 600.0, 0.0),
        run("60 % of messages always fail", 8, 100.0, 0, never, fails(most), 600.0, 0.0),
        run("flapping 15 s, 100/s", 8, 100.0, 0, flap, fast(flap), 420.0, 240.0),
        run("slow x 20, 100/s", 8, 100.0, 0, never, slower(20.0), 420.0, 240.0),
        run("quarter capacity, backlog", 8, 0.0, 20_000, quarters, quarter(quarters), 600.0, 305.0),
        run("quiet: 1 a minute, outage", 8, 1.0 / 60.0, 0, quiet, fast(quiet), 2400.0, 1260.0),
        run("quiet: 1 in 5 s, one sick", 8, 0.2, 0, quiet_one, fast(quiet_one), 1200.0, 660.0),
        run("one replica, outage", 1, 50.0, 0, five, fast(five), 600.0, 360.0),
        run("two replicas, one sick", 2, 50.0, 0, first, fast(first), 600.0, 360.0),
    ];
    rows.into_iter().flatten().collect()
}
