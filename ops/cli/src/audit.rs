//! `quadrille audit`: whether a log, the stock and the outside world's ledger agree, and obey what
//! must be true of every history.
//!
//! A second opinion: it knows the contract, and none of the code that runs orders. It reads a part
//! of the orders at a time, so that a log of any size takes bounded memory.

mod fold;
mod endings;
mod ledger;
mod parked;
mod stock;
mod verdict;
mod part;
mod report;

use std::io::{BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use quadrille::broker::{Broker, Stored};
use quadrille::nats::NatsBroker;
use quadrille::topology::parked_stream_name;
use quadrille_tool::Tool;
use schemas::order_fulfilment::FLOW;
use schemas::stock::STREAM as STOCK;

use crate::dev::ServerArgs;
use crate::recorded::{Read, Recorded};
use ledger::Effect;
use part::Part;
use report::Progress;
use verdict::{Invariant, Verdict};

const EXAMPLES: &str = "\
Examples:
  quadrille audit                                        the log of the broker, its stock
  quadrille audit --ledger .quadrille/ledger.jsonl       and what the sandbox did
  quadrille audit backup/ --ledger ledger.jsonl --json   a recorded log: see `replay --help`
  quadrille audit --at-rest                              every open order must be parked

It may run beside the workers: it looks at the log up to its present end, and judges an order by
the ledger only as far as both must agree by then. --at-rest says that nothing is under way.

Exit codes: 0 sound; 1 at least one invariant is broken; 2 wrong usage, or what it is to read is no
log.";

/// Orders that are looked at together; some hundred bytes each.
const AT_ONCE: u64 = 100_000;

/// Messages that an order has at least, on the way to its end.
const AN_ORDER: u64 = 4;

/// Check that log, stock and ledger agree, and obey every invariant
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct AuditArgs {
    /// A recorded log, a file or a folder; without it, the log of the broker
    #[arg(value_name = "LOG")]
    log: Option<PathBuf>,
    /// The sandbox's ledger, JSON lines; without it, money and parcels are not checked
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// Nothing is under way: an order that is neither closed nor parked is a violation
    #[arg(long)]
    at_rest: bool,
    /// Print the verdict as one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) async fn run(args: &AuditArgs, tool: &Tool) -> anyhow::Result<ExitCode> {
    match audit(args, tool).await {
        Ok(verdict) => report::tell(&verdict, args.json, tool.ui),
        Err(error) => {
            tool.ui.error(&error);
            Ok(ExitCode::from(2))
        }
    }
}

/// The ledger's file, and how long it was before the end of the log was looked up.
struct Ledger<'l> {
    file: &'l Path,
    before: u64,
}

async fn audit(args: &AuditArgs, tool: &Tool) -> anyhow::Result<Verdict> {
    let length = |file: &Path| -> anyhow::Result<u64> {
        let metadata = file.metadata();
        Ok(metadata.with_context(|| format!("cannot read {}", file.display()))?.len())
    };
    // An effect has its cause in the log before it happens. So what is in the ledger before the end
    // of the log is looked up has its cause in that log.
    let ledger =
        args.ledger.as_deref().map(|file| anyhow::Ok(Ledger { file, before: length(file)? }));
    let ledger = ledger.transpose()?;
    let (mut log, broker) = match &args.log {
        Some(path) => (Recorded::open(path, &args.server, tool).await?, None),
        None => {
            let (log, broker) = Recorded::live(tool).await?;
            (log, Some(broker))
        }
    };
    let mut verdict = Verdict::default();
    what_is_left_out(args, broker.is_some(), &mut verdict);
    if log.keys.is_none() && ledger.is_some() {
        let why = "the recorded log does not say in which namespace its keys are derived";
        verdict.not_checked.insert(Invariant::Effects, format!("{why}; all else was"));
    }
    let parts = (log.about.unwrap_or_default() / AN_ORDER / AT_ONCE + 1).max(1);
    let mut progress = Progress::new(log.about.map(|about| about * parts), tool.ui);
    for number in 0..parts {
        let mut part = Part::new(number, parts, args.at_rest, log.keys);
        if let Some(ledger) = &ledger {
            read_ledger(ledger, &mut part, &mut verdict)?;
        }
        read_log(&mut log, &mut part, &mut verdict, &mut progress, tool).await?;
        if let Some(broker) = &broker {
            read_parked(broker, &mut part, &mut verdict).await?;
            read_stock(broker, &mut part, &mut verdict).await?;
        }
        part.judge(ledger.is_some(), broker.is_some(), &mut verdict);
    }
    progress.end();
    log.close().await;
    verdict.sound = verdict.count() == 0;
    Ok(verdict)
}

