//! `parked ls` and `parked show`: what was set aside, in groups of one failure, and one by one.

use std::process::ExitCode;

use anyhow::anyhow;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use quadrille::SagaId;
use quadrille::log::parked::{Audit, Release, Verdict};
use serde::Serialize;
use serde_json::Value;

use super::cases::{self, Case, Noted, Parking, Standing};
use super::{LsArgs, ShowArgs};
use crate::output::{self, Advise, BAD, QUIET, STRONG, WAITS};
use crate::tool::Tool;

/// Ids that stand for a group.
const EXAMPLES: usize = 5;

/// Messages of one failure.
#[derive(Debug, Serialize)]
pub(super) struct Group {
    pub(super) fingerprint: String,
    pub(super) durable: String,
    pub(super) reason: String,
    pub(super) pointer: String,
    pub(super) message: String,
    /// All of them that were listed.
    pub(super) count: usize,
    pub(super) parked: usize,
    pub(super) released: usize,
    pub(super) settled: usize,
    pub(super) discarded: usize,
    pub(super) oldest: Timestamp,
    pub(super) newest: Timestamp,
    /// A few of them, the newest first.
    pub(super) sagas: Vec<String>,
}

/// Groups in the order of their size, the largest first.
pub(super) fn groups<'c>(cases: impl Iterator<Item = &'c Case>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for case in cases {
        let parked = case.parked();
        let fingerprint = parked.fingerprint();
        let at = groups.iter().position(|group| group.fingerprint == fingerprint);
        let at = at.unwrap_or_else(|| {
            groups.push(Group {
                fingerprint,
                durable: parked.durable.clone(),
                reason: parked.reason.clone(),
                pointer: parked.pointer.clone(),
                message: parked.message.clone(),
                count: 0,
                parked: 0,
                released: 0,
                settled: 0,
                discarded: 0,
                oldest: parked.parked_at,
                newest: parked.parked_at,
                sagas: Vec::new(),
            });
            groups.len() - 1
        });
        let group = &mut groups[at];
        group.count += 1;
        *match case.standing {
            Standing::Parked => &mut group.parked,
            Standing::Released => &mut group.released,
            Standing::Settled => &mut group.settled,
            Standing::Discarded => &mut group.discarded,
        } += 1;
        group.oldest = group.oldest.min(parked.parked_at);
        group.newest = group.newest.max(parked.parked_at);
        group.sagas.insert(0, case.id().to_owned());
        group.sagas.truncate(EXAMPLES);
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.count));
    groups
}

