//! What was found: as JSON, as a table, and against what was promised.

mod table;

use std::collections::BTreeMap;

use harness::process::Usage;
use serde::Serialize;

use crate::args::{Args, RATE, Side};
use crate::figures::{Latency, median, round};
use crate::run::Results;

pub(crate) use table::print;

#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) server: String,
    pub(crate) raw: Option<Figures>,
    pub(crate) reading: Option<Figures>,
    pub(crate) product: Option<Figures>,
    pub(crate) flow: Option<Figures>,
    /// Of orders per second, product to raw: the median of the rounds' ratios.
    pub(crate) ratio: Option<f64>,
    pub(crate) ratios: Vec<f64>,
    /// The same, product to reading.
    pub(crate) ratios_to_reading: Vec<f64>,
    /// An atomic batch of two messages on `STOCK`, at 200 a second.
    pub(crate) stock_batch_ms: Option<Latency>,
    pub(crate) processes: Vec<Weight>,
    pub(crate) criteria: Vec<Criterion>,
}

#[derive(Serialize)]
pub(crate) struct Figures {
    /// At the best number in flight, the median of the rounds.
    pub(crate) orders_per_second: f64,
    pub(crate) in_flight: u32,
    /// Orders per second at each number in flight, the median of the rounds.
    pub(crate) by_in_flight: BTreeMap<u32, f64>,
    /// From due to closed, at 200 orders a second.
    pub(crate) latency_ms: Latency,
    /// The same at each rate.
    pub(crate) by_rate: BTreeMap<u32, Latency>,
    /// CPU time of an order at the best number in flight, of all processes.
    pub(crate) cpu_ms_per_order: f64,
    pub(crate) bytes_per_order: f64,
    pub(crate) messages_per_order: f64,
}

#[derive(Serialize)]
pub(crate) struct Weight {
    pub(crate) side: &'static str,
    pub(crate) name: &'static str,
    /// In all measurements of this side together, set-up and warm-up left out.
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_rss_mb: f64,
    /// In throughput, at the best number in flight.
    pub(crate) cpu_ms_per_order: f64,
}

#[derive(Serialize)]
pub(crate) struct Criterion {
    pub(crate) what: String,
    pub(crate) value: f64,
    pub(crate) limit: f64,
    pub(crate) met: bool,
}

impl Report {
    pub(crate) fn of(args: &Args, results: &Results, server: String) -> Self {
        let figures = |side| args.sides.contains(&side).then(|| Figures::of(results, side));
        let (raw, product) = (figures(Side::Raw), figures(Side::Product));
        let reading = figures(Side::Reading);
        let ratios = ratios(results, product.as_ref(), Side::Raw, raw.as_ref());
        let to_reading = self::ratios(results, product.as_ref(), Side::Reading, reading.as_ref());
        let mut report = Self {
            server,
            ratio: (!ratios.is_empty()).then(|| round(median(&ratios))),
            ratios,
            ratios_to_reading: to_reading,
            stock_batch_ms: (!results.stock_batches.is_empty())
                .then(|| Latency::of(results.stock_batches.clone())),
            raw,
            reading,
            product,
            flow: figures(Side::Flow),
            processes: Vec::new(),
            criteria: Vec::new(),
        };
        report.processes = report.weights(results);
        report.criteria = report.criteria();
        report
    }

    pub(crate) fn figures(&self, side: Side) -> Option<&Figures> {
        match side {
            Side::Raw => self.raw.as_ref(),
            Side::Reading => self.reading.as_ref(),
            Side::Product => self.product.as_ref(),
            Side::Flow => self.flow.as_ref(),
        }
    }