fn what_is_left_out(args: &AuditArgs, live: bool, verdict: &mut Verdict) {
    let mut leave_out = |of: &[Invariant], why: &str| {
        verdict.not_checked.extend(of.iter().map(|one| (*one, why.to_owned())));
    };
    if args.ledger.is_none() {
        use Invariant::{Effects, Money, Parcels, Recorded};
        leave_out(&[Money, Parcels, Effects, Recorded], "no --ledger was given");
    }
    if !live {
        leave_out(&[Invariant::Stock, Invariant::Parked], "the recorded log has no such stream");
    }
    if !args.at_rest {
        leave_out(&[Invariant::Ending], "orders may be under way: --at-rest says that none is");
    }
}

fn read_ledger(ledger: &Ledger<'_>, part: &mut Part, verdict: &mut Verdict) -> anyhow::Result<()> {
    let name = ledger.file.display();
    let file = std::fs::File::open(ledger.file).with_context(|| format!("cannot read {name}"))?;
    // What is written meanwhile is of later orders.
    let whole = file.metadata()?.len();
    let mut input = BufReader::new(file.take(whole));
    let (mut line, mut number, mut at) = (String::new(), 0_u64, 0_u64);
    loop {
        line.clear();
        let read = input.read_line(&mut line).with_context(|| format!("cannot read {name}"))?;
        if read == 0 {
            return Ok(());
        }
        number += 1;
        let late = at >= ledger.before;
        at += read as u64;
        // Its writer may be in the middle of the last line.
        if !line.ends_with('\n') || line.trim().is_empty() {
            continue;
        }
        let effect: Effect = serde_json::from_str(&line)
            .with_context(|| format!("{name} is no ledger: line {number} cannot be read"))?;
        part.effect(Effect { late, ..effect }, verdict);
    }
}

async fn read_log(
    log: &mut Recorded,
    part: &mut Part,
    verdict: &mut Verdict,
    progress: &mut Progress,
    tool: &Tool,
) -> anyhow::Result<()> {
    log.rewind()?;
    let whole = log.is_whole();
    let mut read = 0_u64;
    loop {
        match log.next().await? {
            Read::Messages(messages) => {
                read += messages.len() as u64;
                for message in &messages {
                    part.message(message, whole, verdict);
                }
                progress.more(messages.len() as u64, verdict);
            }
            Read::Unreadable(bad) => {
                tool.ui.note(format!("{}: {} cannot be read: {}", log.name, bad.place, bad.why));
            }
            Read::End => break,
        }
    }
    if read == 0 {
        anyhow::bail!("{} has no messages", log.name);
    }
    if verdict.orders == 0 && part.is_the_last() && part.is_empty() {
        anyhow::bail!("{} has no orders: is it the log of another flow?", log.name);
    }
    Ok(())
}

async fn read_parked(
    broker: &NatsBroker,
    part: &mut Part,
    verdict: &mut Verdict,
) -> anyhow::Result<()> {
    each(broker, &parked_stream_name(&FLOW), |message| part.parked(message, verdict)).await
}

async fn read_stock(
    broker: &NatsBroker,
    part: &mut Part,
    verdict: &mut Verdict,
) -> anyhow::Result<()> {
    let last = async || anyhow::Ok(broker.state(STOCK).await?.map(|state| state.last_sequence));
    let before = last().await?;
    each(broker, STOCK, |message| part.stock(message, verdict)).await?;
    if last().await? != before {
        let why = "the stock changed while it was read; holds of closed orders were checked";
        verdict.not_checked.insert(Invariant::Stock, why.to_owned());
        part.forget_levels();
    }
    Ok(())
}

/// Each message of a stream, up to its present end; none where there is no such stream.
async fn each(
    broker: &NatsBroker,
    stream: &str,
    mut take: impl FnMut(&Stored),
) -> anyhow::Result<()> {
    if broker.state(stream).await?.is_none() {
        return Ok(());
    }
    let mut read = Recorded::of(broker.clone(), stream).await?;
    loop {
        match read.next().await? {
            Read::Messages(messages) => messages.iter().for_each(&mut take),
            Read::Unreadable(_) => {}
            Read::End => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
