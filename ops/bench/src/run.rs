//! The order of the measurements: all sides in turn, within minutes, so that the other work of this
//! machine slows all of them equally.

use std::collections::BTreeMap;
use std::time::Duration;

use harness::process::Usage;

use crate::args::{Args, RATE, Side};
use crate::raw::driver::{Driver, Size};
use crate::raw::stock::batches;
use crate::stage::Stage;

/// Orders before a throughput measurement; after them, connections, buffers and pulls are steady.
const WARM_UP: usize = 100;
/// In hand at once while times are measured: the default of workers.
const USUAL_IN_FLIGHT: u32 = 64;
const MOST_SLICES: u32 = 3;
/// Orders in the log at which a long measurement says how it goes.
const MILESTONES: [usize; 5] = [10_000, 100_000, 250_000, 500_000, 1_000_000];

#[derive(Default)]
pub(crate) struct Results {
    pub(crate) rushes: Vec<Rush>,
    pub(crate) times: BTreeMap<(Side, u32), Vec<Duration>>,
    pub(crate) stock_batches: Vec<Duration>,
    /// CPU seconds of all measurements together, and the highest peak.
    pub(crate) usage: BTreeMap<(Side, &'static str), Usage>,
    pub(crate) sizes: BTreeMap<Side, Size>,
}

/// One measurement of throughput.
pub(crate) struct Rush {
    pub(crate) side: Side,
    pub(crate) in_flight: u32,
    pub(crate) orders_per_second: f64,
    pub(crate) cpu_ms_per_order: BTreeMap<&'static str, f64>,
}

pub(crate) async fn run(args: &Args) -> anyhow::Result<Results> {
    let mut results = Results::default();
    let rounds = args.rounds.get();
    for round in 0..rounds {
        for in_flight in &args.in_flight {
            // The order is reversed each time, so that no side is always first.
            for side in in_turn(&args.sides, round) {
                let rush = results.rush(args, side, in_flight.get()).await?;
                eprintln!(
                    "round {} of {rounds}: {:7} {:6.0} orders/s with {in_flight} in flight",
                    round + 1,
                    side.name(),
                    rush.orders_per_second
                );
                results.rushes.push(rush);
            }
        }
    }
    let slices = rounds.min(MOST_SLICES);
    for slice in 0..slices {
        eprintln!("times, slice {} of {slices}: {}", slice + 1, rates(args));
        for side in in_turn(&args.sides, slice) {
            results.paced(args, side, args.seconds.get() as f64 / f64::from(slices)).await?;
        }
        if args.sides.contains(&Side::Flow) {
            results.stock(args, args.seconds.get() as f64 / f64::from(slices)).await?;
        }
    }
    Ok(results)
}

fn in_turn(sides: &[Side], round: u32) -> Vec<Side> {
    let forth = sides.iter().copied();
    if round.is_multiple_of(2) { forth.collect() } else { forth.rev().collect() }
}

/// Says how fast orders are closed, and how much memory the broker takes, as the log grows.
fn milestones(stage: &Stage, side: Side) -> impl FnMut(usize, Duration) {
    let mut last = (0, Duration::ZERO);
    move |closed, took| {
        if !MILESTONES.contains(&closed) {
            return;
        }
        let rate = (closed - last.0) as f64 / (took - last.1).as_secs_f64();
        let memory = stage.server_peak_mb().unwrap_or_default();
        eprintln!(
            "  {}: {closed} orders in the log, {rate:.0} orders/s since {}, the broker's peak is \
             {memory:.0} MB",
            side.name(),
            last.0,
        );
        last = (closed, took);
    }
}

fn rates(args: &Args) -> String {
    let rates: Vec<_> = args.rates.iter().map(ToString::to_string).collect();
    format!("{} orders/s", rates.join(", "))
}

impl Results {
    async fn rush(&mut self, args: &Args, side: Side, in_flight: u32) -> anyhow::Result<Rush> {
        let orders = args.orders.get() as usize;
        let orders = if side == Side::Flow { orders.div_ceil(4) } else { orders };
        let mut stage = Stage::set(args, side, in_flight).await?;
        let measured = async {
            let driver = Driver::connect(&stage.url()).await?;
            driver.rush("warm-up-", WARM_UP.min(orders), in_flight as usize, |_, _| ()).await?;
            let before = stage.usage();
            let seen = milestones(&stage, side);
            let took = driver.rush("", orders, in_flight as usize, seen).await?;
            let used = self.add(side, before, stage.usage());
            self.sizes.insert(side, driver.size(orders + WARM_UP.min(orders)).await?);
            anyhow::Ok((took, used))
        };
        let (took, used) = measured.await.map_err(|error| stage.explain(error))?;
        let per_order =
            used.into_iter().map(|(name, seconds)| (name, seconds * 1_000.0 / orders as f64));
        Ok(Rush {
            side,
            in_flight,
            orders_per_second: orders as f64 / took.as_secs_f64(),
            cpu_ms_per_order: per_order.collect(),
        })
    }

    async fn paced(&mut self, args: &Args, side: Side, seconds: f64) -> anyhow::Result<()> {
        let mut stage = Stage::set(args, side, USUAL_IN_FLIGHT).await?;
        let measured = async {
            let driver = Driver::connect(&stage.url()).await?;
            driver.rush("warm-up-", WARM_UP, USUAL_IN_FLIGHT as usize, |_, _| ()).await?;
            let before = stage.usage();
            for rate in args.rates.iter().map(|rate| rate.get()) {
                let orders = (seconds * f64::from(rate)).ceil() as usize;
                let times = driver.paced(&format!("at-{rate}-"), rate, orders).await?;
                self.times.entry((side, rate)).or_default().extend(times);
            }
            self.add(side, before, stage.usage());
            anyhow::Ok(())
        };
        measured.await.map_err(|error| stage.explain(error))?;
        Ok(())
    }

    async fn stock(&mut self, args: &Args, seconds: f64) -> anyhow::Result<()> {
        let mut stage = Stage::bare(args).await?;
        let count = (seconds * f64::from(RATE)).ceil() as usize;
        let measured = batches(&stage.url(), RATE, count).await;
        self.stock_batches.extend(measured.map_err(|error| stage.explain(error))?);
        Ok(())
    }

    /// Adds what a measurement has used, and returns its CPU seconds.
    fn add(
        &mut self,
        side: Side,
        before: Vec<(&'static str, Usage)>,
        after: Vec<(&'static str, Usage)>,
    ) -> Vec<(&'static str, f64)> {
        let spent = before.into_iter().zip(after).map(|((name, before), (_, after))| {
            let cpu_seconds = after.cpu_seconds - before.cpu_seconds;
            let sum = self.usage.entry((side, name)).or_default();
            sum.cpu_seconds += cpu_seconds;
            sum.peak_rss_mb = sum.peak_rss_mb.max(after.peak_rss_mb);
            (name, cpu_seconds)
        });
        spent.collect()
    }
}
