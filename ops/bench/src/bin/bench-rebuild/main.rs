//! What a rebuild of the read side costs: a whole log folded by the projection, against a bare loop
//! that decodes the same events and inserts as many rows of the same tables, in one run.
//!
//! Each side is a process of its own, so that its memory is its own. The bare loop keeps no state
//! of any saga and changes no row twice, so it does less than any projection can.

mod bare;
mod serving;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, ensure};
use bench::stories::{self, Event, completed, reserved};
use clap::{Parser, ValueEnum};
use harness::folder::Folder;
use harness::process::Usage;
use quadrille::broker::Broker;
use quadrille::nats::NatsBroker;
use quadrille_projection::rusqlite::Connection;
use query::orders::ORDERS;
use schemas::order_fulfilment::FLOW;
use serde::{Deserialize, Serialize};
use serving::Reads;

const EXAMPLES: &str = "\
Examples:
  ops/bench/run rebuild
  ops/bench/run rebuild --events 100000 --json figures.json --check";

/// The promises: a share of the bare loop's rate, and memory.
const RATIO: f64 = 0.6;
const RSS_MB: f64 = 300.0;

const EVENTS_OF_AN_ORDER: u64 = 6;

/// Measures how fast a projection is built from a whole log
#[derive(Debug, Parser)]
#[command(name = "bench rebuild", after_help = EXAMPLES)]
struct Args {
    /// Events in the log
    #[arg(long, default_value = "1000000", value_name = "N")]
    events: u64,
    /// Writes the figures to this file, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Exit code 1 unless the promises are kept
    #[arg(long)]
    check: bool,
    /// Server to measure on
    #[arg(long, env = "QUADRILLE_NATS_SERVER", default_value = "nats-server", value_name = "FILE")]
    nats_server: PathBuf,
    #[arg(long, hide = true, requires = "url")]
    side: Option<Side>,
    #[arg(long, hide = true)]
    url: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Side {
    Product,
    Bare,
    Serving,
}

/// What one side's process says.
#[derive(Debug, Serialize, Deserialize)]
struct Measured {
    events: u64,
    seconds: f64,
    rows: u64,
    peak_rss_mb: Option<f64>,
    /// Of the side that serves meanwhile.
    reads: Option<Reads>,
}

#[derive(Debug, Serialize)]
struct Figures {
    events: u64,
    events_per_second: f64,
    bare_events_per_second: f64,
    ratio: f64,
    rows: u64,
    bare_rows: u64,
    peak_rss_mb: Option<f64>,
    /// The same while the old rows are read.
    serving_events_per_second: f64,
    serving_peak_rss_mb: Option<f64>,
    reads: Reads,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    match (args.side, &args.url) {
        (Some(side), Some(url)) => {
            let measured = measure(side, url).await?;
            println!("{}", serde_json::to_string(&measured)?);
            Ok(ExitCode::SUCCESS)
        }
        _ => compare(&args).await,
    }
}

async fn compare(args: &Args) -> anyhow::Result<ExitCode> {
    let (server, broker) = bench::with_log(&args.nats_server, 8 << 30).await?;
    eprintln!("bench: writing {} events", args.events);
    let orders = args.events.div_ceil(EVENTS_OF_AN_ORDER);
    stories::write(&broker, orders, args.events, story).await?;
    // Once unmeasured, so that both sides find the log in the same caches.
    side(Side::Bare, &server.url()).await?;
    let product = side(Side::Product, &server.url()).await?;
    let bare = side(Side::Bare, &server.url()).await?;
    let serving = side(Side::Serving, &server.url()).await?;
    ensure!(product.events == bare.events, "both sides read the same log");
    let rate = |measured: &Measured| (measured.events as f64 / measured.seconds).round();
    let figures = Figures {
        events: product.events,
        events_per_second: rate(&product),
        bare_events_per_second: rate(&bare),
        ratio: (bare.seconds / product.seconds * 100.0).round() / 100.0,
        rows: product.rows,
        bare_rows: bare.rows,
        peak_rss_mb: product.peak_rss_mb.map(f64::round),
        serving_events_per_second: rate(&serving),
        serving_peak_rss_mb: serving.peak_rss_mb.map(f64::round),
        reads: serving.reads.context("it counts its reads")?,
    };
    bench::tell(&figures, args.json.as_deref())?;
    let small = |rss: Option<f64>| rss.is_none_or(|rss| rss <= RSS_MB);
    let small = small(figures.peak_rss_mb) && small(figures.serving_peak_rss_mb);
    let kept = figures.ratio >= RATIO && small && figures.reads.failed == 0;
    Ok(if args.check && !kept { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn side(side: Side, url: &str) -> anyhow::Result<Measured> {
    let name = side.to_possible_value().context("each has a name")?;
    let output = tokio::process::Command::new(std::env::current_exe()?)
        .args(["--side", name.get_name(), "--url", url])
        .stderr(std::process::Stdio::inherit())
        .output()
        .await?;
    ensure!(output.status.success(), "{} ended with {}", name.get_name(), output.status);
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Six events, customers enough for the index, and one country.
fn story(order: u64) -> Vec<Event> {
    let mut story = reserved(order, 10_000, "DE");
    story.extend(completed(order, "DE"));
    story
}

async fn measure(side: Side, url: &str) -> anyhow::Result<Measured> {
    let broker = bench::connect(url).await?;
    let state = broker.state(FLOW.stream).await?.context("there is a log")?;
    let folder = Folder::new("quadrille-bench-");
    #[expect(clippy::disallowed_methods, reason = "what is measured is real time")]
    let began = Instant::now();
    let (mut reads, mut seconds) = (None, None);
    let file = match side {
        Side::Product => product(broker, folder.path()).await?,
        Side::Bare => bare::run(broker, folder.path()).await?,
        Side::Serving => {
            let served = serving::run(broker, folder.path()).await?;
            (reads, seconds) = (Some(served.reads), Some(served.seconds));
            served.file
        }
    };
    let seconds = seconds.unwrap_or_else(|| began.elapsed().as_secs_f64());
    let peak_rss_mb = Usage::own().map(|usage| usage.peak_rss_mb);
    let rows = Connection::open(file)?;
    let count = |table: &str| {
        rows.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, u64>(0))
    };
    let rows =
        ["events", "sagas", "tags", "refs"].map(count).into_iter().sum::<Result<u64, _>>()?;
    Ok(Measured { events: state.last_sequence, seconds, rows, peak_rss_mb, reads })
}

async fn product(broker: Arc<NatsBroker>, folder: &Path) -> anyhow::Result<PathBuf> {
    let (projection, runner) = quadrille_projection::open(&FLOW, &ORDERS.model, broker, folder)?;
    let served = projection.clone();
    runner.run(async move { served.serves().await }).await;
    Ok(projection.file().to_owned())
}
