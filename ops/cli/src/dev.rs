//! `quadrille dev`: all of Quadrille on this machine, and nothing of it left behind.
//!
//! A supervisor for trying things out: it starts a broker of its own, the sandbox and every worker,
//! restarts what ends, and stops all in good order. It is not meant for production.

mod folder;
mod stack;
mod own_broker;
mod demo;
mod already;
mod news;

mod child;
mod programs;
mod server;
mod tied;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use quadrille_tool::Tool;
use quadrille_tool::output::{self, Advise, GOOD, QUIET, STRONG, Ui, duration};
use schemas::order_fulfilment::FLOW;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep};

use crate::place::Sample;
use crate::running::{Addresses, DEV_FOLDER};
use demo::Orders;
use folder::{Folder, Place};
use stack::{Stack, StackArgs};

pub(crate) use own_broker::{Isolated, OwnBroker};
pub(crate) use server::ServerArgs;
pub(crate) use tied::{TiedArgs, tied};

const EXAMPLES: &str = "\
Examples:
  quadrille dev                      run everything until Ctrl-C; demo orders first on a terminal
  quadrille dev --demo-only          four demo orders, then exit: 0 only if all ended as documented,
                                     130 or 143 if it was interrupted
  quadrille dev --ephemeral          keep nothing
  quadrille dev --reset              begin again with an empty log
  quadrille dev --only-broker        the log that is there, and nobody who reads or writes it
  quadrille dev --port 4222 --query-port 8420 --data /tmp/quadrille

The demo orders: one completes; one is declined by the payment gateway, and its stock is released;
one is refused by the carrier, its payment refunded and its stock released; one is placed while the
gateway is away: charge-customer is paused on the server, and then charges it once. That one takes
some seconds; others beside it, placed to show that it is the gateway, complete as well.
While it runs, other commands that start in this folder find its broker by themselves; with --data
or --ephemeral once NATS_URL names it, as the first line to try does.";

/// Run a broker, the sandbox and every worker on this machine
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DevArgs {
    /// Play the demo orders, check how they ended, and exit; keeps nothing unless --data is given
    #[arg(long)]
    demo_only: bool,
    /// Do not play the demo orders
    #[arg(long, conflicts_with = "demo_only")]
    no_demo: bool,
    /// Keep everything in a temporary folder, deleted at the end
    #[arg(long, conflicts_with_all = ["data", "reset"])]
    ephemeral: bool,
    /// Folder of the log, the ledger and the logs of the workers [default: .quadrille]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Run nothing but the broker, on the log of the data folder, to take messages out of it
    #[arg(long, conflicts_with_all = ["demo_only", "no_demo", "ephemeral", "reset", "json"])]
    only_broker: bool,
    /// Delete what the data folder holds before starting
    #[arg(long)]
    reset: bool,
    #[command(flatten)]
    stack: StackArgs,
    /// Print the addresses, each demo order's story and the pause, as JSON, one line each
    #[arg(long)]
    json: bool,
}

impl DevArgs {
    fn place(&self) -> Place<'_> {
        match &self.data {
            Some(data) => Place::At(data),
            None if self.ephemeral || self.demo_only => Place::Temporary,
            None => Place::Here,
        }
    }
}

