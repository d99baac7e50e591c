//! An operator's word for a time, and its end.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{anyhow, bail};
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use quadrille::breaker::fleet::{Entry, Mode, Override};
use quadrille::broker::{Broker, Pause, Published, Unknown};
use quadrille::nats::NatsBroker;
use quadrille::topology::{BREAKERS, override_key};
use serde::Serialize;

use super::{Found, ResetArgs, find, moment, no_bucket, plain, read, sentence, word};
use crate::output::{self, Advise};
use crate::tool::{Tool, who};
use crate::topology::{Permission, WriteFlag};
use crate::trace::server_time;

/// How long a word holds that does not say it.
const DEFAULT_TIME: Duration = Duration::from_secs(60 * 60);

/// No word outlives the shift of whoever gave it by more than a day.
const LONGEST_TIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Longest reason, in characters.
const LONGEST_REASON: usize = 200;

/// What `pause`, `resume` and `observe` are given.
#[derive(Debug, Args)]
pub struct Word {
    /// The service, as the flow names it
    #[arg(value_name = "SERVICE")]
    service: String,
    /// Why, for those who find it: 1 to 200 characters
    #[arg(long, value_name = "TEXT", value_parser = parse_reason)]
    reason: String,
    /// How long it holds: 90s, 10m, 1h; at most 24h [default: 1h]
    #[arg(long = "for", value_name = "TIME", value_parser = parse_time)]
    time: Option<Duration>,
    /// Who says so [default: user@host]
    #[arg(long, value_name = "NAME", value_parser = parse_reason)]
    by: Option<String>,
    /// The user, where `--by` is not given
    #[arg(long, env = "USER", hide = true)]
    user: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    write: WriteFlag,
}

impl Word {
    fn by(&self) -> String {
        self.by.clone().unwrap_or_else(|| who(self.user.as_deref()))
    }
}

pub(crate) fn parse_reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    let fits = (1..=LONGEST_REASON).contains(&text.chars().count());
    match fits && !text.contains(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err(format!("expected one line of 1 to {LONGEST_REASON} characters")),
    }
}

fn parse_time(text: &str) -> Result<Duration, String> {
    let wrong = || "must be a time from 1s to 24h, such as 90s, 10m or 1h".to_owned();
    let time: SignedDuration = text.parse().map_err(|_| wrong())?;
    let time = Duration::try_from(time).map_err(|_| wrong())?;
    let fits = time >= Duration::from_secs(1) && time <= LONGEST_TIME;
    if fits { Ok(time) } else { Err(wrong()) }
}

#[derive(Serialize)]
struct Forced<'r> {
    service: &'r str,
    #[serde(rename = "override")]
    forced: &'r Override,
    replaces: Option<&'r Found<Override>>,
    written: bool,
}

/// Writes an override, if the operator asked for a change.
pub(super) async fn force(mode: Mode, given: &Word, tool: &Tool) -> anyhow::Result<ExitCode> {
    let service = find(tool.flow, &given.service)?;
    let connection = tool.connect().await?;
    let broker = &connection.broker;
    let (_, before) = read(broker, service, tool).await?;
    let now = server_time(broker, tool.flow).await?;
    let time = given.time.unwrap_or(DEFAULT_TIME);
    let until = now.saturating_add(SignedDuration::try_from(time)?)?;
    let until_ms = u64::try_from(until.as_millisecond())?;
    let forced = Override { mode, by: given.by(), reason: given.reason.clone(), until_ms };
    if given.time.is_none() {
        tool.ui.note("no --for is given: it holds for one hour");
    }
    let permission = given.write.permission();
    let written = permission.is_some();
    if let Some(permission) = permission {
        let revision = before.as_ref().map_or(0, |found| found.revision);
        write(broker, service, revision, &forced, time, &permission, tool).await?;
    }
    if given.json {
        output::json(&Forced { service, forced: &forced, replaces: before.as_ref(), written })?;
    } else {
        let would = if written { "" } else { "would be " };
        output::data(&format!("{service}: {would}{}\n", sentence(&forced)))?;
        if let Some(before) = &before {
            let before = described(before, sentence);
            output::data(&format!("{service}: {would}replaced: {before}\n"))?;
        }
    }
    Ok(ended(written, tool))
}

/// Guarded by what was read, so that no operator overwrites another's word unseen. It ends on the
/// broker too, whatever the replicas' clocks say.
async fn write(
    broker: &NatsBroker,
    service: &str,
    revision: u64,
    forced: &Override,
    time: Duration,
    _asked_for: &Permission,
    tool: &Tool,
) -> anyhow::Result<()> {
    let value = serde_json::to_vec(forced)?.into();
    let key = override_key(service);
    let set = broker.compare_and_set(BREAKERS, &key, revision, value, Some(time)).await;
    stored(set, "another operator changed the override meanwhile; nothing is written", tool)
}

fn stored(answer: Published, conflict: &str, tool: &Tool) -> anyhow::Result<()> {
    let look = format!("`{} breaker show` says what is there now", tool.ui.tool);
    let why = match answer {
        Published::Stored { .. } => return Ok(()),
        Published::Conflict => return Err(anyhow!("{conflict}").advise(look)),
        Published::Unknown(Unknown::NoAnswer(why)) => {
            return Err(anyhow!("it may be written, or not: {why}").advise(look));
        }
        Published::Unknown(Unknown::Busy) => "the broker is busy; try again".to_owned(),
        Published::Unknown(Unknown::Full) => format!("the bucket {BREAKERS} is full"),
        Published::TooLarge => "it is too large".to_owned(),
        Published::Rejected { description, .. } => description,
    };
    Err(anyhow!("not written: {why}").advise(no_bucket(tool)))
}

