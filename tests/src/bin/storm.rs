//! The replica storm at any length.

use clap::Parser;
use tests::storm;

/// Three replicas of every worker, killed throughout, while orders pour in; checks every ending as
/// it arrives, and every invariant at the end.
#[derive(Debug, Parser)]
#[command(name = "storm")]
struct Arguments {
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(100..))]
    orders: u32,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let Arguments { orders } = Arguments::parse();
    println!("{}", storm::run(orders as usize).await);
}
