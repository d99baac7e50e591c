//! `topology`: compares the broker with what the flow needs, and makes what is missing.

mod settings;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use quadrille::nats::NatsBroker;
use quadrille::nats::provision::{self, Change, ChangeKind, ProvisionError};
use quadrille::topology::Profile;
use serde::Serialize;

use crate::output::{self, Advise, BAD, GOOD, Paint, WAITS};
use crate::tool::Tool;

pub use settings::Settings;

const PLAN: &str = "\
Examples:
  {tool} topology plan
  {tool} topology plan --profile cluster --max-bytes 64GiB
  {tool} topology plan --json | jq '.changes[].object'

Exit codes: 0 nothing to do; 2 changes are pending; 1 something is refused, or the broker does not
answer.";

const APPLY: &str = "\
Examples:
  {tool} topology apply                     says what it would do, and does nothing
  {tool} topology apply --write             does it
  {tool} topology apply --profile single --ack-wait 1m --write
  {tool} topology apply --max-bytes 64GiB --write

What the call does not name stays as it is where it exists: copies, ack wait and sizes. A size is
made smaller only while its stream never held anything; otherwise the call says so, and how to do it
with a stock client. A stream that is not this flow's is never touched. Nothing is ever deleted, and
while one change is refused none is made.

Exit codes: 0 the broker is as it should be, or keeps more than was asked for; 2 changes are pending
(without --write); 1 refused, or failed in part: it is safe to apply again.";

const EXAMPLES: &str = "\
Examples:
  {tool} topology plan
  {tool} topology apply --write";

/// Compare the broker's streams and durables with what the flow needs, or make them match
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum TopologyCommand {
    /// Print what differs; changes nothing
    #[command(after_help = PLAN)]
    Plan(Settings),
    /// Create and change streams and durables; needs --write
    #[command(after_help = APPLY)]
    Apply {
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        write: WriteFlag,
    },
}

/// The flag without which a command only says what it would do.
#[derive(Debug, Args)]
pub struct WriteFlag {
    /// Change the broker; without it the command only says what it would do
    #[arg(long)]
    write: bool,
}

/// Proof that the operator asked for a change.
#[derive(Debug)]
pub struct Permission {
    _made_here: (),
}

impl WriteFlag {
    pub(crate) fn permission(&self) -> Option<Permission> {
        self.write.then_some(Permission { _made_here: () })
    }
}

impl Permission {
    /// For a broker that this process has just started for itself.
    pub fn for_our_own_broker() -> Self {
        Self { _made_here: () }
    }
}

#[derive(Serialize)]
struct Report<'c> {
    /// `None` where no profile is given, so that copies are kept.
    profile: Option<&'static str>,
    /// Settings that stay as they are where they exist.
    kept: Vec<&'static str>,
    changes: Vec<Entry<'c>>,
    /// What an operator should know, and no plan mends.
    concerns: &'c [String],
    applied: bool,
}

#[derive(Serialize)]
struct Entry<'c> {
    kind: &'static str,
    object: &'c str,
    sentence: &'c str,
}

/// What came of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// The broker is as the flow needs it.
    Ready,
    Pending,
    Applied,
    /// One change cannot be made, so none is.
    Refused,
}

/// Plans, and carries the plan out where the operator asked for that; the exit code tells pending
/// changes (2) from refused ones (1).
///
/// # Errors
/// When the broker does not answer, or refuses a change; what was done by then stays.
pub async fn run(command: &TopologyCommand, tool: &Tool) -> anyhow::Result<ExitCode> {
    let (settings, write) = match command {
        TopologyCommand::Plan(settings) => (settings, None),
        TopologyCommand::Apply { settings, write } => (settings, write.permission()),
    };
    let connection = tool.connect().await?;
    let topology = settings.topology(tool.flow);
    let changes = provision::plan(&connection.broker, &topology).await?;
    let ending = match write {
        _ if changes.iter().any(|change| change.kind == ChangeKind::Refuse) => Ending::Refused,
        Some(permission) => {
            apply(&connection.broker, &changes, &permission).await?;
            Ending::Applied
        }
        None if changes.is_empty() => Ending::Ready,
        None => Ending::Pending,
    };
    // Of the broker as it is now.
    let concerns = provision::concerns(&connection.broker, &topology).await?;
    if settings.json {
        output::json(&report(settings, &changes, &concerns, ending))?;
    } else {
        output::data(&text(&changes, &connection.url, tool.ui.on_stdout))?;
        for concern in &concerns {
            tool.ui.note(tool.ui.on_stderr.paint(WAITS, concern));
        }
        if !changes.is_empty() {
            tool.ui.note(what_next(command, tool, changes.len(), ending));
        }
    }
    Ok(match ending {
        // A size that somebody raised by hand must not fail the next deployment.
        Ending::Ready | Ending::Applied => ExitCode::SUCCESS,
        Ending::Pending => ExitCode::from(2),
        Ending::Refused => ExitCode::FAILURE,
    })
}

