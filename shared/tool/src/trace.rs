//! `trace`: the story of a saga, read from the log alone. There is no projection behind it, so
//! the command works whenever the log can be read.

mod render;

use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::Args;
use jiff::Timestamp;
use quadrille::broker::{Broker, Care};
use quadrille::log::parked::{self, Parked};
use quadrille::log::story::{self, Became, Phase, Story};
use quadrille::nats::NatsBroker;
use quadrille::topology::parked_stream_name;
use quadrille::why::{Code, Why};
use quadrille::{Flow, SagaId};
use serde::Serialize;

use crate::connect::Connection;
use crate::output::{self, Advise};
use crate::tool::Tool;
use crate::values::sequence;
use crate::why;

pub use render::render;
use render::{Telling, told};

const EXAMPLES: &str = "\
Examples:
  {tool} trace A123
  {tool} trace A123 A124 A125
  {tool} trace A123 --json | jq .state
  {tool} trace A123 --at 4711             the story as it was when the log ended there

Where each number comes from:
  time      when the broker stored the event, by the broker's clock, in UTC
  since     time since the broker stored the event that opened the saga
  because   the event that the worker reacted to: `causationseq` of the event
  2nd try   of the worker, within one delivery: `attempt` of the event. The log does not say how
            often a message was delivered, nor that a worker was paused meanwhile
  wait      from the cause being stored until the worker began: `startedat` of the event, which is
            the worker's estimate of the broker's clock and may be a few milliseconds off
  work      from then until the event was stored: tries, calls, the commit
The last line says what the saga waits for, and what can be done: see `{tool} why`.
Undo is marked with an arrow back (←), a refusal with ×. A dash means that the log does not say.

Exit codes: 0 all were found; 1 at least one is not in the log.";

/// Tell the whole story of a saga: who reacted, when, why, and what it waits for
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TraceArgs {
    /// The saga's id; may be given again
    #[arg(required = true, value_name = "ID", value_parser = crate::tool::id)]
    ids: Vec<SagaId>,
    /// Tell the story as it was when the log ended with this sequence
    #[arg(long, value_name = "SEQ", value_parser = sequence)]
    at: Option<u64>,
    /// Print JSON, one document a line for each saga
    #[arg(long)]
    json: bool,
}

/// Tells the stories in the order of the ids; fails after the last if one is not in the log.
///
/// # Errors
/// When the broker does not answer.
pub async fn run(args: &TraceArgs, tool: &Tool) -> anyhow::Result<ExitCode> {
    let Tool { flow, ui, .. } = tool;
    let connection = tool.connect().await?;
    let broker = &connection.broker;
    let now = match args.at {
        Some(at) => time_of(broker, flow, at).await?,
        None => server_time(broker, flow).await?,
    };
    let mut code = ExitCode::SUCCESS;
    for (at, saga) in args.ids.iter().enumerate() {
        let read = read_at(broker, flow, saga, args.at.map(|at| (at, now))).await;
        let story = read.map_err(|error| {
            error.advise(format!("`{} topology plan` says whether the log is there", ui.tool))
        })?;
        // Other events alone, whatever they say, were written by who may not.
        if story.events.iter().all(|line| line.slot != flow.opens.slot) {
            code = ExitCode::FAILURE;
            let later = match args.at {
                Some(at) => not_yet(&connection, flow, saga, at).await?,
                None => None,
            };
            ui.error(&later.unwrap_or_else(|| not_opened(&connection, flow, &story)));
        }
        let waits = match story.state.phase {
            Phase::Open | Phase::Parked | Phase::Cancelling => true,
            Phase::Unknown => !story.events.is_empty(),
            Phase::Completed | Phase::Cancelled => false,
        };
        let why = match args.at {
            None if waits => Some(why::ask(broker, flow, saga, ui.tool).await?.1),
            Some(_) | None => None,
        };
        if args.json {
            output::json(&Told { story: &story, why: why.as_ref() })?;
        } else if !story.events.is_empty() {
            let gap = if at == 0 { "" } else { "\n" };
            // One of several that wait is all that the sentence tells.
            let waits = |entry: &&Parked| story.became(flow, entry) == Became::Waits;
            let is_alone = story.parked.iter().filter(waits).count() == 1;
            let parked = [Code::Parked, Code::UnknownVersion];
            let says_it = why.as_ref().is_some_and(|why| parked.contains(&why.code)) && is_alone;
            let telling = match args.at {
                Some(_) => Telling::Then,
                None if says_it => Telling::ButForWhatWaits,
                None => Telling::Now,
            };
            let told = told(flow, &story, now, telling, ui.on_stdout, ui.width);
            let why = why.map_or_else(String::new, |why| format!("{}\n", why::sentence(&why)));
            output::data(&format!("{gap}{told}{why}"))?;
        }
    }
    Ok(code)
}