pub(crate) async fn run(args: DevArgs, tool: &Tool) -> anyhow::Result<ExitCode> {
    tool.target.refuse("dev", "it runs a broker of its own")?;
    let (ui, names) = (tool.ui, tool.target.names(tool.flow)?);
    let began = Instant::now();
    if args.only_broker {
        let data = args.data.as_deref().unwrap_or(Path::new(DEV_FOLDER));
        let advice = "name the folder of the log with --data DIR; `quadrille dev` makes one";
        require_log(data).map_err(|error| error.advise(advice))?;
    }
    let mut stop = std::pin::pin!(stop_signal()?);
    let folder = Folder::open(args.place(), args.reset, ui).await?;
    let mut stack = Stack::new(folder, names, ui);
    let (ended, interrupted) = tokio::select! {
        ended = session(&mut stack, &args, began, ui) => (ended, None),
        signal = &mut stop => (Ok(ExitCode::SUCCESS), Some(signal)),
    };
    if !args.demo_only && stack.running().is_ok() {
        ui.note("stopping; press Ctrl-C again to kill what still runs");
    }
    // One Ctrl-C may arrive twice, because a terminal may signal the process and also its group.
    let again = async {
        sleep(Duration::from_millis(500)).await;
        match stop_signal() {
            Ok(again) => drop(again.await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = stack.stop() => {}
        () = again => {
            ui.note("killing what still runs");
            stack.kill().await;
        }
    }
    if !matches!(ended, Ok(code) if code == ExitCode::SUCCESS) {
        stack.keep_temporary();
    }
    if let Some(signal) = interrupted
        && args.demo_only
    {
        ui.note("interrupted before all orders had ended");
        return Ok(ExitCode::from(signal.code()));
    }
    ended
}

/// From the start until something ends it.
async fn session(
    stack: &mut Stack,
    args: &DevArgs,
    began: Instant,
    ui: Ui,
) -> anyhow::Result<ExitCode> {
    if args.only_broker {
        let url = stack.start_only_broker(&args.stack).await?;
        ui.note("only the broker is running. Ctrl-C stops it. In another terminal of this folder:");
        ui.verbatim(format!("  export NATS_URL={url}"));
        return std::future::pending().await;
    }
    stack.start(&args.stack).await?;
    let took = duration(began.elapsed().as_secs_f64() * 1e3);
    ui.note(ui.on_stderr.paint(QUIET, format!("broker, sandbox and workers are up after {took}")));
    if args.json {
        output::json(&stack.running()?.addresses)?;
    }
    if args.demo_only {
        // The log was empty, and nobody else knows its address, so all its orders are ours.
        let orders = if stack.is_temporary() { Orders::OnlyOurs } else { Orders::OthersToo };
        return demo::play(stack.running()?, orders, args.json, ui).await;
    }
    if !args.no_demo && ui.read_by_a_person {
        demo::play(stack.running()?, Orders::OthersToo, args.json, ui).await?;
    }
    welcome(stack, ui)?;
    let tool = at(&stack.running()?.addresses);
    // Tasks of their own watch the children, and restart them. The news first, which then misses
    // nothing that is logged while the other asks.
    tokio::join!(
        news::tell(stack.logs_of_workers(), &tool, ui),
        already::tell(&stack.running()?.broker, &tool, ui),
    );
    std::future::pending().await
}

fn require_log(data: &Path) -> anyhow::Result<()> {
    let is_there = data.join("nats").is_dir();
    is_there.then_some(()).with_context(|| format!("there is no log in {}", data.display()))
}

fn welcome(stack: &Stack, ui: Ui) -> anyhow::Result<()> {
    let running = stack.running()?;
    let names = running.broker.names();
    let id = crate::place::random_text(4);
    let (stream, opening) = (names.stream(FLOW.stream), FLOW.filter(FLOW.opens.slot));
    let opening = names.subject(&opening.replace('*', &format!("{id}-2"))).into_owned();
    let story = names.subject(&format!("{}.*.{id}-2", FLOW.subjects)).into_owned();
    let service = names.subject("orders.place");
    let Addresses { nats, sandbox, command, query, workers, data, .. } = &running.addresses;
    let one = workers.get("charge-customer").map_or("", String::as_str);
    let line = |name: &str, value: &str| format!("  {name:<9} {value}");
    let title = |text: &str| ui.on_stderr.paint(STRONG, text);
    let sample = quadrille::Event::to_data(&Sample::default().placed()?);
    let quadrille = ourselves();
    let lines = [
        String::new(),
        ui.on_stderr.paint(GOOD, "Quadrille is running. Ctrl-C stops it."),
        // The page keeps the token, with which it may also place orders.
        line("page", &page(query, data)),
        line("orders", &format!("{command}/orders  (POST; what it takes: {command}/openapi.json)")),
        line("query", &format!("{query}/orders  (GET; what it answers: {query}/openapi.json)")),
        line("broker", nats),
        line("sandbox", sandbox),
        line("ledger", &data.join("ledger.jsonl").display().to_string()),
        line("logs", &data.join("logs").display().to_string()),
        line(
            "metrics",
            &format!("{one}/metrics  (charge-customer; of all: dev.json beside the logs)"),
        ),
        String::new(),
    ];
    lines.iter().for_each(|line| ui.note(line));
    let commands = [
        title("Try, in another terminal of this folder:"),
        // First, because another `dev` may run here, or that terminal may name another broker.
        format!("  export NATS_URL={nats}"),
        format!("  {quadrille} place --id {id}-1 --wait && {quadrille} trace {id}-1"),
        format!("  {quadrille} place --count 1000 --rate 200"),
        format!("  {quadrille} orders ls && {quadrille} orders watch"),
        format!("  {quadrille} stock show"),
        title("With the stock nats command:"),
        format!("  nats pub -J {opening} '{sample}'"),
        format!("  nats sub --stream {stream} --all '{story}' --terminate-at-end"),
        format!("  nats req {service} '{sample}'"),
        title("Over HTTP:"),
        format!("  curl -sS {command}/orders --json '{sample}'"),
        format!("  curl -sS '{query}/orders?state=open&order=worst'"),
        title("What the outside world saw:"),
        format!("  curl -sS '{sandbox}/ledger?order={id}-2'"),
    ];
    commands.iter().for_each(|line| ui.verbatim(line));
    Ok(())
}

/// Where a browser sees everything; with the token that lets it act, if there is one to read.
fn page(query: &str, data: &Path) -> String {
    let token = std::fs::read_to_string(data.join("query").join("token"));
    token.map_or_else(|_| query.to_owned(), |token| format!("{query}/#token={}", token.trim()))
}

/// This program as a user types it in this folder, because it is rarely on PATH.
fn ourselves() -> String {
    let path = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("quadrille"));
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(&path).display().to_string()
}

/// The same, with the broker's URL where a command in this folder would not find it by itself.
fn at(addresses: &Addresses) -> String {
    let is_found = Addresses::here().is_some_and(|(_, here)| here.nats == addresses.nats);
    let broker = if is_found { String::new() } else { format!(" --nats {}", addresses.nats) };
    format!("{}{broker}", ourselves())
}

/// What asks this process to stop.
#[derive(Debug, Clone, Copy)]
pub(crate) enum StopSignal {
    Hangup,
    Interrupt,
    Terminate,
}

impl StopSignal {
    /// As a shell reports a program that the signal has ended: 128 and its number.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Hangup => 129,
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

/// Ready at the first SIGTERM, SIGINT or SIGHUP; caught from this call on.
pub(crate) fn stop_signal() -> anyhow::Result<impl Future<Output = StopSignal>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => StopSignal::Terminate,
            _ = interrupt.recv() => StopSignal::Interrupt,
            _ = hangup.recv() => StopSignal::Hangup,
        }
    })
}
