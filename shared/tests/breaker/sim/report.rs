//! What is counted, what can be asked of a simulation, and one row of the table.

use std::collections::BTreeMap;
use std::time::Duration;

use quadrille::breaker::fleet::Phase;
use quadrille::breaker::machine::{Parking, State};

use super::{Seat, Simulation};

#[derive(Default, Clone, Debug)]
pub(crate) struct Counts {
    pub(crate) calls: u64,
    pub(crate) wasted: u64,
    pub(crate) good: u64,
    pub(crate) probes: u64,
    pub(crate) probings: u64,
    pub(crate) doubts: u64,
    pub(crate) parked: BTreeMap<u64, Parking>,
    pub(crate) given_back: u64,
    pub(crate) most_held: usize,
    pub(crate) pauses: u64,
    pub(crate) paused: Duration,
    pub(crate) writes: u64,
    pub(crate) over: u64,
    pub(crate) answered_at: Vec<Duration>,
    pub(crate) sick: u64,
    pub(crate) charged_by_the_dead: u64,
    pub(crate) probes_at_once: u32,
    pub(crate) calls_while_shut: u64,
    pub(crate) most_deliveries: u64,
}

impl Simulation {
    /// Messages not decided: in the stream or in hand.
    pub(crate) fn left(&self) -> usize {
        let calling = |seat: &Seat| seat.calling.len() + seat.replica.held().count();
        self.queue.len() + self.seats.iter().map(calling).sum::<usize>()
    }

    pub(crate) fn charged(&self) -> u64 {
        let living = self.seats.iter().map(|seat| seat.replica.machine().charged_total());
        self.counts.charged_by_the_dead + living.sum::<u64>()
    }

    pub(crate) fn paused(&self) -> Duration {
        self.counts.paused + self.paused_since.map_or(Duration::ZERO, |since| self.now - since)
    }

    pub(crate) fn all_flow(&self) -> bool {
        self.key.0.phase == Phase::Flowing
            && self.seats.iter().all(|seat| *seat.replica.machine().state() == State::Flowing)
    }

    pub(crate) fn first_good_after(&self, at: f64) -> Option<f64> {
        let good = self.counts.answered_at.iter().map(Duration::as_secs_f64);
        good.filter(|good| *good > at).reduce(f64::min).map(|good| good - at)
    }

    /// Good answers between two moments.
    pub(crate) fn good_between(&self, from: f64, until: f64) -> usize {
        let good = self.counts.answered_at.iter().map(Duration::as_secs_f64);
        good.filter(|good| (from..until).contains(good)).count()
    }
}

#[allow(dead_code)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) goodput: f64,
    pub(crate) wasted: u64,
    pub(crate) charged: u64,
    pub(crate) parked: usize,
    pub(crate) pauses: u64,
    pub(crate) probings: u64,
    text: String,
}

#[allow(dead_code)]
impl Row {
    pub(crate) fn head() -> String {
        let columns = "calls wasted good goodput probes doubts charged parked back deliver held \
                       left pauses paused writes over 1stgood";
        let columns = columns.split(' ').map(|column| format!("{column:>8}"));
        format!("{:30}{}", "scenario", columns.collect::<String>())
    }

    pub(crate) fn of(name: &'static str, simulation: &Simulation, offered: f64, ends: f64) -> Self {
        let counts = &simulation.counts;
        let parked = counts.parked.values().filter(|why| **why == Parking::Attempts).count();
        let goodput = counts.good as f64 / offered.max(1.0);
        let first_good = (ends > 0.0).then(|| simulation.first_good_after(ends)).flatten();
        let columns = [
            counts.calls.to_string(),
            counts.wasted.to_string(),
            counts.good.to_string(),
            format!("{goodput:.2}"),
            counts.probes.to_string(),
            counts.doubts.to_string(),
            simulation.charged().to_string(),
            parked.to_string(),
            counts.given_back.to_string(),
            counts.most_deliveries.to_string(),
            counts.most_held.to_string(),
            simulation.left().to_string(),
            counts.pauses.to_string(),
            format!("{:.0}", simulation.paused().as_secs_f64()),
            counts.writes.to_string(),
            counts.over.to_string(),
            first_good.map_or("–".to_owned(), |seconds| format!("{seconds:.1}")),
        ];
        let text = format!("{name:30}{}", columns.map(|column| format!("{column:>8}")).concat());
        Self {
            name,
            goodput,
            wasted: counts.wasted,
            charged: simulation.charged(),
            parked,
            pauses: counts.pauses,
            probings: counts.probings,
            text,
        }
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}
