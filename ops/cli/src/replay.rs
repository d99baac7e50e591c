//! `quadrille replay`: plays the orders of a log again, on a stack of its own, and compares how
//! each ends with what the log says.
//!
//! The workers are the real programs beside this one: the ones that you have just built. Broker,
//! sandbox and folder are this command's own and end with it; no setting that names a real service
//! is read, because every address is given to the workers as a flag, which beats all else. There
//! the flow has its usual names, whatever it is called on the broker that the log is from.

mod again;
mod compare;
mod report;
mod stage;
mod tale;

use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::Args;
use quadrille_tool::Tool;
use quadrille_tool::output::Advise;
use schemas::order_fulfilment::FLOW;

use crate::dev::stop_signal;
use crate::recorded::{OTHER_NAMES, Read, Selection};
use stage::{Pace, Stage};
use tale::Tales;

const EXAMPLES: &str = "\
Examples:
  quadrille replay A123                                one order of the broker's log
  quadrille replay --from 4000 --to 5000               all orders placed in a range
  quadrille replay --since 2026-01-02T12:00:00Z        all orders placed since
  quadrille replay --log backup/                       a recorded log
  quadrille replay --log A123.jsonl --step             event by event, Enter for the next
  quadrille replay --log backup/ --speed 10x --json    ten times as fast as they came

A recorded log is a file that `quadrille export` wrote, or a folder that one of these wrote:
  nats backup stream ORDERS DIR      (older: nats stream backup ORDERS DIR)
  nats sub --stream ORDERS --all 'orders.*.*' --backup DIR --terminate-at-end
  nats sub --stream ORDERS --all 'orders.*.*' --dump DIR --terminate-at-end

The sandbox answers each order as the log says: an order that was declined gets a card that is, one
that the carrier refused goes where it refuses, one that was out of stock comes first, to an empty
shelf. Ids that services draw (payment, label, tracking) and the choice of the carrier are not
compared. An order that was ended from outside (cancelled, or by a deadline) is left out.

Exit codes: 0 all end as in the log; 1 at least one differs; 2 wrong usage, or no such orders; 130
or 143 if it was interrupted.";

/// Play orders of a log again against the workers built here, and compare how they end
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    selection: Selection,
    /// How fast: 1 as they came, 10x ten times as fast; without it, at once
    #[arg(long, value_name = "SPEED", value_parser = Pace::parse)]
    speed: Option<Pace>,
    /// One order after the other, event by event: Enter for the next
    #[arg(long, conflicts_with_all = ["speed", "json"])]
    step: bool,
    /// Print JSON: one line for each difference, then the verdict
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: &ReplayArgs, tool: &Tool) -> anyhow::Result<ExitCode> {
    let mut stop = std::pin::pin!(stop_signal()?);
    let mut stage = Stage::open(tool.ui).await?;
    let (code, interrupted) = tokio::select! {
        code = play(args, &mut stage, tool) => (code, false),
        signal = &mut stop => (Ok(ExitCode::from(signal.code())), true),
    };
    stage.end().await;
    if interrupted {
        tool.ui.note("interrupted; nothing of the replay is left");
    }
    code
}

/// What the log tells of the orders that are meant.
async fn read(args: &ReplayArgs, tool: &Tool) -> anyhow::Result<Tales> {
    let (mut log, mut chosen) = args.selection.open(tool).await?;
    let (mut tales, mut messages, mut strange) = (Tales::default(), 0_u64, 0_u64);
    loop {
        match log.next().await? {
            Read::Messages(read) => {
                for message in read {
                    messages += 1;
                    match FLOW.parse_subject(&message.subject) {
                        Some((slot, saga)) if chosen.takes(slot, &saga, &message) => {
                            let slot = slot.to_owned();
                            tales.add(&slot, &saga, message);
                        }
                        Some(_) => {}
                        None => strange += 1,
                    }
                }
            }
            Read::Unreadable(bad) => {
                tool.ui.note(format!("{}: {} cannot be read: {}", log.name, bad.place, bad.why));
            }
            Read::End => break,
        }
    }
    let name = log.name.clone();
    log.close().await;
    for saga in chosen.missing() {
        tool.ui.note(format!("order {saga} is not in {name}, or not in the range"));
    }
    if !tales.is_empty() {
        return Ok(tales);
    }
    let found = match (messages, strange) {
        (0, _) => "it has no messages".to_owned(),
        (all, strange) if all == strange => {
            format!(
                "it has {all} messages, and none is of an order: it is of another flow; \
                 {OTHER_NAMES}"
            )
        }
        (all, _) => format!("it has {all} messages, and no order that was placed in this range"),
    };
    Err(anyhow!("{name} has no such orders: {found}")
        .advise("`quadrille orders ls`, or `nats stream info ORDERS`, says what there is"))
}

/// Everything, from the reading of the log to the verdict.
async fn play(args: &ReplayArgs, stage: &mut Stage, tool: &Tool) -> anyhow::Result<ExitCode> {
    let began = tokio::time::Instant::now();
    let read = async { read(args, tool).await.map_err(Failed::ToRead) };
    // Meanwhile, because a start is mostly waiting.
    let start = async {
        let started = stage.start(&args.selection.server).await;
        started.context("the replay's own stack").map_err(Failed::ToStart)
    };
    let tales = match tokio::try_join!(read, start) {
        Ok((tales, ())) => tales,
        Err(Failed::ToStart(error)) => return Err(error),
        Err(Failed::ToRead(error)) => {
            tool.ui.error(&error);
            return Ok(ExitCode::from(2));
        }
    };
    let pace = args.speed.unwrap_or(Pace::AT_ONCE);
    let report = match args.step {
        true => again::step_by_step(tales, stage, tool.ui).await?,
        false => again::all(tales, stage, pace, args.json, tool.ui).await?,
    };
    report.took(began.elapsed()).tell(args.json, tool.ui)
}

/// Why there is no replay.
enum Failed {
    ToRead(anyhow::Error),
    ToStart(anyhow::Error),
}
