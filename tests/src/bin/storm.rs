//! The replica storm and the broker's, at any length.

use std::time::Duration;

use clap::Parser;
use tests::weather::Fault;
use tests::{storm, weather};

/// Three replicas of every worker, killed throughout, while orders pour in; checks every ending as
/// it arrives, and every invariant at the end. With `--broker`, the workers are left alone, and one
/// of three servers after the other is not.
#[derive(Debug, Parser)]
#[command(name = "storm")]
struct Arguments {
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(100..))]
    orders: u32,
    /// What happens to the broker
    #[arg(long)]
    broker: Option<Fault>,
    /// How often, with `--broker`
    #[arg(long, default_value_t = 20)]
    faults: usize,
    /// Seconds from one fault to the next
    #[arg(long, default_value_t = 20)]
    every: u64,
    /// Orders a second, with `--broker`
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let Arguments { orders, broker, faults, every, rate } = Arguments::parse();
    match broker {
        None => println!("{}", storm::run(orders as usize).await),
        Some(fault) => {
            println!("{}", weather::run(fault, faults, Duration::from_secs(every), rate).await);
        }
    }
}
