//! `open`: which sagas have not ended, read from the log alone. A projection answers this faster,
//! and by more than the wait; this works whenever the log can be read.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::process::ExitCode;

use anyhow::anyhow;
use clap::Args;
use jiff::Timestamp;
use quadrille::broker::{Broker, Stored, Unavailable};
use quadrille::flow::Role;
use quadrille::log::parked;
use quadrille::log::story::{self, Kind, Phase, Story, milliseconds};
use quadrille::nats::NatsBroker;
use quadrille::{Flow, SagaId};
use serde::Serialize;

use crate::output::{self, Advise, QUIET, Ui, duration};
use crate::tool::Tool;
use crate::trace::server_time;
use crate::values::rows;

const EXAMPLES: &str = "\
Examples:
  {tool} open
  {tool} open --limit 10
  {tool} open --limit 1000 --json | jq -r .id
  {tool} open --json | jq 'select(.waits_ms > 600000)'

Those that wait longest come first. It reads the subjects of five slots and of what was set aside,
the events of what is not closed, and the endings that the closing worker may not have looked at,
with the reads that any client has: no worker and no projection need to run. Of a million sagas
that takes some seconds, and longer while the closing worker has much to do.

Exit codes: 0 answered, whatever is open; 1 there is no log, or the broker does not answer.";

/// List what is open, longest wait first, from the log itself
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct OpenArgs {
    /// Rows, at most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = rows)]
    limit: usize,
    /// Print JSON, one line for each
    #[arg(long)]
    json: bool,
}

/// Messages of one page, at most.
const PAGE: usize = 1_000;

/// Slots in one request; an event may have 64 KB, and the server takes 1,024 subjects.
const SLOTS: usize = 100;

/// What a narrow terminal can do without, first of all.
const EXPENDABLE: [&str; 2] = ["took", "opened (UTC)"];

/// A saga that has not ended. Its names in JSON are those of a query worker's lists, so that a
/// script may ask either.
#[derive(Debug, PartialEq, Serialize)]
struct Row {
    id: String,
    state: Phase,
    waits_for: Option<String>,
    waits_since: Option<Timestamp>,
    waits_ms: Option<f64>,
    /// What turned it around, or why its next message was set aside.
    reason: Option<String>,
    opened: Option<u64>,
    opened_at: Option<Timestamp>,
    age_ms: Option<f64>,
}

/// Lists them.
///
/// # Errors
/// When there is no log, or the broker does not answer.
pub async fn run(args: &OpenArgs, tool: &Tool) -> anyhow::Result<ExitCode> {
    let Tool { flow, ui, .. } = tool;
    let connection = tool.connect().await?;
    let broker = &connection.broker;
    if broker.state(flow.stream).await?.is_none() {
        let (stream, url) = (broker.names().stream(flow.stream), &connection.url);
        return Err(anyhow!("there is no log {stream} at {url}")
            .advise(format!("is it the right broker? `{} topology plan` says more", ui.tool)));
    }
    let open = unclosed(broker, flow).await?;
    let stories = stories(broker, flow, &open, *ui).await?;
    let now = server_time(broker, flow).await?;
    let rows = worst_first(flow, &stories, now);
    let shown = &rows[..rows.len().min(args.limit)];
    if args.json {
        shown.iter().try_for_each(output::json)?;
    } else if !shown.is_empty() {
        output::data(&table(shown, ui.width))?;
    }
    ui.note(ui.on_stderr.paint(QUIET, summary(rows.len(), shown.len(), ui.tool)));
    Ok(ExitCode::SUCCESS)
}