    fn weights(&self, results: &Results) -> Vec<Weight> {
        let weight = |((side, name), usage): (&(Side, &'static str), &Usage)| {
            let in_flight = self.figures(*side)?.in_flight;
            Some(Weight {
                side: side.name(),
                name,
                cpu_seconds: round(usage.cpu_seconds),
                peak_rss_mb: round(usage.peak_rss_mb),
                cpu_ms_per_order: round(median(&cpu(results, *side, in_flight, name))),
            })
        };
        results.usage.iter().filter_map(weight).collect()
    }

    fn criteria(&self) -> Vec<Criterion> {
        let mut criteria = Vec::new();
        if let Some(ratio) = self.ratio {
            let what = "orders/s, product to raw".to_owned();
            criteria.push(Criterion { what, value: ratio, limit: 0.7, met: ratio >= 0.7 });
        }
        if let (Some(raw), Some(product)) = (&self.raw, &self.product) {
            let what = "p50, product to raw".to_owned();
            criteria.push(at_most(what, product.latency_ms.p50 / raw.latency_ms.p50, 3.0));
        }
        if let (Some(flow), Some(batch)) = (&self.flow, self.stock_batch_ms) {
            if let Some(product) = &self.product {
                let floor = product.latency_ms.p50 + batch.p50;
                let what = "p50, flow to product and a stock batch".to_owned();
                criteria.push(at_most(what, flow.latency_ms.p50 / floor, 3.0));
            }
            let what = "flow, p99 to p50".to_owned();
            criteria.push(at_most(what, flow.latency_ms.p99 / flow.latency_ms.p50, 5.0));
        }
        let workers = self.processes.iter().filter(|weight| {
            let is_worker = schemas::order_fulfilment::FLOW.row(weight.name).is_some();
            is_worker && [Side::Product, Side::Flow].map(Side::name).contains(&weight.side)
        });
        let heaviest = workers.max_by(|one, other| one.peak_rss_mb.total_cmp(&other.peak_rss_mb));
        if let Some(Weight { side, name, peak_rss_mb, .. }) = heaviest {
            let what = format!("peak MB, the heaviest worker ({side}: {name})");
            criteria.push(at_most(what, *peak_rss_mb, 48.0));
        }
        criteria
    }
}

fn at_most(what: String, value: f64, limit: f64) -> Criterion {
    Criterion { what, value: round(value), limit, met: value <= limit }
}

/// One ratio for each round, product to another side, because a machine that slows down slows both
/// sides of a round; none if one of them was not measured.
fn ratios(
    results: &Results,
    product: Option<&Figures>,
    side: Side,
    other: Option<&Figures>,
) -> Vec<f64> {
    let (Some(product), Some(other)) = (product, other) else { return Vec::new() };
    let product = rates(results, Side::Product, product.in_flight);
    let other = rates(results, side, other.in_flight);
    product.iter().zip(&other).map(|(product, other)| round(product / other)).collect()
}

/// Orders per second by round.
fn rates(results: &Results, side: Side, in_flight: u32) -> Vec<f64> {
    let of = results.rushes.iter().filter(|rush| rush.side == side && rush.in_flight == in_flight);
    of.map(|rush| rush.orders_per_second).collect()
}

fn cpu(results: &Results, side: Side, in_flight: u32, name: &str) -> Vec<f64> {
    let of = results.rushes.iter().filter(|rush| rush.side == side && rush.in_flight == in_flight);
    of.filter_map(|rush| rush.cpu_ms_per_order.get(name).copied()).collect()
}

impl Figures {
    fn of(results: &Results, side: Side) -> Self {
        let numbers = results.rushes.iter().filter(|rush| rush.side == side);
        let by_in_flight: BTreeMap<_, _> = numbers
            .map(|rush| (rush.in_flight, median(&rates(results, side, rush.in_flight)).round()))
            .collect();
        let best = by_in_flight.iter().max_by(|one, other| one.1.total_cmp(other.1));
        let (in_flight, orders_per_second) = best.map_or((0, 0.0), |(at, rate)| (*at, *rate));
        let by_rate: BTreeMap<_, _> = results
            .times
            .iter()
            .filter(|((of, _), _)| *of == side)
            .map(|((_, rate), times)| (*rate, Latency::of(times.clone())))
            .collect();
        let names = results.usage.keys().filter(|(of, _)| *of == side);
        let size = results.sizes.get(&side);
        Self {
            orders_per_second,
            in_flight,
            by_in_flight,
            latency_ms: by_rate.get(&RATE).copied().unwrap_or_default(),
            by_rate,
            cpu_ms_per_order: round(
                names.map(|(_, name)| median(&cpu(results, side, in_flight, name))).sum(),
            ),
            bytes_per_order: size.map_or(0.0, |size| size.bytes.round()),
            messages_per_order: size.map_or(0.0, |size| round(size.messages)),
        }
    }
}
