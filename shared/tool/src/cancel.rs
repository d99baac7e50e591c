//! `cancel`: asks that a saga be cancelled, and may wait for what becomes of that.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{anyhow, bail};
use clap::Args;
use quadrille::broker::{Broker, Published};
use quadrille::event::runtime::CancelRequested;
use quadrille::log::cancel;
use quadrille::log::open::{self, Opened, When};
use quadrille::log::story::{Phase, Story};
use quadrille::nats::NatsBroker;
use quadrille::{Flow, SagaId};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::breaker::parse_reason;
use crate::connect::Connection;
use crate::output::{self, Advise, QUIET};
use crate::parked::of_unknown_opening;
use crate::tool::{Tool, who};
use crate::trace::{not_opened, read};
use crate::wait;

const EXAMPLES: &str = "\
Examples:
  {tool} cancel A123
  {tool} cancel A123 --reason twice --wait
  {tool} cancel A123 --wait --json | jq .state

A saga can be cancelled until it passes its pivot. Then everything that was done is taken back, and
what may have been done, too: until that is over the saga reads cancelling, afterwards cancelled.
Asking twice is harmless. Where there is no such saga, nothing is stored.

Exit codes: 0 asked (with --wait: cancelled); 1 it is too late, there is no such saga, a slot of it
is taken by what no worker wrote, the broker does not answer, or (with --wait) it has not ended
within a minute: it is still being cancelled.";

/// How long a publish without an answer is repeated.
const PATIENCE: Duration = Duration::from_secs(15);

/// How often the story is read while the command waits: two requests each time.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A saga that was opened a moment ago is on its way to the log for this long at most.
const ON_ITS_WAY: Duration = Duration::from_secs(2);

/// Take a saga back, as long as it has not passed its pivot
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CancelArgs {
    /// The saga's id
    #[arg(value_name = "ID")]
    id: SagaId,
    /// Why, for those who read the story: 1 to 200 characters
    #[arg(long, value_name = "TEXT", value_parser = parse_reason)]
    reason: Option<String>,
    /// Who asks [default: user@host]
    #[arg(long, value_name = "NAME", value_parser = parse_reason)]
    by: Option<String>,
    /// The user, where `--by` is not given
    #[arg(long, env = "USER", hide = true)]
    user: Option<String>,
    /// Wait until the saga is cancelled, or cannot be, for a minute at most
    #[arg(long)]
    wait: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Answer<'a> {
    id: &'a SagaId,
    /// As `trace` names it.
    state: Phase,
    /// Of the wish, in the log; `None` where none was needed.
    asked: Option<u64>,
    /// Why it cannot be cancelled: `too-late`, `not-found` or `slot-occupied`.
    refused: Option<&'static str>,
}

/// Asks, unless the story already says what would become of that.
///
/// # Errors
/// When it is too late, or the broker does not answer.
pub async fn run(args: &CancelArgs, tool: &Tool) -> anyhow::Result<ExitCode> {
    let connection = tool.connect().await?;
    let broker = &connection.broker;
    let saga = &args.id;
    let before = read(broker, tool.flow, saga).await.map_err(|error| {
        error.advise(format!("`{} topology plan` says whether the log is there", tool.ui.tool))
    })?;
    if before.is_past_its_pivot(tool.flow) {
        return refused(args, &before, None, "too-late", &connection, tool);
    }
    if before.state.phase == Phase::Unknown && is_no_saga(broker, tool.flow, saga).await? {
        return refused(args, &before, None, "not-found", &connection, tool);
    }
    if before.barred(tool.flow).is_some() {
        return refused(args, &before, None, "slot-occupied", &connection, tool);
    }
    let asked = match before.state.turned_by {
        Some(_) => None,
        None => Some(ask(broker, args, &before, tool).await?),
    };
    // The wish keeps it from ever running, and that is all that it can do.
    if asked.is_some() && before.is_of_unknown_opening(tool.flow) {
        let reason = before.parked.last().map_or("", |entry| &entry.reason);
        let then = ", and its undo goes on by itself";
        let (what, advice) = of_unknown_opening(reason, then, tool);
        tool.ui.note(format!("{saga}: it never runs now, but its undo stays blocked: {what}"));
        tool.ui.note(format!("  {advice}"));
    }
    if args.wait {
        return wait(&connection, args, asked, tool).await;
    }
    let state = before.state.phase;
    let sentence = match (state, asked) {
        (Phase::Cancelled, _) => format!("{saga}: is cancelled already\n"),
        (_, None) => format!("{saga}: is being taken back already\n"),
        (_, Some(sequence)) => format!("{saga}: asked, sequence {sequence}\n"),
    };
    say(args, state, asked, None, &sentence)?;
    let follow = format!("follow it with `{} trace {saga}`", tool.ui.tool);
    tool.ui.note(tool.ui.on_stderr.paint(QUIET, follow));
    Ok(ExitCode::SUCCESS)
}