/// Sagas that were opened and that no worker has closed, in the order of their ids.
async fn unclosed(broker: &NatsBroker, flow: &'static Flow) -> Result<Vec<SagaId>, Unavailable> {
    let closing = flow.closing();
    // Closed ones first: what ends in between is read below, and found to have ended.
    let mut closed: HashSet<_> = ids(broker, flow, closing.slot).await?.into_iter().collect();
    let opened: BTreeSet<_> = ids(broker, flow, flow.opens.slot).await?.into_iter().collect();
    // A closing is read where it may be junk, because reading all of them would take minutes: where
    // its worker has not looked at the slot yet, and where something was set aside.
    let mut looked_at = looked_at(broker, flow).await?;
    let set_aside = broker.subjects(&flow.parked_stream(), &parked::filter_all(flow)).await?;
    for id in set_aside.iter().filter_map(|subject| subject.rsplit('.').next()) {
        looked_at.remove(id);
    }
    let doubted: BTreeSet<_> =
        closed.iter().filter(|id| !looked_at.contains(id.as_str())).collect();
    let doubted: Vec<_> = doubted.into_iter().map(|id| flow.slot(closing.slot, id)).collect();
    for slots in doubted.chunks(SLOTS) {
        let subjects = slots.iter().map(|slot| slot.subject().to_owned()).collect();
        for stored in broker.last_of_many(flow.stream, subjects).await? {
            let Some((_, id)) = flow.parse_subject(&stored.subject) else { continue };
            if story::lines(flow, &id, &[stored]).iter().any(|line| line.kind == Kind::Alien) {
                closed.remove(&id);
            }
        }
    }
    Ok(opened.into_iter().filter(|id| !closed.contains(id)).collect())
}

/// Sagas whose end the closing worker has settled: of each it wrote the closing, found one, or set
/// aside what woke it. One that turned around ends by its last undo alone.
async fn looked_at(
    broker: &NatsBroker,
    flow: &'static Flow,
) -> Result<HashSet<String>, Unavailable> {
    let mut all = HashSet::new();
    for durable in flow.durables(Some(flow.closing().worker)) {
        let ends_all = match durable.role {
            Role::Forward => false,
            Role::Closing => true,
            Role::Undo | Role::Cancel | Role::Deadline(_) | Role::Released => continue,
        };
        // Asked first: what is stored from here on lies behind it. Without the durable, or without
        // leave to ask for it, nothing counts as settled.
        let state = broker.durable(flow.stream, &durable.name).await;
        let settled = state.ok().flatten().map_or(0, |state| state.settled);
        for filter in &durable.filters {
            let mut woken = broker.subjects(flow.stream, filter).await?.into_iter().collect();
            unsettled(broker, flow, filter, settled, &mut woken).await?;
            // Asked last: a refusal is settled only after the saga was turned around.
            let turned: HashSet<_> = match ends_all {
                true => HashSet::new(),
                false => ids(broker, flow, flow.turns.slot).await?.into_iter().collect(),
            };
            let ids = woken.iter().filter_map(|subject| Some(flow.parse_subject(subject)?.1));
            all.extend(ids.filter(|id| !turned.contains(id)).map(|id| id.to_string()));
        }
    }
    Ok(all)
}

/// Takes out of the subjects those of messages behind `settled`.
async fn unsettled(
    broker: &NatsBroker,
    flow: &Flow,
    filter: &str,
    settled: u64,
    subjects: &mut HashSet<String>,
) -> Result<(), Unavailable> {
    let mut from = settled + 1;
    loop {
        let mut page = broker.read_matching(flow.stream, filter, from, PAGE).await?;
        if page.messages.is_empty() {
            // That a replica has no more proves nothing.
            page = broker.read_matching_of_leader(flow.stream, filter, from, PAGE).await?;
        }
        let Some(last) = page.messages.last() else { return Ok(()) };
        from = last.sequence + 1;
        for message in &page.messages {
            subjects.remove(&message.subject);
        }
    }
}

/// Of those that have something in `slot`; what is no id is no saga.
async fn ids(broker: &NatsBroker, flow: &Flow, slot: &str) -> Result<Vec<SagaId>, Unavailable> {
    let subjects = broker.subjects(flow.stream, &flow.filter(slot)).await?;
    Ok(subjects.iter().filter_map(|subject| Some(flow.parse_subject(subject)?.1)).collect())
}

