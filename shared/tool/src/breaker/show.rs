//! What key, override, broker and replicas say of a service, each beside its source.

mod render;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use quadrille::breaker::fleet::{Entry, Override};
use quadrille::broker::{Broker, Pause, Unavailable};
use quadrille::flow::Role;
use quadrille::nats::NatsBroker;
use quadrille::worker::held::{self, Ask, Report};
use serde::Serialize;
use tokio::task::JoinSet;

use super::{Found, find, moment, read};
use crate::output::{self, Advise};
use crate::tool::Tool;
use render::text;

/// How long replicas may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// More than a key needs to travel.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

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
#[derive(Debug, Clone, Serialize)]
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
    let wanted = match service {
        Some(service) => vec![find(tool.flow, service)?],
        None => tool.flow.services(),
    };
    let connection = tool.connect().await?;
    let broker = &connection.broker;
    let mut state = State::read(broker, tool).await?;
    if state.durables.iter().any(|(_, durable)| durable.foreign_pause) {
        // A pause of the replicas may be here a moment before or after the key that explains it.
        tokio::time::sleep(LOOK_AGAIN).await;
        state = State::read(broker, tool).await?;
    }
    let workers = tool
        .flow
        .steps
        .iter()
        .filter(|row| row.requires.iter().any(|service| wanted.contains(service)));
    let reports = ask(broker, tool, workers.map(|row| row.worker)).await?;
    let mut shown = Vec::new();
    for service in wanted {
        let (key, forced) = state.keys.get(service).cloned().unwrap_or_default();
        let needs =
            |worker: &str| tool.flow.row(worker).is_some_and(|row| row.requires.contains(&service));
        let gated = state.durables.iter().filter(|(worker, _)| needs(worker));
        let durables = gated.map(|(_, durable)| durable.clone()).collect();
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

/// The key of a service, and its override.
type Keys = (Option<Found<Entry>>, Option<Found<Override>>);

/// What bucket and server say at about one moment.
struct State {
    keys: BTreeMap<&'static str, Keys>,
    /// The gated durables, each with its worker.
    durables: Vec<(&'static str, Durable)>,
}

impl State {
    /// Reads all keys of the flow, because a durable may need several services, and any of them may
    /// explain its pause.
    async fn read(broker: &NatsBroker, tool: &Tool) -> anyhow::Result<Self> {
        let mut keys = BTreeMap::new();
        for service in tool.flow.services() {
            keys.insert(service, read(broker, service, tool).await?);
        }
        let explained = explained(keys.values().filter_map(|(key, _)| key.as_ref()));
        let mut durables = Vec::new();
        for durable in tool.flow.durables(None) {
            let calls = tool.flow.row(durable.worker).is_some_and(|row| !row.requires.is_empty());
            if matches!(durable.role, Role::Forward | Role::Undo) && calls {
                let pause = broker.paused(tool.flow.stream, &durable.name).await;
                let explained_until = explained.get(&durable.name).copied();
                let shown = Durable::of(durable.name, pause, explained_until);
                durables.push((durable.worker, shown));
            }
        }
        Ok(Self { keys, durables })
    }
}

/// Until when the bucket explains the pause of each durable.
fn explained<'f>(keys: impl Iterator<Item = &'f Found<Entry>>) -> BTreeMap<String, Timestamp> {
    let mut explained = BTreeMap::new();
    let entries = keys.filter_map(|key| key.value.as_ref());
    for (durable, until_ms) in entries.flat_map(|entry| &entry.pauses) {
        let until = explained.entry(durable.clone()).or_insert(Timestamp::UNIX_EPOCH);
        *until = moment(*until_ms).max(*until);
    }
    explained
}

impl Durable {
    fn delivers(&self) -> bool {
        self.paused_until.is_none() && self.error.is_none()
    }

    fn of(
        durable: String,
        pause: Result<Pause, Unavailable>,
        explained_until: Option<Timestamp>,
    ) -> Self {
        let (pause, error) = match pause {
            Ok(pause) => (pause, None),
            Err(error) => (Pause::Off, Some(error.to_string())),
        };
        let paused_until = match &pause {
            Pause::Off => None,
            Pause::On { until, .. } => Some(*until),
        };
        let foreign_pause = pause.is_longer_than(explained_until.unwrap_or(Timestamp::UNIX_EPOCH));
        Self { durable, paused_until, explained_until, foreign_pause, error }
    }
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

#[cfg(test)]
mod tests;
