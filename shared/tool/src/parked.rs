//! `parked`: the messages that workers set aside for a human (*dead letters*), and what to do about
//! them.
//!
//! It reads the stream of parked messages and the slots of the log; no projection is behind it.

mod cases;
mod settled;
mod list;
mod show;
mod plan;
mod left_out;
mod retry;
mod discard;

use std::process::ExitCode;

use clap::{ArgGroup, Args, Subcommand};
use quadrille::Flow;
use quadrille::nats::NatsBroker;

use crate::breaker::parse_reason;
use crate::output::Ui;
use crate::tool::{Tool, who};
use crate::topology::WriteFlag;
use crate::values;

pub(crate) use discard::of_unknown_opening;

const EXAMPLES: &str = "\
Examples:
  {tool} parked ls
  {tool} parked show A123
  {tool} parked retry A123 --reason mended --write
  {tool} parked discard A123 --reason test --write";

const LS: &str = "\
Examples:
  {tool} parked ls
  {tool} parked ls --group 1f0c2a9b
  {tool} parked ls --all --json | jq '.[] | select(.parked>0) | .fingerprint'

A group holds the messages that one durable set aside for the same reason at the same place.
  parked     waits for a human
  released   is being tried again
  discarded  an operator gave it up, and its saga ends
  settled    its step or its saga has ended since: a retry, a cancellation, a deadline (with --all)

Exit codes: 0 listed; 1 the broker does not answer, or the group has no message that waits.";

const SHOW: &str = "\
Examples:
  {tool} parked show A123
  {tool} parked show A123 --json | jq .at_pointer
  {tool} parked show 'SUBJECT'           one that names no saga

Every time that it was parked and released, the newest first; then its headers and its payload, with
the place of the mistake.

Exit codes: 0 shown; 1 at least one was never parked.";

const RETRY: &str = "\
Examples:
  {tool} parked retry A123 --reason mended --write
  {tool} parked retry --group 1f0c2a9b --reason fixed                        says what it would do
  {tool} parked retry --group 1f0c2a9b --up-to 421 --reason fixed --write    does it
  {tool} parked retry --all --up-to 421 --rate 10 --reason fixed --write

The step runs again, under the same idempotency keys and into the same slot: however often a message
is retried, it has one outcome. A selection is fixed by the call without --write, which prints the
--up-to of the call that does it. The first message goes alone; as soon as one is parked again, the
command stops. After an interruption run it again: what is on its way is left alone.

Exit codes: 0 done, or there is nothing to do; 1 failed, or one was parked again; 2 it would be
done: give --write.";

const DISCARD: &str = "\
Examples:
  {tool} parked discard A123 --reason test --write
  {tool} parked discard --group 1f0c2a9b --up-to 421 --reason test --write

Gives the message up, and ends its saga. Before the pivot the saga is cancelled: what was done is
taken back. After it, the step is told to refuse; it does so unless its outside service has acted
already, and then the saga goes on. Where that step has decided, only retry is left.

Exit codes: 0 done, or there is nothing to do; 1 failed, or at least one cannot be discarded; 2 it
would be done: give --write.";

/// List, try again or give up the messages that were set aside for a human
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum ParkedCommand {
    /// List what waits, in groups of one failure
    #[command(after_help = LS)]
    Ls(LsArgs),
    /// Print a message, why it failed, and each time it was tried
    #[command(after_help = SHOW)]
    Show(ShowArgs),
    /// Try messages again; needs --write
    #[command(after_help = RETRY)]
    Retry(RetryArgs),
    /// Give messages up, and end their sagas; needs --write
    #[command(after_help = DISCARD)]
    Discard(DiscardArgs),
}

/// What `ls` is given.
#[derive(Debug, Args)]
pub struct LsArgs {
    /// List the messages of one group, one by one
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Only what this durable set aside
    #[arg(long, value_name = "DURABLE")]
    durable: Option<String>,
    /// Also what is settled
    #[arg(long)]
    all: bool,
    /// Print JSON; with --group, one document a line
    #[arg(long)]
    json: bool,
}

/// What `show` is given.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The saga's id, or the subject of a message that names none; may be given again
    #[arg(required = true, value_name = "ID", value_parser = show::name)]
    names: Vec<String>,
    /// Print JSON, one document a line
    #[arg(long)]
    json: bool,
}

/// Which messages.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true).multiple(false)
    .args(["ids", "group", "all"]))]
struct Selection {
    /// The sagas' ids, or the subject of a message that names none
    #[arg(value_name = "ID", value_parser = show::name)]
    ids: Vec<String>,
    /// All that wait in a group of `parked ls`
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// All that wait
    #[arg(long)]
    all: bool,
    /// None that was parked later: a sequence, as the call without --write prints it
    #[arg(long, value_name = "SEQ", value_parser = values::sequence)]
    up_to: Option<u64>,
    /// At most so many, the oldest first
    #[arg(long, value_name = "N", value_parser = values::rows)]
    limit: Option<usize>,
}

/// Who acts, and why.
#[derive(Debug, Args)]
struct Actor {
    /// Why, for those who find it: 1 to 200 characters
    #[arg(long, value_name = "TEXT", value_parser = parse_reason)]
    reason: String,
    /// Who does it [default: user@host]
    #[arg(long, value_name = "NAME", value_parser = parse_reason)]
    by: Option<String>,
    /// The user, where `--by` is not given
    #[arg(long, env = "USER", hide = true)]
    user: Option<String>,
}

impl Actor {
    fn by(&self) -> String {
        self.by.clone().unwrap_or_else(|| who(self.user.as_deref()))
    }
}

/// What `retry` is given.
#[derive(Debug, Args)]
pub struct RetryArgs {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    actor: Actor,
    /// At most so many a second
    #[arg(long, value_name = "R")]
    #[arg(value_parser = values::whole(1..=10_000_u32, "1 to 10000 a second, such as 100"))]
    rate: Option<u32>,
    /// Release them, and do not wait for what becomes of them
    #[arg(long)]
    no_wait: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    write: WriteFlag,
}

/// What `discard` is given.
#[derive(Debug, Args)]
pub struct DiscardArgs {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    actor: Actor,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    write: WriteFlag,
}

/// Shows parked messages, or does something about them.
///
/// # Errors
/// When the broker does not answer, or takes no more.
pub async fn run(command: &ParkedCommand, tool: &Tool) -> anyhow::Result<ExitCode> {
    match command {
        ParkedCommand::Ls(args) => list::ls(args, tool).await,
        ParkedCommand::Show(args) => show::show(args, tool).await,
        ParkedCommand::Retry(args) => retry::run(args, tool).await,
        ParkedCommand::Discard(args) => discard::run(args, tool).await,
    }
}

/// What waits for a human: the sagas' ids, or the subjects of messages that name none, in the order
/// in which they were set aside.
///
/// # Errors
/// When the broker does not answer, or has no such stream.
pub async fn waiting(broker: &NatsBroker, flow: &Flow, ui: Ui) -> anyhow::Result<Vec<String>> {
    let cases = cases::read(broker, flow, |_| false, ui).await?;
    let waits = cases.all.iter().filter(|case| case.standing == cases::Standing::Parked);
    Ok(waits.map(cases::Case::name).collect())
}