/// Reads many stories at once; two requests for about a dozen of them.
async fn stories(
    broker: &NatsBroker,
    flow: &Flow,
    sagas: &[SagaId],
    ui: Ui,
) -> anyhow::Result<Vec<Story>> {
    let slots: BTreeSet<_> = flow.events().into_iter().map(|(slot, _)| slot).collect();
    let parked_stream = flow.parked_stream();
    let mut stories = Vec::new();
    for ids in sagas.chunks((SLOTS / slots.len()).max(1)) {
        let of_one = |id| slots.iter().map(move |slot| format!("{}.{slot}.{id}", flow.subjects));
        let subjects = ids.iter().flat_map(of_one).collect();
        let filters = ids.iter().flat_map(|id| parked::filters(flow, id)).collect();
        let (events, parked) = tokio::try_join!(
            broker.last_of_many(flow.stream, subjects),
            broker.last_of_many(&parked_stream, filters),
        )?;
        let (mut events, mut parked) = (by_saga(events), by_saga(parked));
        stories.extend(ids.iter().map(|id| {
            let take = |of: &mut BTreeMap<String, Vec<Stored>>| of.remove(id.as_str());
            let (events, parked) = (take(&mut events), take(&mut parked));
            story::tell(flow, id, &events.unwrap_or_default(), &parked.unwrap_or_default())
        }));
        if ui.watched && stories.len() % 1_000 < ids.len() && stories.len() >= 1_000 {
            let far = format!("read {} of {}", stories.len(), sagas.len());
            ui.note(ui.on_stderr.paint(QUIET, far));
        }
    }
    Ok(stories)
}

/// Each subject of events, of parked messages and of releases ends with the id.
fn by_saga(messages: Vec<Stored>) -> BTreeMap<String, Vec<Stored>> {
    let mut of = BTreeMap::<_, Vec<_>>::new();
    for message in messages {
        let id = message.subject.rsplit('.').next().unwrap_or_default().to_owned();
        of.entry(id).or_default().push(message);
    }
    of
}

/// Those that wait longest first; after them, those in which it is nobody's turn.
fn worst_first(flow: &Flow, stories: &[Story], now: Timestamp) -> Vec<Row> {
    let has_ended =
        |story: &&Story| matches!(story.state.phase, Phase::Completed | Phase::Cancelled);
    let mut rows: Vec<_> =
        stories.iter().filter(|one| !has_ended(one)).map(|story| row(flow, story, now)).collect();
    rows.sort_by_key(|row| {
        let since = row.waits_since;
        (since.is_none(), since, row.opened)
    });
    rows
}

/// What turned it around, or why its next message was set aside.
fn reason(flow: &Flow, story: &Story) -> Option<String> {
    match (story.state.phase, &story.state.turned_by) {
        (Phase::Parked, _) => story.waits_at(flow).map(|parked| parked.reason.clone()),
        (_, turned) => turned.as_ref().map(|turn| turn.reason.clone()),
    }
}

fn row(flow: &Flow, story: &Story, now: Timestamp) -> Row {
    let state = &story.state;
    let opening = story.events.iter().find(|line| line.slot == flow.opens.slot);
    let waits = state.waits_for.as_ref();
    let age = |since| milliseconds(since, now).max(0.0);
    Row {
        id: story.id.to_string(),
        state: state.phase,
        waits_for: waits.map(|waits| waits.worker.clone()),
        waits_since: waits.map(|waits| waits.since),
        waits_ms: waits.map(|waits| age(waits.since)),
        reason: reason(flow, story),
        opened: opening.map(|line| line.sequence),
        opened_at: opening.map(|line| line.stored_at),
        age_ms: opening.map(|line| age(line.stored_at)),
    }
}

fn table(rows: &[Row], width: Option<usize>) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let time = |ms: Option<f64>| ms.map_or_else(|| "-".to_owned(), duration);
    let cells = |row: &Row| {
        let opened = row.opened_at.map(|at| at.strftime("%Y-%m-%d %H:%M:%S").to_string());
        let state = format!("{:?}", row.state).to_lowercase();
        let reason = quadrille::ids::shown(&text(&row.reason), 60);
        let (waits, since) = (text(&row.waits_for), time(row.waits_ms));
        let took =
            row.age_ms.map_or_else(|| "-".to_owned(), |ms| format!("{} so far", duration(ms)));
        vec![row.id.clone(), state, waits, since, reason, text(&opened), took]
    };
    let headings = ["id", "state", "waits for", " for", "reason", "opened (UTC)", " took"];
    let rows: Vec<_> = rows.iter().map(cells).collect();
    output::table_within(width, &headings, &rows, &EXPENDABLE)
}

fn summary(open: usize, shown: usize, tool: &str) -> String {
    let why = format!("`{tool} why ID` says why");
    match (open, shown) {
        (0, _) => "nothing is open".to_owned(),
        (open, shown) if open == shown => format!("{open} open; {why}"),
        (open, shown) => format!("{open} open, {shown} of them shown (--limit); {why}"),
    }
}

#[cfg(test)]
mod tests;
