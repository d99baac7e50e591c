//! The command line.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::Parser;

const EXAMPLES: &str = "\
Sides:
  raw      four processes in plain async-nats: six guarded publishes and four pulls an order
  reading  raw, but each process reads the event it acts on and writes its own, as JSON
  product  the same four processes as workers of Quadrille, whose steps have no outside effects
  flow     the real four workers, with stock, payments and labels

Examples (ops/bench/run finds the server and builds the binaries first):
  ops/bench/run
  ops/bench/run --json figures.json --check
  ops/bench/run --quick
  ops/bench/run breaker --help
  ops/bench/run --sides raw,reading,product
  ops/bench/run --sides raw,product --in-flight 64 --rates 200 --threads 2";

/// Measures Quadrille against the same protocol written by hand, in one run, interleaved.
#[derive(Debug, Clone, Parser)]
#[command(name = "bench", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// Rounds of throughput; every side is measured at every number in flight in each of them
    #[arg(long, default_value = "5", value_name = "N")]
    pub(crate) rounds: NonZeroU32,
    /// Orders of one throughput measurement; a quarter of it for the flow
    #[arg(long, default_value = "4000", value_name = "N")]
    pub(crate) orders: NonZeroU32,
    /// Messages a process has in hand at once, the placing one included; the best number counts
    #[arg(long, default_value = "16,64,256", value_delimiter = ',', value_name = "N,…")]
    pub(crate) in_flight: Vec<NonZeroU32>,
    /// Orders per second at which times are measured; 200 is always among them
    #[arg(long, default_value = "50,200,500", value_delimiter = ',', value_name = "N,…")]
    pub(crate) rates: Vec<NonZeroU32>,
    /// Seconds at each rate, spread over as many slices as there are rounds, at most three
    #[arg(long, default_value = "15", value_name = "N")]
    pub(crate) seconds: NonZeroU32,
    /// What to measure; without the flow or the product, the criteria about it are left out
    #[arg(long, default_value = "raw,product,flow", value_delimiter = ',', value_name = "SIDE,…")]
    pub(crate) sides: Vec<Side>,
    /// Threads of each worker process, on every side
    #[arg(long, default_value = "1", value_name = "N")]
    pub(crate) threads: NonZeroU32,
    /// Few orders, one round: only shows that everything runs
    #[arg(long, conflicts_with_all = ["rounds", "orders", "in_flight", "rates", "seconds"])]
    quick: bool,
    /// Writes the figures to this file, too
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Exit code 1 unless every criterion is met
    #[arg(long)]
    pub(crate) check: bool,
    /// Server to measure on
    #[arg(long, env = "QUADRILLE_NATS_SERVER", default_value = "nats-server", value_name = "FILE")]
    pub(crate) nats_server: PathBuf,
    /// Folder of the workers' and the sandbox's binaries; without it, the folder of this one
    #[arg(long, env = "QUADRILLE_BIN_DIR", value_name = "FOLDER")]
    pub(crate) bin_dir: Option<PathBuf>,
}

#[derive(Debug, Clone, clap::Subcommand)]
pub(crate) enum Command {
    Breaker(crate::breaker::Arguments),
}

/// What is measured against what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Side {
    Raw,
    Reading,
    Product,
    Flow,
}

impl Side {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Reading => "reading",
            Self::Product => "product",
            Self::Flow => "flow",
        }
    }
}

/// The rate of the criteria.
pub(crate) const RATE: u32 = 200;

impl Args {
    /// Fills in what `--quick` means, and what is always measured.
    pub(crate) fn complete(mut self) -> Self {
        if self.quick {
            self.rounds = NonZeroU32::MIN;
            self.orders = number(200);
            self.in_flight = vec![number(16)];
            self.rates = vec![number(RATE)];
            self.seconds = NonZeroU32::MIN;
        }
        self.rates.push(number(RATE));
        self.sides.sort_unstable();
        for list in [&mut self.rates, &mut self.in_flight] {
            list.sort_unstable();
            list.dedup();
        }
        self.sides.dedup();
        self
    }
}

fn number(value: u32) -> NonZeroU32 {
    NonZeroU32::new(value).expect("no caller passes zero")
}