/// What there is to say of a saga that is not in the log.
pub(crate) fn not_opened(connection: &Connection, flow: &Flow, story: &Story) -> anyhow::Error {
    let stream = connection.broker.names().stream(flow.stream);
    let (what, url, saga) = (flow.saga, &connection.url, &story.id);
    let spent = story.occupied(flow).map(|occupied| occupied.what());
    let advice = "upper and lower case differ in ids; is it the right broker?";
    anyhow!("no {what} {saga} was opened in the log {stream} at {url}")
        .advise(spent.unwrap_or_else(|| advice.to_owned()))
}

/// What there is to say of a saga that was opened later than that.
async fn not_yet(
    connection: &Connection,
    flow: &'static Flow,
    saga: &SagaId,
    at: u64,
) -> anyhow::Result<Option<anyhow::Error>> {
    let opening = flow.slot(flow.opens.slot, saga);
    let stored = connection.broker.last(flow.stream, opening.subject()).await?;
    let later = stored.map(|stored| stored.sequence).filter(|sequence| *sequence > at);
    Ok(later.map(|sequence| {
        anyhow!("at sequence {at}, {} {saga} was not there yet", flow.saga)
            .advise(format!("it was opened at sequence {sequence}: give --at that, or a later one"))
    }))
}

/// A story, and why it does not go on.
#[derive(Serialize)]
struct Told<'t> {
    #[serde(flatten)]
    story: &'t Story,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'t Why>,
}

/// Reads the story of one saga: two requests, whatever its length.
///
/// # Errors
/// When the broker does not answer, or has no log.
pub async fn read(broker: &NatsBroker, flow: &Flow, saga: &SagaId) -> anyhow::Result<Story> {
    read_at(broker, flow, saga, None).await
}

/// The same, as it was when the log ended with this sequence, at this time.
async fn read_at(
    broker: &NatsBroker,
    flow: &Flow,
    saga: &SagaId,
    at: Option<(u64, Timestamp)>,
) -> anyhow::Result<Story> {
    let parked_stream = parked_stream_name(flow);
    let (mut events, mut parked) = tokio::try_join!(
        broker.last_of_many(flow.stream, vec![flow.story(saga)]),
        broker.last_of_many(&parked_stream, parked::filters(flow, saga)),
    )
    .context("the log cannot be read")?;
    if let Some((sequence, time)) = at {
        // A slot is written once, so what is there now was there from its sequence on.
        events.retain(|event| event.sequence <= sequence);
        parked.retain(|entry| entry.stored_at <= time);
    }
    Ok(story::tell(flow, saga, &events, &parked))
}

/// When the broker stored a message of the log.
async fn time_of(broker: &NatsBroker, flow: &Flow, sequence: u64) -> anyhow::Result<Timestamp> {
    let page = broker.read_page(flow.stream, sequence, 1, Care::Careful).await?;
    let found = page.messages.into_iter().find(|message| message.sequence == sequence);
    let missing = || anyhow!("the log {} has no message {sequence}", flow.stream);
    Ok(found
        .ok_or_else(|| missing().advise("its last sequence is in `nats stream info`"))?
        .stored_at)
}

/// The broker's time, because our own clock may be wrong.
///
/// # Errors
/// When the broker does not answer, or has no log.
pub async fn server_time(broker: &NatsBroker, flow: &'static Flow) -> anyhow::Result<Timestamp> {
    Ok(broker.inspect(flow, flow.closing().worker).await?.server_time)
}
