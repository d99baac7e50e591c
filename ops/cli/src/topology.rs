//! `quadrille topology`: what the broker lacks of what the flow needs, and making it so.

mod settings;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use quadrille::nats::NatsBroker;
use quadrille::nats::provision::{self, Change, ChangeKind};
use quadrille::topology::Profile;
use serde::Serialize;

use crate::args::Target;
use crate::connect::connect;
use crate::output::{self, Advise, BAD, GOOD, Paint, QUIET, Ui, WAITS};
use settings::Settings;

const PLAN: &str = "\
Examples:
  quadrille topology plan
  quadrille topology plan --profile cluster --max-bytes 64GiB
  quadrille topology plan --json | jq '.changes[].object'

Exit codes: 0 nothing to do; 2 changes are pending; 1 something is refused, or the broker does not
answer.";

const APPLY: &str = "\
Examples:
  quadrille topology apply                     says what it would do, and does nothing
  quadrille topology apply --write             does it
  quadrille topology apply --profile single --ack-wait 1m --write
  quadrille topology apply --max-bytes 64GiB --write

What is not given stays as it is where it exists: copies, ack wait, and a size that is larger.
Nothing is ever deleted, and while one change is refused none is made. Exit codes: 0 the broker is
as it should be; 2 changes are pending (without --write); 1 refused, or failed in part; it is safe
to apply again.";

const EXAMPLES: &str = "\
Examples:
  quadrille topology plan
  quadrille topology apply --write";

/// Compare the broker's streams and durables with what the flow needs, or make them so
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum TopologyCommand {
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

/// What turns "would" into "does".
#[derive(Debug, Args)]
pub(crate) struct WriteFlag {
    /// Really change the broker
    #[arg(long)]
    write: bool,
}

/// Proof that somebody asked for a change.
pub(crate) struct Permission {
    _made_here: (),
}

impl WriteFlag {
    fn permission(&self) -> Option<Permission> {
        self.write.then_some(Permission { _made_here: () })
    }
}

impl Permission {
    /// For the broker that `quadrille dev` has just started for itself.
    pub(crate) fn for_our_own_broker() -> Self {
        Self { _made_here: () }
    }
}

#[derive(Serialize)]
struct Report<'c> {
    /// None: copies are kept.
    profile: Option<&'static str>,
    /// Settings that stay as they are where they exist.
    kept: Vec<&'static str>,
    changes: Vec<Entry<'c>>,
    applied: bool,
}

#[derive(Serialize)]
struct Entry<'c> {
    kind: &'static str,
    object: &'c str,
    sentence: &'c str,
}

pub(crate) async fn run(
    command: TopologyCommand,
    target: &Target,
    ui: Ui,
) -> anyhow::Result<ExitCode> {
    let (settings, write) = match &command {
        TopologyCommand::Plan(settings) => (settings, None),
        TopologyCommand::Apply { settings, write } => (settings, write.permission()),
    };
    let connection = connect(target, ui).await?;
    let topology = settings.topology();
    let changes = provision::plan(&connection.broker, &topology).await?;
    let refused = changes.iter().any(|change| change.kind == ChangeKind::Refuse);
    let applied = match write {
        Some(permission) if !refused => {
            apply(&connection.broker, &changes, &permission).await?;
            true
        }
        Some(_) | None => false,
    };
    if settings.json {
        output::json(&report(settings, &changes, applied))?;
    } else {
        output::data(&text(&changes, &connection.url, ui.on_stdout))?;
        if !changes.is_empty() {
            ui.note(what_next(&command, target, &changes, refused, applied));
        }
        if let Some(kept) = settings.kept_sentence() {
            ui.note(ui.on_stderr.paint(QUIET, kept));
        }
    }
    Ok(match (changes.is_empty() || applied, refused) {
        (_, true) => ExitCode::FAILURE,
        (true, false) => ExitCode::SUCCESS,
        (false, false) => ExitCode::from(2),
    })
}

/// Carries a plan out; only who was told to write can.
pub(crate) async fn apply(
    broker: &NatsBroker,
    changes: &[Change],
    _asked_for: &Permission,
) -> anyhow::Result<()> {
    let applied = provision::apply(broker, changes).await;
    applied.map_err(|error| error.advise("what was done stays; applying again is safe"))
}

fn report<'c>(settings: &Settings, changes: &'c [Change], applied: bool) -> Report<'c> {
    let entry = |change: &'c Change| Entry {
        kind: word(change.kind),
        object: &change.object,
        sentence: &change.sentence,
    };
    let changes = changes.iter().map(entry).collect();
    let profile = settings.profile.map(Profile::name);
    Report { profile, kept: settings.kept(), changes, applied }
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

fn what_next(
    command: &TopologyCommand,
    target: &Target,
    changes: &[Change],
    refused: bool,
    applied: bool,
) -> String {
    let count = match changes.len() {
        1 => "1 change".to_owned(),
        count => format!("{count} changes"),
    };
    match command {
        _ if refused => "nothing is changed while one of these is refused (!)".to_owned(),
        _ if applied => format!("{count} made"),
        TopologyCommand::Plan(settings) => {
            let given = [target.given(), settings.given()].concat();
            format!("{count} pending; `quadrille topology apply{given} --write` makes them")
        }
        TopologyCommand::Apply { .. } => {
            format!("{count} pending, none made: give --write to make them")
        }
    }
}
