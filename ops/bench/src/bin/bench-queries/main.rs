//! What questions cost: a query worker with a large log behind it, asked each filter alone, pairs
//! of filters, the search and single orders, over NATS, one after the other.
//!
//! The rows are made as always: the worker reads the log and folds it. Times are those of whoever
//! asks, so they are above the worker's own.

mod asked;
mod orders;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, ensure};
use bench::stories;
use clap::Parser;
use harness::folder::Folder;
use harness::process::Process;
use quadrille::broker::Broker;
use quadrille::nats::NatsBroker;
use schemas::order_fulfilment::FLOW;
use serde::Serialize;
use serde_json::Value;
use tokio::process::Command;

use asked::Asked;

const EXAMPLES: &str = "\
Examples:
  ops/bench/run queries
  ops/bench/run queries --orders 50000 --json figures.json --check";

/// The promises, in milliseconds at the 99th percentile: of an order by its id, and of every other
/// question.
const LIST_MS: f64 = 100.0;
const ONE_MS: f64 = 5.0;

/// Measures what questions cost with many orders in the rows
#[derive(Debug, Parser)]
#[command(name = "bench queries", after_help = EXAMPLES)]
struct Args {
    /// Orders in the log, of five to six events each
    #[arg(long, default_value = "1000000", value_name = "N")]
    orders: u64,
    /// How often each question is asked, each time about another order, customer or SKU
    #[arg(long, default_value = "200", value_name = "N")]
    times: u64,
    /// Writes the figures to this file, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Exit code 1 unless the promises are kept
    #[arg(long)]
    check: bool,
    /// Server to measure on
    #[arg(long, env = "QUADRILLE_NATS_SERVER", default_value = "nats-server", value_name = "FILE")]
    nats_server: PathBuf,
}

/// Orders that wait for a human.
const SET_ASIDE: u64 = 100;

/// More than an order's events take.
const ORDER_BYTES: u64 = 8 << 10;

#[derive(Debug, Serialize)]
struct Figures {
    orders: u64,
    events: u64,
    /// Of the slowest question but for that of an order by its id.
    list_p99_ms: f64,
    one_p99_ms: f64,
    questions: Vec<Asked>,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    // The server refuses a limit that its disk cannot hold.
    let max_bytes = args.orders * ORDER_BYTES + (1 << 30);
    let (server, broker) = bench::with_log(&args.nats_server, max_bytes).await?;
    eprintln!("bench: writing {} orders", args.orders);
    let story = |order| orders::story(order, args.orders);
    stories::write(&broker, args.orders, u64::MAX, story).await?;
    orders::set_aside(&broker, args.orders, SET_ASIDE).await?;
    let state = broker.state(FLOW.stream).await?.context("there is a log")?;
    eprintln!("bench: building the rows from {} events", state.last_sequence);
    let folder = Folder::new("quadrille-bench-");
    let _query = query(&server.url(), &folder, &broker, state.last_sequence).await?;
    let mut questions = Vec::new();
    for question in asked::QUESTIONS {
        let asked = question.ask(&broker, args.orders, args.times).await?;
        eprintln!("bench: {:8.2} ms  {}", asked.p99_ms, asked.question);
        questions.push(asked);
    }
    let slowest = |one: bool| {
        let asked = questions.iter().filter(|asked| (asked.question == asked::BY_ID) == one);
        asked.map(|asked| asked.p99_ms).fold(0.0, f64::max)
    };
    let figures = Figures {
        orders: args.orders,
        events: state.last_sequence,
        list_p99_ms: slowest(false),
        one_p99_ms: slowest(true),
        questions,
    };
    bench::tell(&figures, args.json.as_deref())?;
    let kept = figures.list_p99_ms <= LIST_MS && figures.one_p99_ms <= ONE_MS;
    Ok(if args.check && !kept { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A query worker whose rows are of the whole log.
async fn query(
    url: &str,
    folder: &Folder,
    broker: &NatsBroker,
    last: u64,
) -> anyhow::Result<Process> {
    let mut command = Command::new(std::env::current_exe()?.with_file_name("query"));
    command.current_dir(folder.path()).env("QUADRILLE_NATS__URL", url);
    command.env("QUADRILLE_QUERY__LISTEN", "127.0.0.1:0");
    command.env("QUADRILLE_QUERY__FOLDER", folder.path().join("rows"));
    let mut process = Process::start("query", command, folder.path())?;
    let served = async || {
        let answer = broker.request("orders.projections", "{}".into()).await.ok()?.ok()?;
        let answer: Value = serde_json::from_slice(&answer).ok()?;
        (answer["as_of"]["sequence"].as_u64()? >= last).then_some(())
    };
    #[expect(clippy::disallowed_methods, reason = "what is measured is real time")]
    let mut said = Instant::now();
    while served().await.is_none() {
        ensure!(process.has_ended().is_none(), "query ended: {}", process.said());
        if said.elapsed().as_secs() >= 10 {
            eprintln!("bench: still building");
            #[expect(clippy::disallowed_methods, reason = "what is measured is real time")]
            {
                said = Instant::now();
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    Ok(process)
}