fn described<T>(found: &Found<T>, sentence: impl Fn(&T) -> String) -> String {
    let junk = || format!("junk: {}", found.junk.as_deref().unwrap_or_default());
    found.value.as_ref().map_or_else(junk, sentence)
}

#[derive(Serialize, Default)]
struct Removed {
    service: String,
    #[serde(rename = "override")]
    forced: Option<Found<Override>>,
    key: Option<Found<Entry>>,
    /// Durables whose pause on the server was ended.
    resumed: Vec<String>,
    /// Durables that another client paused for longer, and until when.
    foreign: Vec<(String, Timestamp)>,
    written: bool,
}

/// Removes override and key, if the operator asked for a change.
pub(super) async fn reset(args: &ResetArgs, tool: &Tool) -> anyhow::Result<ExitCode> {
    let service = find(tool.flow, &args.service)?;
    let connection = tool.connect().await?;
    let broker = &connection.broker;
    let (key, forced) = read(broker, service, tool).await?;
    let there_is_any = key.is_some() || forced.is_some();
    let permission = args.write.permission().filter(|_| there_is_any);
    let written = permission.is_some();
    let mut removed =
        Removed { service: service.to_owned(), forced, key, written, ..Removed::default() };
    if let Some(permission) = permission {
        remove(broker, &mut removed, &permission, tool).await?;
    }
    if args.json {
        output::json(&removed)?;
    } else {
        output::data(&text(&removed, there_is_any))?;
    }
    Ok(if there_is_any { ended(written, tool) } else { ExitCode::SUCCESS })
}

async fn remove(
    broker: &NatsBroker,
    removed: &mut Removed,
    _asked_for: &Permission,
    tool: &Tool,
) -> anyhow::Result<()> {
    let Removed { service, forced, key, .. } = &*removed;
    if let Some(forced) = forced {
        let answer = broker.remove(BREAKERS, &forced.key, forced.revision).await;
        let conflict = "another operator changed the override meanwhile; nothing is removed";
        stored(answer, conflict, tool)?;
    }
    let Some(key) = key else { return Ok(()) };
    let answer = broker.remove(BREAKERS, service, key.revision).await;
    let gone = if forced.is_some() { "; the override is removed" } else { "" };
    let conflict = format!("a replica wrote the key meanwhile, which stays{gone}");
    stored(answer, &conflict, tool)?;
    let (mut resumed, mut foreign) = (Vec::new(), Vec::new());
    let pauses = key.value.iter().flat_map(|entry| &entry.pauses);
    for (durable, until_ms) in pauses.filter(|(durable, _)| is_ours(tool, durable)) {
        match broker.resume(tool.flow.stream, durable, moment(*until_ms)).await {
            Ok(Pause::Off) => resumed.push(durable.clone()),
            Ok(Pause::On { until, .. }) => foreign.push((durable.clone(), until)),
            Err(why) => {
                bail!("the key is removed, but the pause of {durable} was not ended: {why}")
            }
        }
    }
    (removed.resumed, removed.foreign) = (resumed, foreign);
    Ok(())
}

/// The key of a service is every flow's; a pause is this flow's only where it has the durable.
fn is_ours(tool: &Tool, durable: &str) -> bool {
    tool.flow.durables(None).iter().any(|ours| ours.name == *durable)
}

fn text(removed: &Removed, there_is_any: bool) -> String {
    let Removed { service, forced, key, resumed, foreign, written } = removed;
    if !there_is_any {
        return format!("{service}: there is neither an override nor a key\n");
    }
    let done = if *written { "removed" } else { "would be removed" };
    let mut lines = String::new();
    if let Some(forced) = forced {
        let forced = described(forced, sentence);
        lines.push_str(&format!("{service}: {done}: the override {forced}\n"));
    }
    if let Some(key) = key {
        let agreed = |entry: &Entry| {
            let (phase, by) = (word(&entry.phase), plain(entry.by.as_bytes()));
            format!("{phase} by {by}, {}", word(&entry.reason))
        };
        lines.push_str(&format!("{service}: {done}: the key {}\n", described(key, agreed)));
    }
    for durable in resumed {
        lines.push_str(&format!("{durable}: no longer paused on the server\n"));
    }
    for (durable, until) in foreign {
        lines.push_str(&format!(
            "{durable}: still paused on the server until {until}, by another tool\n"
        ));
    }
    lines
}

fn ended(written: bool, tool: &Tool) -> ExitCode {
    if written {
        return ExitCode::SUCCESS;
    }
    tool.ui.note("nothing is changed: give --write to do it");
    ExitCode::from(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_holds_for_a_second_to_a_day() {
        for (text, seconds) in [("90s", 90), ("10m", 600), ("1h", 3_600), ("24h", 86_400)] {
            assert_eq!(parse_time(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "0s", "-1h", "25h", "1d", "soon", "10"] {
            let error = parse_time(text).expect_err(text);
            assert!(error.contains("1s to 24h"), "{error}");
        }
    }

    #[test]
    fn a_reason_is_one_line_with_something_in_it() {
        assert_eq!(parse_reason(" bank closed "), Ok("bank closed".to_owned()));
        for text in ["", "  ", "a\nb", &"x".repeat(201)] {
            assert!(parse_reason(text).is_err(), "{text:?}");
        }
    }
}
