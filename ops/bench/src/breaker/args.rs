//! The command line of `breaker`.

use std::num::NonZeroU32;
use std::path::PathBuf;

use anyhow::bail;
use clap::Args;

use super::row::{Form, Row};
use super::rows::ROWS;

const EXAMPLES: &str = "\
Designs:
  none   goes back with a delay that grows, after five deliveries a dead letter: as written today
  local  Quadrille's breaker, each replica for itself: [breaker.payment-gateway] fleet = \"off\"
  full   Quadrille's breaker, the replicas together: the default

Examples (ops/bench/run finds the server and builds the binaries first):
  ops/bench/run breaker --designs full
  ops/bench/run breaker --json breaker.json --check
  ops/bench/run breaker --rows 500s,refused,3-of-8 --designs none,full
  ops/bench/run breaker --full --parallel 8
  ops/bench/run breaker --list";

/// Takes the payment gateway away in every way there is, and counts what that costs.
///
/// Real workers, a real server and the sandbox in each row; several rows at once, because they
/// mostly wait. The limits are those of the design `full`.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Outages of ten minutes, not of one: takes an hour
    #[arg(long)]
    full: bool,
    /// Outages of 15 s: only shows that everything runs
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// Only these rows; `--list` names them
    #[arg(long, value_delimiter = ',', value_name = "ROW,…")]
    rows: Vec<String>,
    /// What to compare
    #[arg(long, default_value = "none,local,full", value_delimiter = ',', value_name = "DESIGN,…")]
    pub(crate) designs: Vec<Design>,
    /// Rows at once, of the usual load; without it, 7 for each core, or 4 with `--full`
    #[arg(long, value_name = "N")]
    parallel: Option<NonZeroU32>,
    /// Names the rows and ends
    #[arg(long)]
    pub(crate) list: bool,
    /// Writes the figures to this file, too
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Copies what the processes of each row wrote to a folder of its name in this one
    #[arg(long, value_name = "FOLDER")]
    pub(crate) logs: Option<PathBuf>,
    /// Exit code 1 unless the design `full` keeps every limit
    #[arg(long)]
    pub(crate) check: bool,
    /// Server to measure on
    #[arg(long, env = "QUADRILLE_NATS_SERVER", default_value = "nats-server", value_name = "FILE")]
    pub(crate) nats_server: PathBuf,
    /// Folder of the workers' and the sandbox's binaries; without it, the folder of this one
    #[arg(long, env = "QUADRILLE_BIN_DIR", value_name = "FOLDER")]
    pub(crate) bin_dir: Option<PathBuf>,
}

/// What takes the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Design {
    None,
    Local,
    Full,
}

impl Design {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Local => "local",
            Self::Full => "full",
        }
    }
}

impl Arguments {
    /// # Errors
    /// When a row is named that does not exist.
    pub(crate) fn rows(&self) -> anyhow::Result<Vec<&'static Row>> {
        for name in &self.rows {
            if !ROWS.iter().any(|row| row.name == name) {
                bail!("--rows: there is no row {name}; `ops/bench/run breaker --list` names them");
            }
        }
        let wanted = |row: &&Row| self.rows.is_empty() || self.rows.iter().any(|n| n == row.name);
        Ok(ROWS.iter().filter(wanted).collect())
    }

    pub(crate) fn form(&self) -> Form {
        match (self.full, self.quick) {
            (true, _) => Form::Full,
            (false, true) => Form::Quick,
            (false, false) => Form::Short,
        }
    }

    pub(crate) fn parallel(&self) -> u32 {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        let usual = cores * if self.full { 4 } else { 7 };
        self.parallel.map_or(usual, NonZeroU32::get)
    }
}
