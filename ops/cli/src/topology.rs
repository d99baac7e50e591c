//! `quadrille topology`: what the broker lacks of what the flow needs, and making it so.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::SignedDuration;
use quadrille::nats::NatsBroker;
use quadrille::nats::provision::{self, Change, ChangeKind};
use quadrille::topology::{Profile, Topology};
use schemas::order_fulfilment::FLOW;
use serde::Serialize;

use crate::args::Target;
use crate::connect::connect;
use crate::output::{self, Advise, BAD, GOOD, Paint, Ui, WAITS};

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

#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// What the log promises to survive: dev, single or cluster
    #[arg(long, default_value = "dev")]
    profile: Profile,
    /// Time after which a message that nobody settled is delivered again
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_time)]
    ack_wait: Duration,
    /// Size at which the log of events refuses more; a larger one that is there already is kept
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = parse_size)]
    max_bytes: u64,
    /// The same, for messages that were set aside
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = parse_size)]
    parked_max_bytes: u64,
    /// The same, for the inventory worker's own stream
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = parse_size)]
    stock_max_bytes: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
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

impl Settings {
    fn topology(&self) -> Topology {
        Topology {
            max_bytes: self.max_bytes,
            parked_max_bytes: self.parked_max_bytes,
            stock_max_bytes: self.stock_max_bytes,
            ack_wait: self.ack_wait,
            ..Topology::new(&FLOW, self.profile)
        }
    }
}

#[derive(Serialize)]
struct Report<'c> {
    profile: &'static str,
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
        output::json(&report(&topology, &changes, applied))?;
    } else {
        output::data(&text(&changes, &connection.url, ui.on_stdout))?;
        if !changes.is_empty() {
            ui.note(what_next(&command, &changes, refused, applied));
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

fn report<'c>(topology: &Topology, changes: &'c [Change], applied: bool) -> Report<'c> {
    let entry = |change: &'c Change| Entry {
        kind: word(change.kind),
        object: &change.object,
        sentence: &change.sentence,
    };
    let changes = changes.iter().map(entry).collect();
    Report { profile: topology.profile.name(), changes, applied }
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
        TopologyCommand::Plan(_) => {
            format!("{count} pending; `quadrille topology apply --write` makes them")
        }
        TopologyCommand::Apply { .. } => {
            format!("{count} pending, none made: give --write to make them")
        }
    }
}

fn parse_time(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a time such as 30s, 1m or 1m 30s, at least 1s".to_owned();
    let time: SignedDuration = text.parse().map_err(|_| wrong())?;
    let time = Duration::try_from(time).map_err(|_| wrong())?;
    if time >= Duration::from_secs(1) { Ok(time) } else { Err(wrong()) }
}

fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || "expected a size such as 512MiB, 64GiB or 1073741824".to_owned();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim() {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let size = number.checked_mul(1 << shift).filter(|size| *size > 0);
    // The server counts in signed 64 bits.
    size.filter(|size| i64::try_from(*size).is_ok())
        .ok_or_else(|| "expected a size between 1 byte and 8 million TiB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units() {
        assert_eq!(parse_size("1GiB"), Ok(1 << 30));
        assert_eq!(parse_size("1073741824"), Ok(1 << 30));
        for wrong in ["", "GiB", "1GB", "-1", "0", "1.5GiB", "9000000000TiB"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_have_a_unit() {
        assert_eq!(parse_time("1m 30s"), Ok(Duration::from_secs(90)));
        for wrong in ["", "30", "500ms", "-5s"] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
    }
}
