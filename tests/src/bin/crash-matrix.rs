//! The whole crash matrix, or the cells that a pattern names, as a table.

use std::process::ExitCode;

use clap::Parser;
use tests::crash::{Cell, run_all, table};

/// Kills each worker at each place where it could matter, three times, and checks what is left.
#[derive(Debug, Parser)]
#[command(name = "crash-matrix")]
struct Arguments {
    /// Only the cells whose name contains this, such as "charge-customer" or "undo.after-effect"
    #[arg(long, default_value = "")]
    cells: String,
    /// Orders per cell
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(8..))]
    orders: u16,
    /// Cells at once
    #[arg(long, default_value_t = 2)]
    at_once: usize,
}

fn main() -> ExitCode {
    let Arguments { cells: pattern, orders, at_once } = Arguments::parse();
    let cells: Vec<_> =
        Cell::all().into_iter().filter(|cell| cell.to_string().contains(&pattern)).collect();
    if cells.is_empty() {
        let names: Vec<_> = Cell::all().iter().map(ToString::to_string).collect();
        eprintln!("no cell's name contains {pattern:?}; there are\n  {}", names.join("\n  "));
        return ExitCode::FAILURE;
    }
    let reports = run_all(&cells, orders.into(), at_once.max(1));
    print!("{}", table(&reports));
    let sound = reports.iter().filter(|report| report.result.is_ok()).count();
    println!("{sound} of {} cells sound", reports.len());
    if sound == reports.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