pub(super) async fn ls(args: &LsArgs, tool: &Tool) -> anyhow::Result<ExitCode> {
    let connection = tool.connect().await?;
    let cases = cases::read(&connection.broker, tool.flow, |_| false, tool.ui).await?;
    let wanted = |case: &&Case| {
        let fingerprint = || case.parked().fingerprint();
        (args.all || case.waits())
            && args.durable.as_ref().is_none_or(|durable| *durable == case.durable)
            && args.group.as_ref().is_none_or(|group| *group == fingerprint())
    };
    let listed: Vec<_> = cases.all.iter().filter(wanted).collect();
    if args.group.is_some() {
        return one_by_one(&listed, args, tool);
    }
    let groups = groups(listed.into_iter());
    if args.json {
        output::json(&groups)?;
        return Ok(ExitCode::SUCCESS);
    }
    if groups.is_empty() {
        output::data("nothing is parked\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    let headings = ["group", " messages", "stand", "durable", "reason", "at", "newest", "such as"];
    let rows: Vec<_> = groups.iter().map(row).collect();
    output::data(&output::table(&headings, &rows))?;
    let advice = format!(
        "`{tool} parked show ID` shows one; `{tool} parked ls --group GROUP` lists a group",
        tool = tool.ui.tool
    );
    tool.ui.note(tool.ui.on_stderr.paint(QUIET, advice));
    Ok(ExitCode::SUCCESS)
}

fn row(group: &Group) -> Vec<String> {
    let stands = [
        (group.parked, "parked"),
        (group.released, "released"),
        (group.settled, "settled"),
        (group.discarded, "discarded"),
    ];
    let stands = stands.iter().filter(|(count, _)| *count > 0);
    let stands: Vec<_> = stands.map(|(count, word)| format!("{count} {word}")).collect();
    vec![
        group.fingerprint.clone(),
        group.count.to_string(),
        stands.join(", "),
        group.durable.clone(),
        group.reason.clone(),
        if group.pointer.is_empty() { "-".to_owned() } else { group.pointer.clone() },
        group.newest.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        group.sagas.first().cloned().unwrap_or_default(),
    ]
}

fn one_by_one(listed: &[&Case], args: &LsArgs, tool: &Tool) -> anyhow::Result<ExitCode> {
    #[derive(Serialize)]
    struct Line<'c> {
        saga: &'c str,
        durable: &'c str,
        standing: Standing,
        parked: u64,
        parked_at: Timestamp,
        times: usize,
    }
    for case in listed.iter().rev() {
        let line = Line {
            saga: case.id(),
            durable: &case.durable,
            standing: case.standing,
            parked: case.newest().sequence,
            parked_at: case.parked().parked_at,
            times: case.parkings.len(),
        };
        if args.json {
            output::json(&line)?;
        } else {
            let Line { saga, durable, parked, times, .. } = &line;
            let standing = line.standing.word();
            let at = line.parked_at.strftime("%Y-%m-%d %H:%M:%S");
            let times = if *times == 1 { String::new() } else { format!(", {times} times") };
            output::data(&format!("{saga}  {standing} by {durable} at {at}, #{parked}{times}\n"))?;
        }
    }
    if listed.is_empty() {
        let advice = format!("`{} parked ls --all` lists every group", tool.ui.tool);
        tool.ui.error(&anyhow!("no message of this group waits").advise(advice));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn show(args: &ShowArgs, tool: &Tool) -> anyhow::Result<ExitCode> {
    let connection = tool.connect().await?;
    let keeps = |id: &str| args.ids.iter().any(|saga| saga.as_str() == id);
    let cases = cases::read(&connection.broker, tool.flow, keeps, tool.ui).await?;
    let mut code = ExitCode::SUCCESS;
    for saga in &args.ids {
        let found: Vec<_> =
            cases.all.iter().filter(|case| case.saga.as_ref() == Some(saga)).collect();
        if found.is_empty() {
            code = ExitCode::FAILURE;
            tool.ui.error(&nothing_of(saga, tool));
        }
        for case in found.iter().rev() {
            match args.json {
                true => output::json(&Shown::of(case))?,
                false => output::data(&text(case, tool))?,
            }
        }
    }
    Ok(code)
}

pub(super) fn nothing_of(saga: &SagaId, tool: &Tool) -> anyhow::Error {
    anyhow!("nothing of {saga} was ever parked").advise(format!(
        "upper and lower case differ in ids; `{} parked ls` lists what waits",
        tool.ui.tool
    ))
}

/// One message, with all that is known of it.
#[derive(Serialize)]
struct Shown<'c> {
    saga: &'c str,
    durable: &'c str,
    standing: Standing,
    fingerprint: String,
    subject: &'c str,
    sequence: u64,
    stored_at: Timestamp,
    headers: &'c [(String, String)],
    /// As JSON if it is JSON, otherwise as text.
    payload: Value,
    payload_base64: &'c str,
    /// What is at the pointer of the newest parking, if anything is.
    at_pointer: Option<Value>,
    /// Newest first.
    attempts: Vec<Attempt<'c>>,
    releases: &'c [Noted<Release>],
    discarded: Option<&'c Noted<Audit>>,
}

#[derive(Serialize)]
struct Attempt<'c> {
    parked: u64,
    parked_at: Timestamp,
    reason: &'c str,
    pointer: &'c str,
    message: &'c str,
    deliveries: u64,
    released: Option<u64>,
}

impl<'c> Shown<'c> {
    fn of(case: &'c Case) -> Self {
        let entry = &case.newest().entry;
        let payload = payload(case.newest());
        let at_pointer = payload.pointer(&entry.parked.pointer).cloned();
        Self {
            saga: case.id(),
            durable: &case.durable,
            standing: case.standing,
            fingerprint: entry.parked.fingerprint(),
            subject: &entry.parked.subject,
            sequence: entry.parked.sequence,
            stored_at: entry.stored_at,
            headers: &entry.headers,
            at_pointer: at_pointer.filter(|_| !entry.parked.pointer.is_empty()),
            payload,
            payload_base64: &entry.payload_base64,
            attempts: case.parkings.iter().map(attempt).collect(),
            releases: &case.releases,
            discarded: case.discarded.as_ref(),
        }
    }
}

fn attempt(parking: &Parking) -> Attempt<'_> {
    let parked = &parking.entry.parked;
    Attempt {
        parked: parking.sequence,
        parked_at: parked.parked_at,
        reason: &parked.reason,
        pointer: &parked.pointer,
        message: &parked.message,
        deliveries: parked.deliveries,
        released: parked.released,
    }
}

