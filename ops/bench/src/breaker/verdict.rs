//! What a row has cost, against what it may cost.

use quadrille::breaker::fleet::Phase;
use serde::Serialize;

use super::args::{Arguments, Design};
use super::history::Step;
use super::load::ODD;
use super::play::Observed;
use super::row::{CONCURRENCY, Pause, Row, Trouble};
use crate::figures::round;

/// Beside what is in flight: the run that makes a replica doubt, twice, and its single tries.
const BESIDE: u64 = 24;
/// Calls of one probe.
const PROBE: u64 = 2;
const FIRST_GOOD_MS: u64 = 20_000;

/// One row with one design. Times in milliseconds; null where there is nothing to measure.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) design: &'static str,
    /// Calls while nobody, or not this replica, could be answered.
    pub(crate) wasted_calls: Option<u64>,
    pub(crate) wasted_limit: Option<u64>,
    /// Deliveries beyond the first of each message.
    pub(crate) deliveries_burnt: u64,
    /// Messages set aside that would have been answered.
    pub(crate) wrongly_parked: u64,
    /// Messages set aside that never would have been, and how many of them there were.
    pub(crate) rightly_parked: u64,
    pub(crate) always_failing: u64,
    pub(crate) paused_seconds: f64,
    pub(crate) probes: u64,
    /// From the beginning of the outage until the fleet's key said paused.
    pub(crate) detect_ms: Option<u64>,
    /// From the end of the outage until the first outcome.
    pub(crate) first_good_ms: Option<u64>,
    /// Answered, of the orders that could be answered.
    pub(crate) goodput: f64,
    pub(crate) orders: u64,
    pub(crate) met: bool,
    /// What was missed.
    pub(crate) why: Vec<String>,
    /// What the fleet's key said, and when.
    pub(crate) key: Vec<Step>,
}

impl Scenario {
    pub(crate) fn of(args: &Arguments, row: &'static Row, design: Design, seen: Observed) -> Self {
        let wrongly = seen.parked.iter().filter(|id| !id.starts_with(ODD)).count() as u64;
        let each = (CONCURRENCY as u64 + BESIDE) * row.replicas as u64;
        let limit = each * row.outages(args.form()) + PROBE * seen.probes;
        let could = seen.placed.saturating_sub(seen.odd).max(1) as f64;
        let milliseconds = |time: std::time::Duration| time.as_millis() as u64;
        let mut scenario = Self {
            name: row.name,
            design: design.name(),
            wasted_calls: row.wastes().then_some(seen.wasted),
            wasted_limit: row.wastes().then_some(limit),
            deliveries_burnt: seen.burnt,
            wrongly_parked: wrongly,
            rightly_parked: seen.parked.len() as u64 - wrongly,
            always_failing: seen.odd as u64,
            paused_seconds: round(seen.paused.as_secs_f64()),
            probes: seen.probes,
            detect_ms: seen.detect.map(milliseconds),
            first_good_ms: seen.first_good.map(milliseconds),
            goodput: round(seen.answered as f64 / could),
            orders: seen.placed as u64,
            met: true,
            why: seen.wrong,
            key: seen.key,
        };
        scenario.judge(row, design, seen.last_phase);
        scenario.met = scenario.why.is_empty();
        scenario
    }

    /// A row that could not be measured keeps no limit, and the others go on.
    pub(crate) fn failed(row: &'static Row, design: Design, error: &anyhow::Error) -> Self {
        Self {
            name: row.name,
            design: design.name(),
            wasted_calls: None,
            wasted_limit: None,
            deliveries_burnt: 0,
            wrongly_parked: 0,
            rightly_parked: 0,
            always_failing: 0,
            paused_seconds: 0.0,
            probes: 0,
            detect_ms: None,
            first_good_ms: None,
            goodput: 0.0,
            orders: 0,
            met: false,
            why: vec![format!("not measured: {error:#}")],
            key: Vec::new(),
        }
    }

    fn judge(&mut self, row: &Row, design: Design, last: Phase) {
        let mut missed = |is: bool, what: String| {
            if is {
                self.why.push(what);
            }
        };
        missed(self.wrongly_parked > 0, format!("{} messages wrongly parked", self.wrongly_parked));
        if let (Some(wasted), Some(limit)) = (self.wasted_calls, self.wasted_limit) {
            missed(wasted > limit, format!("{wasted} wasted calls, limit {limit}"));
        }
        let burnt = self.deliveries_burnt;
        missed(row.holds_suffice() && burnt > 0, format!("{burnt} deliveries burnt, limit 0"));
        if row.is_outage() {
            let first = self.first_good_ms;
            let late = first.is_none_or(|first| first > FIRST_GOOD_MS);
            let said = first.map_or("never".to_owned(), |first| format!("after {first} ms"));
            missed(late, format!("first answered {said}, limit {FIRST_GOOD_MS} ms"));
        }
        if design != Design::Full {
            return;
        }
        let paused = self.paused_seconds;
        match row.pause {
            Pause::Never => missed(paused > 0.0, format!("paused for {paused} s, though answered")),
            Pause::Must => missed(paused == 0.0, "the fleet never paused".to_owned()),
            Pause::May => {}
        }
        // What is suspected while calls still fail may be contradicted a moment later.
        let is_over = !matches!(row.trouble, Trouble::Random(_));
        missed(is_over && last != Phase::Flowing, format!("the key says {last:?} at the end"));
    }
}