/// Carries a plan out, for a caller that may write.
///
/// # Errors
/// When the broker does not answer, or refuses a change; what was done by then stays.
pub async fn apply(
    broker: &NatsBroker,
    changes: &[Change],
    _asked_for: &Permission,
) -> anyhow::Result<()> {
    let applied = provision::apply(broker, changes).await;
    applied.map_err(|error| {
        let failed_at_once = |object: &str| {
            changes.first().is_some_and(|it| it.object == object && it.is_one_step())
        };
        let (code, nothing) = match &error {
            ProvisionError::Rejected { object, code, .. } => (*code, failed_at_once(object)),
            ProvisionError::Refused(_) | ProvisionError::Unavailable(_) => (0, false),
        };
        let advice = match code {
            // The disk or the account has less room than the streams reserve.
            10047 | 10122 => {
                "the streams reserve their sizes at once: give smaller ones with --max-bytes, \
                 --parked-max-bytes and --kept-max-bytes"
            }
            // A server alone, and a cluster of too few.
            10074 | 10005 => {
                "the profile cluster needs three servers of one cluster, and this broker has \
                 fewer; `--profile single` is for one server"
            }
            _ => "applying again is safe",
        };
        let error = anyhow::Error::new(error);
        if nothing {
            error.context("nothing was changed").advise(advice)
        } else {
            error.advise(format!("{advice}; what was done stays"))
        }
    })
}

fn report<'c>(
    settings: &Settings,
    changes: &'c [Change],
    concerns: &'c [String],
    ending: Ending,
) -> Report<'c> {
    let entry = |change: &'c Change| Entry {
        kind: word(change.kind),
        object: &change.object,
        sentence: &change.sentence,
    };
    Report {
        profile: settings.profile.map(Profile::name),
        kept: settings.kept(),
        changes: changes.iter().map(entry).collect(),
        concerns,
        applied: ending == Ending::Applied,
    }
}

fn word(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Create => "create",
        ChangeKind::Update => "update",
        ChangeKind::Refuse => "refuse",
    }
}

fn text(changes: &[Change], url: &str, paint: Paint) -> String {
    if changes.is_empty() {
        return format!("{} is as the flow needs it\n", paint.paint(GOOD, url));
    }
    let line = |change: &Change| {
        let (mark, style) = match change.kind {
            ChangeKind::Create => ("+", GOOD),
            ChangeKind::Update => ("~", WAITS),
            ChangeKind::Refuse => ("!", BAD),
        };
        format!("{} {change}\n", paint.paint(style, mark))
    };
    changes.iter().map(line).collect()
}

/// What the operator may do about a plan that is not empty.
fn what_next(command: &TopologyCommand, tool: &Tool, changes: usize, ending: Ending) -> String {
    let count = match changes {
        1 => "1 change".to_owned(),
        count => format!("{count} changes"),
    };
    match (ending, command) {
        (Ending::Refused, _) => "nothing is changed while one of these is refused (!)".to_owned(),
        (Ending::Applied, _) => format!("{count} made"),
        (Ending::Ready | Ending::Pending, TopologyCommand::Plan(settings)) => {
            let (name, target, given) = (tool.ui.tool, tool.target.given(), settings.given());
            format!("{count} pending; `{name} topology apply{target}{given} --write` makes them")
        }
        (Ending::Ready | Ending::Pending, TopologyCommand::Apply { .. }) => {
            format!("{count} pending, none made: give --write to make them")
        }
    }
}
