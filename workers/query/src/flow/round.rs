//! One look at the durables, at the keys of the breakers, and at who answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use quadrille::Flow;
use quadrille::breaker::fleet::{Entry, Mode, Override, Phase};
use quadrille::broker::{Broker, DurableState, Unavailable};
use quadrille::flow::{Durable, Role};
use quadrille::topology::{BREAKERS, override_key};
use quadrille::worker::held::{Ask, Report, subject};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

/// All who ask within this time get the same answer.
const FRESH: Duration = Duration::from_millis(300);
/// How long replicas may take to answer.
const PATIENCE: Duration = Duration::from_millis(400);
/// How long a replica counts as running after a question that it answered: it may miss the next
/// one, because a busy machine is no stopped worker. People see a stop within two seconds.
const HEARD: Duration = Duration::from_secs(1);
/// How long the broker may take.
const BROKER: Duration = Duration::from_millis(1_500);
/// Messages that each replica names.
const HELD: usize = 20;

/// Looks when it is asked, and remembers who answered.
#[derive(Default)]
pub(crate) struct Watch(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    last: Option<(Instant, Arc<Round>)>,
    heard: BTreeMap<String, (Instant, Report)>,
}

/// What was seen at about one moment.
#[derive(Default)]
pub(super) struct Round {
    pub(super) durables: BTreeMap<String, Result<Option<DurableState>, Unavailable>>,
    /// What the fleet decided about each service, and an operator's word.
    keys: BTreeMap<&'static str, (Option<Entry>, Option<Override>)>,
    reports: Vec<Report>,
}

impl Watch {
    pub(super) async fn round(&self, flow: &'static Flow, broker: &dyn Broker) -> Arc<Round> {
        // Those who wait for the lock find a fresh look.
        let mut seen = self.0.lock().await;
        if let Some((at, round)) = &seen.last
            && at.elapsed() < FRESH
        {
            return round.clone();
        }
        let asked = Instant::now();
        let durables = super::arrows(flow);
        let live = join_all(durables.iter().map(|durable| {
            let state = broker.durable(flow.stream, &durable.name);
            async move {
                let late = Err(Unavailable("it was asked how far a durable is".to_owned()));
                (durable.name.clone(), timeout(BROKER, state).await.unwrap_or(late))
            }
        }));
        let keys = join_all(flow.services().into_iter().map(|service| async move {
            let word = override_key(service);
            let read = futures::future::join(read(broker, service), read(broker, &word)).await;
            (service, read)
        }));
        let reports = join_all(flow.steps.iter().map(|row| ask(flow, broker, row.worker)));
        let (durables, keys, reports) = tokio::join!(live, keys, reports);
        for report in reports.into_iter().flatten() {
            seen.heard.insert(report.instance.clone(), (asked, report));
        }
        seen.heard.retain(|_, (at, _)| at.elapsed() < HEARD);
        let reports = seen.heard.values().map(|(_, report)| report.clone()).collect();
        let durables = durables.into_iter().collect();
        let round = Arc::new(Round { durables, keys: keys.into_iter().collect(), reports });
        seen.last = Some((Instant::now(), round.clone()));
        round
    }
}

/// What all replicas of a worker say of themselves.
async fn ask(flow: &Flow, broker: &dyn Broker, worker: &str) -> Vec<Report> {
    let question = serde_json::to_vec(&Ask { limit: HELD }).unwrap_or_default();
    let answers = broker.ask_each(&subject(worker), question.into(), PATIENCE).await;
    let answers = answers.unwrap_or_default();
    let reports = answers.iter().filter_map(|answer| serde_json::from_slice(answer).ok());
    // Another flow may have a worker of the same name.
    reports.filter(|report: &Report| report.saga == flow.saga).collect()
}

/// A key of the bucket; what cannot be read is as if it were not there, as for the workers.
async fn read<T: DeserializeOwned>(broker: &dyn Broker, key: &str) -> Option<T> {
    let entry = timeout(BROKER, broker.entry(BREAKERS, key)).await.ok()?.ok()??;
    serde_json::from_slice(&entry.value).ok()
}

impl Round {
    /// Why nothing is known, if nothing is.
    pub(super) fn no_answer(&self) -> Option<&Unavailable> {
        let all = self.durables.values().all(Result::is_err);
        self.durables.values().find_map(|live| live.as_ref().err()).filter(|_| all)
    }

    pub(super) fn reports(&self) -> impl Iterator<Item = &Report> {
        self.reports.iter()
    }

    /// Why the messages of a durable are not taken now: `by` a service's breaker, an operator's
    /// word, or another client.
    pub(super) fn pause(&self, durable: &Durable, state: Option<&DurableState>) -> Option<Value> {
        let on_server = state.and_then(|state| super::paused(&state.pause));
        let reports = self.reports.iter().filter(|report| report.worker == durable.worker);
        let breakers = reports.flat_map(|report| &report.breakers);
        let shut = breakers.filter(|_| durable.role != Role::Closing).find(|one| !one.gate_open);
        if on_server.is_none() && shut.is_none() {
            return None;
        }
        let explained = self.keys.values().filter_map(|(key, _)| key.as_ref());
        let explained = explained.filter_map(|key| key.pauses.get(&durable.name)).max();
        let explained = explained.map_or(Timestamp::MIN, |until| moment(*until));
        Some(json!({
            "service": shut.map(|one| &one.dependency),
            "phase": shut.map(|one| one.phase),
            "until": on_server.map(|until| until.to_string()),
            // Longer than any key explains: a person paused it with another tool.
            "foreign": on_server.is_some_and(|until| until > explained),
        }))
    }

    /// The outside services of the flow, and what the breakers say of them.
    pub(super) fn services(&self, flow: &'static Flow) -> Vec<Value> {
        let services = flow.all_services().into_iter().map(|name| {
            let workers = |of: fn(&quadrille::flow::Row) -> &'static [&'static str]| {
                let rows = flow.steps.iter().filter(move |row| of(row).contains(&name));
                rows.map(|row| row.worker).collect::<Vec<_>>()
            };
            let (key, forced) = self.keys.get(name).cloned().unwrap_or_default();
            let phase = match forced.as_ref().map(|forced| forced.mode) {
                Some(Mode::Paused) => Phase::Paused,
                Some(Mode::Flowing | Mode::Observe) => Phase::Flowing,
                None => key.as_ref().map_or(Phase::Flowing, |key| key.phase),
            };
            json!({
                "service": name,
                "required_by": workers(|row| row.requires),
                "preferred_by": workers(|row| row.prefers),
                "phase": phase,
                "reason": key.as_ref().map(|key| key.reason),
                "by": key.as_ref().map(|key| &key.by),
                "since": key.as_ref().map(|key| moment(key.since_ms).to_string()),
                "override": forced.map(|forced| json!({
                    "mode": forced.mode,
                    "by": forced.by,
                    "reason": forced.reason,
                    "until": moment(forced.until_ms).to_string(),
                })),
            })
        });
        services.collect()
    }
}

/// Milliseconds since 1970 as a time.
fn moment(milliseconds: u64) -> Timestamp {
    let milliseconds = i64::try_from(milliseconds).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::MAX)
}
