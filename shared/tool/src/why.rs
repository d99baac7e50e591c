//! `why`: what a saga waits for, since when, what happens next, and what an operator can do.

use std::process::ExitCode;

use clap::Args;
use quadrille::log::story::Story;
use quadrille::nats::NatsBroker;
use quadrille::why::{self, Code, Why};
use quadrille::{Flow, SagaId};

use crate::output::{self, Advise};
use crate::tool::Tool;

const EXAMPLES: &str = "\
Examples:
  {tool} why A123
  {tool} why A123 --json | jq -r .code
  {tool} why A123 A124 A125 --json

Codes:
  completed, cancelled, not-opened       there is nothing to wait for
  retrying, held, in-hand, consumer-lag  it goes on by itself
  breaker-paused, credentials            a service is not working, or refuses our credentials
  no-worker, no-durable                  nothing takes its next message
  foreign-pause                          somebody paused the durable with another tool
  parked, unknown-version, alien-event   it waits for a human
  undo-blocked                           taking back fails, and is tried again, slowly
  log-full                               the log takes no further event
  step-not-delivered                     the broker passed its next message over
  deadline-near                          it is taken back soon, and nothing else explains the wait
  unknown                                nothing that was looked at explains it

A reason needs something that was seen: the log, the durable's position, what each replica of the
worker holds (within half a second), the breaker's keys. `looked_at` in the JSON lists all of it.

Exit codes: 0 answered; 1 at least one is not in the log, or the broker does not answer.";

/// Longest sentence that is shown.
const MAX_SENTENCE: usize = 4_000;

/// Say in one sentence why a saga waits, and what can be done
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct WhyArgs {
    /// The saga's id; may be given again
    #[arg(required = true, value_name = "ID", value_parser = crate::tool::id)]
    ids: Vec<SagaId>,
    /// Print JSON, one document a line for each saga
    #[arg(long)]
    json: bool,
}

/// Answers in the order of the ids.
///
/// # Errors
/// When the broker does not answer.
pub async fn run(args: &WhyArgs, tool: &Tool) -> anyhow::Result<ExitCode> {
    let connection = tool.connect().await?;
    let mut code = ExitCode::SUCCESS;
    for saga in &args.ids {
        let (_, why) = ask(&connection.broker, tool.flow, saga, tool.ui.tool).await?;
        if why.code == Code::NotOpened {
            code = ExitCode::FAILURE;
        }
        if args.json {
            output::json(&why)?;
        } else {
            output::data(&format!("{}\n", sentence(&why)))?;
        }
    }
    Ok(code)
}

/// The answer for a terminal, which must not obey what others wrote.
pub fn sentence(why: &Why) -> String {
    quadrille::ids::shown(&why.sentence, MAX_SENTENCE)
}

/// Looks at one saga; `name` is the tool's own, for what it advises.
///
/// # Errors
/// When the log cannot be read.
pub async fn ask(
    broker: &NatsBroker,
    flow: &'static Flow,
    saga: &SagaId,
    name: &str,
) -> anyhow::Result<(Story, Why)> {
    let looked = why::look(broker, flow, saga).await;
    let (story, seen) = looked.map_err(|error| {
        error.advise(format!("`{name} topology plan` says whether the log is there"))
    })?;
    let why = why::decide(flow, &story, &seen, name);
    Ok((story, why))
}
