//! `breaker`: what the circuit breakers of a flow's services say, and an operator's word to them.

mod change;
mod show;

use std::process::ExitCode;

use anyhow::anyhow;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use quadrille::Flow;
use quadrille::breaker::fleet::{Entry, Mode, Override};
use quadrille::broker::{self, Broker};
use quadrille::nats::NatsBroker;
use quadrille::topology::{BREAKERS, override_key};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::output::Advise;
use crate::tool::Tool;
use crate::topology::WriteFlag;
use change::Word;
pub(crate) use change::parse_reason;

const EXAMPLES: &str = "\
Examples:
  {tool} breaker show
  {tool} breaker pause bank --reason maintenance --for 2h --write
  {tool} breaker reset bank --write";

const SHOW: &str = "\
Examples:
  {tool} breaker show
  {tool} breaker show bank
  {tool} breaker show --json | jq '.[].durables[] | select(.foreign_pause)'

Where each number comes from:
  key        what the replicas agreed on: the key SERVICE of the bucket breakers; phase, by, reason,
             since (by the writer's estimate of the broker's clock), wait, and k: pauses in a row
  override   an operator's word: the key SERVICE.override of the same bucket
  server     whether the broker delivers the messages of a durable. A foreign_pause is longer than
             any key of the bucket explains: a person paused the durable with another tool
  replica    what each replica that answers within a second says of itself: the phase that it acts
             on, since when it has no answers, most calls at once, calls in flight, messages held

Exit codes: 0 shown; 1 the broker does not answer, or no step requires the service.";

const PAUSE: &str = "\
Examples:
  {tool} breaker pause bank --reason maintenance                    says what it would do
  {tool} breaker pause bank --reason maintenance --for 2h --write   does it

No replica calls the service or takes messages for it. Ends by itself.

Exit codes: 0 done; 1 failed; 2 it would be changed: give --write.";

const RESUME: &str = "\
Examples:
  {tool} breaker resume bank --reason probing --for 10m --write

Every replica calls the service at full speed; nothing pauses it. Ends by itself; `breaker reset`
gives the decision back to the replicas at once.

Exit codes: 0 done; 1 failed; 2 it would be changed: give --write.";

const OBSERVE: &str = "\
Examples:
  {tool} breaker observe bank --reason settings --for 24h --write

Every replica calls the service at full speed, and writes to its log what it would decide.

Exit codes: 0 done; 1 failed; 2 it would be changed: give --write.";

const RESET: &str = "\
Examples:
  {tool} breaker reset bank           says what it would remove
  {tool} breaker reset bank --write   removes it

Removes the override and what the replicas agreed on, and ends the pause that they made on the
server: they begin anew, and agree again if the service still gives no answer.

Exit codes: 0 done, or there is nothing to remove; 1 failed, or a replica wrote the key meanwhile;
2 it would be removed: give --write.";

/// Show the circuit breakers of outside services, or decide for them for a time
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum BreakerCommand {
    /// Print what key, override, broker and replicas say
    #[command(after_help = SHOW)]
    Show {
        /// The service; without it, every service that the flow names
        #[arg(value_name = "SERVICE")]
        service: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Stop calls to a service for a time; needs --write
    #[command(after_help = PAUSE)]
    Pause(Word),
    /// Keep calls to a service going for a time, whatever the replicas decide; needs --write
    #[command(after_help = RESUME)]
    Resume(Word),
    /// Let the replicas decide and log for a time, but not act; needs --write
    #[command(after_help = OBSERVE)]
    Observe(Word),
    /// Remove override and key, so that the replicas begin anew; needs --write
    #[command(after_help = RESET)]
    Reset(ResetArgs),
}

/// What `reset` is given.
#[derive(Debug, Args)]
pub struct ResetArgs {
    /// The service, as the flow names it
    #[arg(value_name = "SERVICE")]
    service: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    write: WriteFlag,
}

/// Shows the breakers, or changes what they follow.
///
/// # Errors
/// When the flow has no such service, the broker does not answer, or another writer came first.
pub async fn run(command: &BreakerCommand, tool: &Tool) -> anyhow::Result<ExitCode> {
    match command {
        BreakerCommand::Show { service, json } => show::run(service.as_deref(), *json, tool).await,
        BreakerCommand::Pause(word) => change::force(Mode::Paused, word, tool).await,
        BreakerCommand::Resume(word) => change::force(Mode::Flowing, word, tool).await,
        BreakerCommand::Observe(word) => change::force(Mode::Observe, word, tool).await,
        BreakerCommand::Reset(args) => change::reset(args, tool).await,
    }
}

/// The flow's own name of a service.
fn find(flow: &Flow, service: &str) -> anyhow::Result<&'static str> {
    let services = flow.services();
    services.iter().find(|name| **name == service).copied().ok_or_else(|| {
        let advice = match services.join(", ") {
            names if names.is_empty() => "its steps call no outside service".to_owned(),
            names => format!("the flow names {names}"),
        };
        anyhow!("no step of {} requires the service {service:?}", flow.saga).advise(advice)
    })
}

/// A key of the bucket: whose it is, or that it is nobody's.
#[derive(Debug, Clone, Serialize)]
struct Found<T> {
    key: String,
    revision: u64,
    written_at: Timestamp,
    /// `None` for what cannot be read.
    value: Option<T>,
    /// What is there instead, in one line.
    junk: Option<String>,
}

impl<T: DeserializeOwned> Found<T> {
    fn of(entry: broker::Entry) -> Self {
        let broker::Entry { key, revision, written_at, value } = entry;
        let (value, junk) = match serde_json::from_slice(&value) {
            Ok(value) => (Some(value), None),
            Err(error) => (None, Some(format!("{error}: {}", plain(&value)))),
        };
        Self { key, revision, written_at, value, junk }
    }
}

/// Bytes of others as one short line.
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}

/// What the replicas agreed on, and an operator's word.
async fn read(
    broker: &NatsBroker,
    service: &str,
    tool: &Tool,
) -> anyhow::Result<(Option<Found<Entry>>, Option<Found<Override>>)> {
    let word = override_key(service);
    let read = async {
        let key = broker.entry(BREAKERS, service).await?;
        let word = broker.entry(BREAKERS, &word).await?;
        anyhow::Ok((key.map(Found::of), word.map(Found::of)))
    };
    read.await.map_err(|error| error.advise(no_bucket(tool)))
}

fn no_bucket(tool: &Tool) -> String {
    format!("`{} topology plan` says whether the bucket {BREAKERS} is there", tool.ui.tool)
}

/// Milliseconds since the Unix epoch as a time.
fn moment(milliseconds: u64) -> Timestamp {
    let milliseconds = i64::try_from(milliseconds).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::MAX)
}

/// The word that the key has for it: `no-answer`.
fn word(value: &impl Serialize) -> String {
    let word = serde_json::to_value(value).ok();
    word.and_then(|word| Some(word.as_str()?.to_owned())).unwrap_or_default()
}

/// `paused by ann@host until …: bank closed`.
fn sentence(forced: &Override) -> String {
    let Override { mode, by, reason, until_ms } = forced;
    let (by, reason) = (plain(by.as_bytes()), plain(reason.as_bytes()));
    format!("{} by {by} until {:.0}: {reason}", word(mode), moment(*until_ms))
}