fn payload(parking: &Parking) -> Value {
    let bytes = BASE64_STANDARD.decode(&parking.entry.payload_base64).unwrap_or_default();
    serde_json::from_slice(&bytes)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Bytes of others, so that they do nothing to a terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

fn text(case: &Case, tool: &Tool) -> String {
    let paint = tool.ui.on_stdout;
    let shown = Shown::of(case);
    let style = if case.standing == Standing::Parked { BAD } else { WAITS };
    let title = paint.paint(STRONG, format!("{} {}", tool.flow.saga, shown.saga));
    let stands = paint.paint(style, case.standing.word());
    let mut text = format!(
        "{title}  {stands}, group {}\n  {} #{} of {}, parked by {}\n",
        shown.fingerprint,
        plain(shown.subject),
        shown.sequence,
        shown.stored_at.strftime("%Y-%m-%d %H:%M:%S%.3f UTC"),
        shown.durable,
    );
    // Releases and parkings together, the newest first.
    let mut lines: Vec<(u64, String)> = Vec::new();
    for one in &shown.attempts {
        let place =
            if one.pointer.is_empty() { String::new() } else { format!(" at {}", one.pointer) };
        let at = one.parked_at.strftime("%Y-%m-%d %H:%M:%S%.3f");
        let what = format!(
            "  {at}  parked    {}{place}: {} (delivery {})\n",
            one.reason,
            plain(one.message),
            one.deliveries
        );
        lines.push((one.parked, what));
    }
    for Noted { sequence, at, what } in shown.releases {
        let at = at.strftime("%Y-%m-%d %H:%M:%S%.3f");
        let (by, reason) = (plain(&what.by), plain(&what.reason));
        let verdict = match what.verdict {
            Verdict::Retry => "released ",
            Verdict::Refuse => "to refuse",
        };
        lines.push((*sequence, format!("  {at}  {verdict} by {by}: {reason}\n")));
    }
    if let Some(Noted { sequence, at, what }) = shown.discarded {
        let at = at.strftime("%Y-%m-%d %H:%M:%S%.3f");
        let (by, reason) = (plain(&what.by), plain(&what.reason));
        lines.push((*sequence, format!("  {at}  discarded by {by}: {reason}\n")));
    }
    lines.sort_by_key(|(sequence, _)| std::cmp::Reverse(*sequence));
    lines.into_iter().for_each(|(_, line)| text.push_str(&line));
    for (name, value) in shown.headers {
        text.push_str(&format!("  {}: {}\n", plain(name), plain(value)));
    }
    if let Some(value) = &shown.at_pointer {
        let pointer = &case.parked().pointer;
        text.push_str(&paint.paint(BAD, format!("  {pointer} is {value}")));
        text.push('\n');
    }
    let payload = match &shown.payload {
        Value::String(raw) => plain(raw),
        json => serde_json::to_string_pretty(json).unwrap_or_default(),
    };
    payload.lines().for_each(|line| text.push_str(&format!("    {line}\n")));
    text
}
