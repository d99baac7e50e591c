//! `quadrille trace`: the story of an order, read from the log alone. There is no projection behind
//! it, so it is there whenever the log is.

mod render;

use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::Args;
use jiff::Timestamp;
use quadrille::SagaId;
use quadrille::broker::Broker;
use quadrille::log::parked;
use quadrille::log::story::{self, Phase, Story};
use quadrille::nats::NatsBroker;
use quadrille::topology::parked_stream_name;
use schemas::order_fulfilment::FLOW;

use crate::args::Target;
use crate::connect::connect;
use crate::output::{self, Advise, Ui};
pub(crate) use render::render;

const EXAMPLES: &str = "\
Examples:
  quadrille trace A123
  quadrille trace A123 A124 A125
  quadrille trace A123 --json | jq .state

Where each number comes from:
  time      when the broker stored the event, by the broker's clock, in UTC
  since     time since the broker stored the order itself
  because   the event that was reacted to: `causationseq` of the event
  attempt   of the worker, within one delivery: `attempt` of the event
  wait      from the cause being stored until the worker began: `startedat` of the event, which is
            the worker's estimate of the broker's clock and may be a few milliseconds off
  work      from then until the event was stored: tries, calls, the commit
Undo is marked with an arrow back (←), a refusal with ×. A dash means that the log does not say.

Exit codes: 0 all were found; 1 at least one is not in the log.";

/// Tell the whole story of an order: who reacted, when, why, and what it waits for
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TraceArgs {
    /// The order's id; may be given again
    #[arg(required = true, value_name = "ID")]
    ids: Vec<SagaId>,
    /// Print JSON, one document a line for each order
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: &TraceArgs, target: &Target, ui: Ui) -> anyhow::Result<ExitCode> {
    let connection = connect(target, ui).await?;
    let now = server_time(&connection.broker).await?;
    let mut code = ExitCode::SUCCESS;
    for (at, saga) in args.ids.iter().enumerate() {
        let story = read(&connection.broker, saga).await?;
        if story.phase() == Phase::Unknown {
            code = ExitCode::FAILURE;
            let url = &connection.url;
            let unknown = anyhow!("no order {saga} was placed in the log {} at {url}", FLOW.stream);
            ui.error(
                &unknown.advise("upper and lower case differ in ids; is it the right broker?"),
            );
        }
        if args.json {
            output::json(&story)?;
        } else if !story.events.is_empty() {
            let gap = if at == 0 { "" } else { "\n" };
            output::data(&format!("{gap}{}", render(&story, now, ui.on_stdout)))?;
        }
    }
    Ok(code)
}

/// Reads the story of one order: two requests, whatever its length.
pub(crate) async fn read(broker: &NatsBroker, saga: &SagaId) -> anyhow::Result<Story> {
    let parked_stream = parked_stream_name(&FLOW);
    let (events, parked) = tokio::try_join!(
        broker.last_of_many(FLOW.stream, vec![FLOW.story(saga)]),
        broker.last_of_many(&parked_stream, vec![parked::filter(&FLOW, saga)]),
    )
    .context("the log cannot be read; `quadrille topology plan` says whether it is there")?;
    Ok(story::tell(&FLOW, saga, &events, &parked))
}

/// The broker's clock: our own may be wrong.
pub(crate) async fn server_time(broker: &NatsBroker) -> anyhow::Result<Timestamp> {
    Ok(broker.inspect(&FLOW, FLOW.closing().worker).await?.server_time)
}
