//! `parked ls`: what was set aside, in groups of one failure.

use std::process::ExitCode;

use anyhow::anyhow;
use jiff::Timestamp;
use serde::Serialize;

use super::LsArgs;
use super::cases::{self, Case, Standing};
use crate::output::{self, Advise, QUIET};
use crate::tool::Tool;

/// Ids that stand for a group.
const EXAMPLES: usize = 5;

/// What a narrow terminal can do without, first of all.
const EXPENDABLE: [&str; 3] = ["newest", "stand", "at"];

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
    /// A few of them, the newest first; the subject of a message that names no saga.
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
        group.sagas.insert(0, case.name());
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
    let nameless = listed.iter().any(|case| case.saga.is_none());
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
    output::data(&output::table_within(tool.ui.width, &headings, &rows, &EXPENDABLE))?;
    let name = tool.ui.tool;
    let or_subject = match nameless {
        true => format!(", `{name} parked show SUBJECT` one without an id"),
        false => String::new(),
    };
    let advice = format!(
        "`{name} parked show ID` shows one{or_subject}; `{name} parked ls --group GROUP` lists a \
         group"
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
        subject: &'c str,
        durable: &'c str,
        standing: Standing,
        parked: u64,
        parked_at: Timestamp,
        times: usize,
    }
    for case in listed.iter().rev() {
        let line = Line {
            saga: case.id(),
            subject: &case.parked().subject,
            durable: &case.durable,
            standing: case.standing,
            parked: case.newest().sequence,
            parked_at: case.parked().parked_at,
            times: case.parkings.len(),
        };
        if args.json {
            output::json(&line)?;
        } else {
            let (Line { durable, parked, times, .. }, saga) = (&line, case.name());
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

pub(super) fn nothing_of(name: &str, tool: &Tool) -> anyhow::Error {
    anyhow!("nothing of {name} was ever parked").advise(format!(
        "upper and lower case differ in ids; `{} parked ls` lists what waits",
        tool.ui.tool
    ))
}
