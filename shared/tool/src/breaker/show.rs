//! What key, override, broker and replicas say of a service, each beside its source.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use quadrille::breaker::fleet::{Entry, Override};
use quadrille::broker::{Broker, Pause};
use quadrille::flow::Role;
use quadrille::nats::NatsBroker;
use quadrille::worker::held::{self, Ask, Report};
use serde::Serialize;
use tokio::task::JoinSet;

use super::{Found, find, moment, plain, read, sentence, word};
use crate::output::{self, Advise, BAD, GOOD, Paint, STRONG, Style, WAITS};
use crate::tool::Tool;

/// How long replicas may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// One service.
#[derive(Debug, Serialize)]
struct Shown {
    dependency: String,
    key: Option<Found<Entry>>,
    #[serde(rename = "override")]
    forced: Option<Found<Override>>,
    durables: Vec<Durable>,
    replicas: Vec<Replica>,
    /// Workers of which no replica answered.
    silent: Vec<String>,
}

/// A durable whose messages need the service, as the server has it.
#[derive(Debug, Serialize)]
struct Durable {
    durable: String,
    paused_until: Option<Timestamp>,
    /// The latest that a key of the bucket says.
    explained_until: Option<Timestamp>,
    foreign_pause: bool,
    /// Why nothing is known.
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct Replica {
    instance: String,
    #[serde(flatten)]
    breaker: held::Breaker,
}

pub(super) async fn run(
    service: Option<&str>,
    json: bool,
    tool: &Tool,
) -> anyhow::Result<ExitCode> {
    let all = tool.flow.services();
    let wanted = match service {
        Some(service) => vec![find(tool.flow, service)?],
        None => all.clone(),
    };
    let connection = tool.connect().await?;
    let broker = &connection.broker;
    // A durable may need several services, and any of them may explain its pause.
    let mut keys = BTreeMap::new();
    for service in &all {
        keys.insert(*service, read(broker, service, tool).await?);
    }
    let workers = tool
        .flow
        .steps
        .iter()
        .filter(|row| row.requires.iter().any(|service| wanted.contains(service)));
    let reports = ask(broker, tool, workers.map(|row| row.worker)).await?;
    let mut shown = Vec::new();
    for service in wanted {
        let durables = durables(broker, tool, service, &explained(&keys)).await;
        let (key, forced) = keys.get(service).cloned().unwrap_or_default();
        let (replicas, silent) = replicas(tool, service, &reports);
        let dependency = service.to_owned();
        shown.push(Shown { dependency, key, forced, durables, replicas, silent });
    }
    if json {
        output::json(&shown)?;
    } else if shown.is_empty() {
        tool.ui.note("no step calls an outside service");
    } else {
        let texts: Vec<_> = shown.iter().map(|one| text(one, tool.ui.on_stdout)).collect();
        output::data(&texts.join("\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Until when the bucket explains the pause of each durable.
fn explained(
    keys: &BTreeMap<&str, (Option<Found<Entry>>, Option<Found<Override>>)>,
) -> BTreeMap<String, Timestamp> {
    let mut explained = BTreeMap::new();
    let entries = keys.values().filter_map(|(key, _)| key.as_ref()?.value.as_ref());
    for (durable, until_ms) in entries.flat_map(|entry| &entry.pauses) {
        let until = explained.entry(durable.clone()).or_insert(Timestamp::UNIX_EPOCH);
        *until = moment(*until_ms).max(*until);
    }
    explained
}

async fn durables(
    broker: &NatsBroker,
    tool: &Tool,
    service: &str,
    explained: &BTreeMap<String, Timestamp>,
) -> Vec<Durable> {
    let mut shown = Vec::new();
    let needs = |worker| tool.flow.row(worker).is_some_and(|row| row.requires.contains(&service));
    let gated = tool.flow.durables(None).into_iter();
    for durable in gated.filter(|one| one.role != Role::Closing && needs(one.worker)) {
        let explained_until = explained.get(&durable.name).copied();
        let (pause, error) = match broker.paused(tool.flow.stream, &durable.name).await {
            Ok(pause) => (pause, None),
            Err(error) => (Pause::Off, Some(error.to_string())),
        };
        let paused_until = match &pause {
            Pause::Off => None,
            Pause::On { until, .. } => Some(*until),
        };
        let explains = explained_until.unwrap_or(Timestamp::UNIX_EPOCH);
        let foreign_pause = pause.is_longer_than(explains);
        let durable = durable.name;
        shown.push(Durable { durable, paused_until, explained_until, foreign_pause, error });
    }
    shown
}

/// What all replicas of these workers say, all at once.
async fn ask(
    broker: &NatsBroker,
    tool: &Tool,
    workers: impl Iterator<Item = &'static str>,
) -> anyhow::Result<Vec<Report>> {
    let question = serde_json::to_vec(&Ask { limit: 0 })?;
    let mut asked = JoinSet::new();
    for worker in workers {
        let (broker, question) = (broker.clone(), question.clone());
        let subject = held::subject(worker);
        asked.spawn(async move { broker.ask_each(&subject, question.into(), PATIENCE).await });
    }
    let mut reports = Vec::new();
    for answers in asked.join_all().await {
        let answers = answers.map_err(|error| error.advise("no replica was asked"))?;
        for answer in answers {
            match serde_json::from_slice::<Report>(&answer) {
                Ok(report) if report.saga == tool.flow.saga => reports.push(report),
                Ok(_) => {}
                Err(error) => tool.ui.note(format!("an answer cannot be read ({error}); skipped")),
            }
        }
    }
    reports.sort_by(|a, b| a.instance.cmp(&b.instance));
    Ok(reports)
}

fn replicas(tool: &Tool, service: &str, reports: &[Report]) -> (Vec<Replica>, Vec<String>) {
    let mut replicas = Vec::new();
    for report in reports {
        let breaker = report.breakers.iter().find(|breaker| breaker.dependency == service);
        replicas.extend(breaker.map(|breaker| Replica {
            instance: report.instance.clone(),
            breaker: breaker.clone(),
        }));
    }
    let steps = tool.flow.steps.iter().filter(|row| row.requires.contains(&service));
    let silent = steps.filter(|row| reports.iter().all(|report| report.worker != row.worker));
    (replicas, silent.map(|row| row.worker.to_owned()).collect())
}

fn text(shown: &Shown, paint: Paint) -> String {
    let Shown { dependency, key, forced, durables, replicas, silent } = shown;
    let mut text = format!("{}\n", paint.paint(STRONG, dependency));
    let mut line = |source: &str, said: String| {
        let _ = writeln!(text, "  {source:<9} {said}");
    };
    line(
        "key",
        key.as_ref().map_or("none: nothing was ever decided".to_owned(), |key| {
            let revision = key.revision;
            match (&key.value, &key.junk) {
                (Some(entry), _) => format!("{} (revision {revision})", agreed(entry, paint)),
                (None, junk) => {
                    let junk = junk.as_deref().unwrap_or_default();
                    let mark = paint.paint(BAD, "not a breaker's entry");
                    format!("{mark}, revision {revision}: {junk}")
                }
            }
        }),
    );
    line(
        "override",
        forced.as_ref().map_or("none".to_owned(), |forced| match (&forced.value, &forced.junk) {
            (Some(forced), _) => paint.paint(WAITS, sentence(forced)),
            (None, junk) => {
                format!("ignored, no override: {}", junk.as_deref().unwrap_or_default())
            }
        }),
    );
    for durable in durables {
        line("server", delivers(durable, paint));
    }
    for replica in replicas {
        line("replica", says(replica, paint));
    }
    for worker in silent {
        line("replica", format!("{worker}: none answers"));
    }
    text
}

fn agreed(entry: &Entry, paint: Paint) -> String {
    let Entry { phase, by, reason, since_ms, wait_ms, k, .. } = entry;
    let phase = word(phase);
    let style = phase_style(&phase);
    let (since, by, reason) = (moment(*since_ms), plain(by.as_bytes()), word(reason));
    #[expect(clippy::cast_precision_loss, reason = "it is shown with one digit")]
    let wait = output::duration(*wait_ms as f64);
    let phase = paint.paint(style, phase);
    format!("{phase} since {since:.0}, by {by}, {reason}, wait {wait}, k {k}")
}

fn phase_style(phase: &str) -> Style {
    match phase {
        "flowing" => GOOD,
        "paused" => BAD,
        _ => WAITS,
    }
}

fn delivers(durable: &Durable, paint: Paint) -> String {
    let Durable { durable, paused_until, foreign_pause, error, .. } = durable;
    if let Some(error) = error {
        return format!("{durable}: unknown, {error}");
    }
    match paused_until {
        None => format!("{durable}: delivers"),
        Some(until) if *foreign_pause => {
            let mark = paint.paint(WAITS, "foreign_pause");
            format!("{durable}: paused until {until:.0}, {mark}: no key of the bucket explains it")
        }
        Some(until) => format!("{durable}: paused until {until:.0}"),
    }
}

fn says(replica: &Replica, paint: Paint) -> String {
    let Replica { instance, breaker } = replica;
    let held::Breaker { phase, doubting_since, cut_off, limit, out, held, .. } = breaker;
    let phase = word(phase);
    let style = phase_style(&phase);
    let mut said = format!("{instance}: {}", paint.paint(style, phase));
    if let Some(since) = doubting_since {
        let _ = write!(said, ", no answers since {since:.0}");
    }
    if *cut_off {
        let _ = write!(said, ", {}", paint.paint(BAD, "cut off: others are answered"));
    }
    if breaker.on_its_own {
        let _ = write!(said, ", on its own: it cannot read the bucket");
    }
    if let Some(forced) = &breaker.forced {
        let _ = write!(said, ", obeys the override {}", word(&forced.mode));
    }
    let _ = write!(said, "; limit {limit}, in flight {out}, held {held}");
    said
}

#[cfg(test)]
mod tests;