async fn ask(
    broker: &NatsBroker,
    args: &CancelArgs,
    before: &Story,
    tool: &Tool,
) -> anyhow::Result<u64> {
    let (flow, saga) = (tool.flow, &args.id);
    let by = args.by.clone().unwrap_or_else(|| who(args.user.as_deref()));
    let asked = CancelRequested { by, reason: args.reason.clone().unwrap_or_default() };
    let Some(wish) = cancel::wish(flow, saga, "operator", &asked, None) else {
        bail!("the flow {} has no cancellation: see `cancels` of its table", flow.saga);
    };
    let opened = open::open(broker, flow, &wish, |_| true, PATIENCE).await;
    let Opened { sequence, when } = opened.map_err(|error| {
        let what = format!("{} was not cancelled", before.id);
        anyhow::Error::new(error).context(what).advise("ask again: that is safe")
    })?;
    // The slot is used: an earlier wish may have come in vain.
    if when == When::Before {
        match cancel::ask_again(broker, flow, saga).await {
            Published::Stored { .. } => {}
            other => {
                return Err(anyhow!("the wish was not sent again: {other:?}")
                    .advise("ask again: that is safe"));
            }
        }
    }
    Ok(sequence)
}

/// Whether the leader has no such saga, for as long as one may be on its way.
async fn is_no_saga(
    broker: &NatsBroker,
    flow: &'static Flow,
    saga: &SagaId,
) -> anyhow::Result<bool> {
    let opening = flow.slot(flow.opens.slot, saga);
    let until = Instant::now() + ON_ITS_WAY;
    while broker.last(flow.stream, opening.subject()).await?.is_none() {
        if Instant::now() >= until {
            return Ok(true);
        }
        sleep(LOOK_EVERY).await;
    }
    Ok(false)
}

async fn wait(
    connection: &Connection,
    args: &CancelArgs,
    asked: Option<u64>,
    tool: &Tool,
) -> anyhow::Result<ExitCode> {
    let (flow, saga, broker) = (tool.flow, &args.id, &connection.broker);
    let mut waiting = wait::Waits::begin(tool.ui);
    let ended = wait::until(LOOK_EVERY, async || {
        // A broker that is away now may come back: the wish is stored.
        let Ok(story) = read(broker, flow, saga).await else { return Ok(None) };
        if story.state.phase == Phase::Cancelled {
            let sentence = format!("{saga}: cancelled; nothing is held, charged or owed\n");
            say(args, Phase::Cancelled, asked, None, &sentence)?;
            return Ok(Some(ExitCode::SUCCESS));
        }
        if story.is_past_its_pivot(flow) {
            return refused(args, &story, asked, "too-late", connection, tool).map(Some);
        }
        if story.barred(flow).is_some() {
            return refused(args, &story, asked, "slot-occupied", connection, tool).map(Some);
        }
        let waits = story.state.waits_for.as_ref().map_or("", |waits| &waits.worker);
        let now = match story.state.turned_by.is_some() {
            false => format!("{saga}: asked; waits for {}", flow.closing().worker),
            true => format!("{saga}: cancelling; waits for {waits}"),
        };
        waiting.tell(now);
        Ok(None)
    });
    if let Some(code) = ended.await? {
        return Ok(code);
    }
    if args.json {
        let phase = read(broker, flow, saga).await?.state.phase;
        say(args, phase, asked, None, "")?;
    }
    let became = ("has not ended", false);
    wait::tell(broker, flow, saga, became, waiting.lasts(), tool.ui).await?;
    Ok(ExitCode::FAILURE)
}

/// Says why it cannot be cancelled.
fn refused(
    args: &CancelArgs,
    story: &Story,
    asked: Option<u64>,
    refused: &'static str,
    connection: &Connection,
    tool: &Tool,
) -> anyhow::Result<ExitCode> {
    if args.json {
        say(args, story.state.phase, asked, Some(refused), "")?;
    }
    let (id, phase) = (&story.id, story.state.phase);
    let error = match (story.occupied(tool.flow), refused, phase) {
        (Some(occupied), "slot-occupied", _) => {
            anyhow!("{id} cannot be taken back: {}", occupied.what()).advise(occupied.way_out())
        }
        (_, "not-found", _) => not_opened(connection, tool.flow, story),
        (_, _, Phase::Completed) => anyhow!("{id} is completed: it cannot be cancelled any longer"),
        (_, _, _) => anyhow!("{id} has passed its pivot: it cannot be cancelled any longer")
            .advise(format!("`{} trace {id}` says what it waits for", tool.ui.tool)),
    };
    tool.ui.error(&error);
    Ok(ExitCode::FAILURE)
}

fn say(
    args: &CancelArgs,
    state: Phase,
    asked: Option<u64>,
    refused: Option<&'static str>,
    sentence: &str,
) -> anyhow::Result<()> {
    match args.json {
        true => output::json(&Answer { id: &args.id, state, asked, refused }),
        false => output::data(sentence),
    }
}
