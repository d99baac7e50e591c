//! What is in the workers' hands now: messages that wait for a service, or that have failed and are
//! tried again. No rows have it, because it is in no log; each replica is asked, and one that does
//! not answer is missing, so every answer says how many did.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::join_all;
use quadrille::Flow;
use quadrille::broker::Broker;
use quadrille::service::problem::Problem;
use quadrille::worker::held::{Ask, Held, Report, subject};
use serde_json::{Value, json};

use crate::api::{Api, saga_of};
use crate::question::{Question, bad};

/// How long replicas may take to answer.
const PATIENCE: Duration = Duration::from_millis(400);

/// What replicas of the flow's workers said.
pub(crate) struct Hands(Vec<Report>);

/// Which messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Any,
    /// Those that never failed: they wait for a service, or for a place.
    Waiting,
    /// Those that failed, and are tried again.
    Retrying,
}

impl Which {
    /// `None` if the question does not ask for it.
    pub(crate) fn of(question: &Question) -> Result<Option<Self>, Problem> {
        match question.text("held") {
            None => Ok(None),
            Some("any") => Ok(Some(Self::Any)),
            Some("waiting") => Ok(Some(Self::Waiting)),
            Some("retrying") => Ok(Some(Self::Retrying)),
            Some(_) => Err(bad("held", "must be any, waiting or retrying", Some("retrying"))),
        }
    }

    fn has(self, held: &Held) -> bool {
        match self {
            Self::Any => true,
            Self::Waiting => held.last_error.is_none(),
            Self::Retrying => held.last_error.is_some(),
        }
    }
}

impl Hands {
    /// What was asked already.
    pub(crate) fn of(reports: Vec<Report>) -> Self {
        Self(reports)
    }

    pub(crate) async fn look(flow: &Flow, broker: &dyn Broker) -> Self {
        let asked = flow.steps.iter().map(|row| ask(flow, broker, row.worker));
        Self(join_all(asked).await.into_iter().flatten().collect())
    }

    /// The sagas of these messages.
    pub(crate) fn sagas(&self, which: Which) -> BTreeSet<&str> {
        let held = self.0.iter().flat_map(|report| &report.held);
        held.filter(|held| which.has(held)).map(|held| held.saga.as_str()).collect()
    }

    /// Adds to each row what is held of it.
    pub(crate) fn add_to(&self, rows: &mut [Value], which: Which) {
        let mut of_saga: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for report in &self.0 {
            for held in report.held.iter().filter(|held| which.has(held)) {
                of_saga.entry(&held.saga).or_default().push(row(report, held));
            }
        }
        for row in rows {
            let held = row["id"].as_str().and_then(|id| of_saga.remove(id));
            row["held"] = held.unwrap_or_default().into();
        }
    }

    /// Messages that are held and that no answer has room for.
    pub(crate) fn not_named(&self) -> usize {
        self.0.iter().map(|report| report.held_total.saturating_sub(report.held.len())).sum()
    }

    /// How many replicas of each worker answered.
    pub(crate) fn asked(&self, flow: &Flow) -> Value {
        let replicas = |worker| self.0.iter().filter(|report| report.worker == worker).count();
        let asked = flow
            .steps
            .iter()
            .map(|row| json!({ "worker": row.worker, "replicas": replicas(row.worker) }));
        asked.collect()
    }
}

/// What all replicas of a worker say of themselves.
async fn ask(flow: &Flow, broker: &dyn Broker, worker: &str) -> Vec<Report> {
    let question = serde_json::to_vec(&Ask::default()).unwrap_or_default();
    let answers = broker.ask_each(&subject(worker), question.into(), PATIENCE).await;
    let answers = answers.unwrap_or_default();
    let reports = answers.iter().filter_map(|answer| serde_json::from_slice(answer).ok());
    // Another flow may have a worker of the same name.
    reports.filter(|report: &Report| report.saga == flow.saga).collect()
}

/// The messages themselves, of one saga or of all.
pub(crate) async fn held(api: &Api, question: &Question) -> Result<Value, Problem> {
    let which = Which::of(question)?.unwrap_or(Which::Any);
    let saga = question.text("id").map(|_| saga_of(question)).transpose()?;
    let hands = Hands::look(api.flow, &*api.broker).await;
    let is_of = |held: &&Held| saga.as_ref().is_none_or(|saga| held.saga == saga.as_str());
    let rows = hands.0.iter().flat_map(|report| {
        let held = report.held.iter().filter(|held| which.has(held)).filter(is_of);
        held.map(|held| row(report, held))
    });
    let rows: Vec<_> = rows.collect();
    let (not_named, asked) = (hands.not_named(), hands.asked(api.flow));
    Ok(json!({ "held": rows, "not_named": not_named, "asked": asked }))
}

fn row(report: &Report, held: &Held) -> Value {
    json!({
        "id": held.saga,
        "worker": report.worker,
        "instance": report.instance,
        "durable": held.durable,
        "sequence": held.sequence,
        "attempt": held.attempt,
        "charged": held.charged,
        "last_error": held.last_error,
        "since": held.since,
        "next_try": held.next_try,
    })
}
