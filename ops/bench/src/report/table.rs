//! The table on standard output.

use super::{Figures, Report};
use crate::args::Side;
use crate::figures::median;

const SIDES: [Side; 4] = [Side::Raw, Side::Reading, Side::Product, Side::Flow];

/// Prints everything that was found.
pub(crate) fn print(report: &Report) {
    println!("{}", report.server);
    throughput(report);
    times(report);
    weights(report);
    criteria(report);
}

fn sides(report: &Report) -> impl Iterator<Item = (&'static str, &Figures)> {
    SIDES.into_iter().filter_map(|side| Some((side.name(), report.figures(side)?)))
}

fn throughput(report: &Report) {
    println!(
        "\n{:8} {:>9} {:>10} {:>13} {:>9} {:>7}   orders/s by number in flight",
        "", "orders/s", "in flight", "CPU ms/order", "messages", "bytes"
    );
    for (side, figures) in sides(report) {
        let all = figures.by_in_flight.iter().map(|(at, rate)| format!("{at}: {rate:.0}"));
        println!(
            "{side:8} {:9.0} {:10} {:13.3} {:9.2} {:7.0}   {}",
            figures.orders_per_second,
            figures.in_flight,
            figures.cpu_ms_per_order,
            figures.messages_per_order,
            figures.bytes_per_order,
            all.collect::<Vec<_>>().join("  ")
        );
    }
    for (other, ratios) in [("raw", &report.ratios), ("reading", &report.ratios_to_reading)] {
        let rounds: Vec<_> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
        if !ratios.is_empty() {
            let ratio = median(ratios);
            println!("product to {other}: {ratio:.2} (the median of {})", rounds.join(", "));
        }
    }
}

fn times(report: &Report) {
    println!("\nms from due to closed   {:>9} {:>9} {:>9}", "p50", "p99", "p99.9");
    for (side, figures) in sides(report) {
        for (rate, latency) in &figures.by_rate {
            println!(
                "{side:8} at {rate:5} a second {:9.2} {:9.2} {:9.2}",
                latency.p50, latency.p99, latency.p999
            );
        }
    }
    if let Some(batch) = report.stock_batch_ms {
        let (p50, p99, p999) = (batch.p50, batch.p99, batch.p999);
        println!("a stock batch of two     {p50:9.2} {p99:9.2} {p999:9.2}");
    }
}

fn weights(report: &Report) {
    println!(
        "\n{:8} {:24} {:>12} {:>13} {:>12}",
        "", "process", "CPU seconds", "CPU ms/order", "peak RSS MB"
    );
    for weight in &report.processes {
        println!(
            "{:8} {:24} {:12.2} {:13.3} {:12.1}",
            weight.side,
            weight.name,
            weight.cpu_seconds,
            weight.cpu_ms_per_order,
            weight.peak_rss_mb
        );
    }
    if report.processes.is_empty() {
        println!("this system has no /proc, so processes were not measured");
    }
}

fn criteria(report: &Report) {
    println!();
    for criterion in &report.criteria {
        let verdict = if criterion.met { "met   " } else { "MISSED" };
        println!(
            "{verdict} {}: {:.2} (limit {})",
            criterion.what, criterion.value, criterion.limit
        );
    }
}
