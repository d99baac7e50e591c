//! Creates and changes streams and durables; only `topology apply` of the operator's tool does
//! this. It never deletes, and refuses what would lose an event or strand an open saga.
//!
//! The stream's metadata holds the flow that it was made for. It distinguishes two cases: a lost
//! durable is created again where its work begins; a changed flow is not applied to a stream with
//! open sagas.

mod changes;
mod durables;
mod keys;
mod open;

use std::fmt;

use serde::Deserialize;
use serde_json::{Value, json};

use super::NatsBroker;
use super::api::{self, Answer, ApiError};
use super::inspect::{self, StreamInfo, too_old};
use super::settings::{settings, stream_promises, stream_sizes};
use crate::broker::Unavailable;
use crate::topology::{StreamSpec, Topology};
use changes::{Lasting, stream_changes};
use keys::Keys;

/// Metadata key of the flow's durables and filters, as they were when the stream was made.
const FLOW: &str = "quadrille.flow";

/// One thing that `apply` would do, or the reason why it will not.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub kind: ChangeKind,
    /// `stream ORDERS`, `bucket breakers`, `durable book-hotel`, `server`.
    pub object: String,
    /// The whole change, for people.
    pub sentence: String,
    /// In this order; each of them may be sent again.
    actions: Vec<Action>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    Create,
    Update,
    /// While the plan holds one of these, `apply` does nothing at all.
    Refuse,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.sentence)
    }
}

/// A request to the broker, ready to be sent.
#[derive(Debug, Clone, PartialEq)]
struct Action {
    subject: String,
    body: Value,
}

/// Why a plan was not applied, or only in part; applying it again is safe.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    #[error("refused: {}", .0.join("; "))]
    Refused(Vec<String>),
    #[error("{object}: the broker refuses: {reason}")]
    Rejected { object: String, reason: String },
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// What must change so that the broker is as `topology` says; empty if nothing must.
///
/// # Errors
/// When the broker does not answer.
pub async fn plan(broker: &NatsBroker, topology: &Topology) -> Result<Vec<Change>, Unavailable> {
    if let Some(sentence) = too_old(&broker.client, topology.profile.oldest_server()) {
        let sentence = format!("{sentence} for the profile {}", topology.profile);
        return Ok(vec![Change::refuse("server", sentence)]);
    }
    let mut changes = Vec::new();
    let flow_text = flow_text(topology);
    // Of the flow's stream, which is the first.
    let mut kept_replicas = None;
    for mut spec in topology.streams().into_iter().chain(topology.buckets()) {
        let text = (spec.name == topology.flow.stream).then_some(flow_text.as_str());
        let live = inspect::stream(&broker.client, &spec.name).await?;
        if topology.keep.replicas {
            let own = live.as_ref().and_then(replicas);
            kept_replicas = kept_replicas.or(own);
            spec.replicas = own.or(kept_replicas).unwrap_or(spec.replicas);
        }
        match live {
            None => changes.push(create_stream(topology, &spec, text)),
            Some(live) => {
                changes.extend(update_stream(broker, topology, &spec, &live, text).await?)
            }
        }
    }
    changes.extend(durables::durable_changes(&broker.client, topology).await?);
    Ok(changes)
}

/// Carries a plan out, in order.
///
/// # Errors
/// When the plan holds a refusal (then nothing was done), or the broker refuses or does not answer.
pub async fn apply(broker: &NatsBroker, plan: &[Change]) -> Result<(), ProvisionError> {
    let refusals: Vec<_> = plan
        .iter()
        .filter(|change| change.kind == ChangeKind::Refuse)
        .map(Change::to_string)
        .collect();
    if !refusals.is_empty() {
        return Err(ProvisionError::Refused(refusals));
    }
    for change in plan {
        for action in &change.actions {
            send(broker, &change.object, action).await?;
        }
    }
    Ok(())
}

async fn send(broker: &NatsBroker, object: &str, action: &Action) -> Result<(), ProvisionError> {
    #[derive(Deserialize)]
    struct Done {}
    let (subject, body) = (action.subject.clone(), action.body.to_string());
    match api::request::<Done>(&broker.client, subject, body).await {
        Answer::Ok(Done {}) => Ok(()),
        Answer::Error(error) => Err(rejected(object, &error)),
        Answer::None(unavailable) => Err(unavailable.into()),
    }
}

fn rejected(object: &str, error: &ApiError) -> ProvisionError {
    ProvisionError::Rejected { object: object.to_owned(), reason: error.to_string() }
}

fn replicas(live: &StreamInfo) -> Option<u64> {
    live.config.get("num_replicas").and_then(Value::as_u64)
}

/// The flow in one line: `book-hotel=orders.inventory.*`, one for each durable.
fn flow_text(topology: &Topology) -> String {
    let mut durables: Vec<_> = topology
        .durables(None)
        .into_iter()
        .map(|durable| format!("{}={}", durable.name, durable.filters.join("+")))
        .collect();
    durables.sort();
    durables.join(" ")
}

fn create_stream(topology: &Topology, spec: &StreamSpec, flow_text: Option<&str>) -> Change {
    let mut config = settings(stream_promises(spec).into_iter().chain(stream_sizes(spec)));
    config.insert("name".to_owned(), json!(spec.name));
    if let Some(text) = flow_text {
        config.insert("metadata".to_owned(), json!({ FLOW: text }));
        keys::note(&mut config, keys::of_new_log(topology));
    }
    let (subjects, copies) = (spec.subjects.join(" "), spec.replicas);
    let copies = if copies == 1 { "one copy".to_owned() } else { format!("{copies} copies") };
    Change {
        kind: ChangeKind::Create,
        object: spec.title(),
        sentence: format!("create it for {subjects}, {copies}, at most {} bytes", spec.max_bytes),
        actions: vec![Action {
            subject: format!("$JS.API.STREAM.CREATE.{}", spec.name),
            body: Value::Object(config),
        }],
    }
}

async fn update_stream(
    broker: &NatsBroker,
    topology: &Topology,
    spec: &StreamSpec,
    live: &StreamInfo,
    flow_text: Option<&str>,
) -> Result<Vec<Change>, Unavailable> {
    let mut config = live.config.clone();
    let object = spec.title();
    let (mut changes, mut sentences) = (Vec::new(), Vec::new());
    for found in stream_changes(spec, live) {
        match found {
            Lasting::Refuse(sentence) => changes.push(Change::refuse(&object, sentence)),
            Lasting::Update { key, value, sentence } => {
                config.insert(key.to_owned(), value);
                sentences.push(sentence);
            }
        }
    }
    let live_flow = live.config.get("metadata").and_then(|metadata| metadata.get(FLOW));
    if let Some(text) = flow_text
        && live_flow != Some(&json!(text))
    {
        match open::open_sagas(&broker.client, topology.flow).await?.count {
            0 => {
                let metadata = config.entry("metadata").or_insert_with(|| json!({}));
                metadata[FLOW] = json!(text);
                sentences.push("note the flow".to_owned());
            }
            open => changes.push(Change::refuse(&object, flow_changed(open))),
        }
    }
    match keys::of_log(topology, live) {
        _ if flow_text.is_none() => {}
        Keys::Stay => {}
        Keys::Note(keys) => {
            keys::note(&mut config, keys);
            sentences.push(format!("note {keys} for its idempotency keys"));
        }
        Keys::Refuse(sentence) => changes.push(Change::refuse(&object, sentence)),
    }
    if !sentences.is_empty() {
        let subject = format!("$JS.API.STREAM.UPDATE.{}", spec.name);
        let action = Action { subject, body: Value::Object(config) };
        changes.push(Change::update(object, sentences, vec![action]));
    }
    Ok(changes)
}

fn flow_changed(open: u64) -> String {
    format!(
        "the flow has changed, and {open} open under the old one: let them end first, or give the \
         new flow a saga type and a stream of its own",
        open = if open == 1 { "one saga is".to_owned() } else { format!("{open} sagas are") },
    )
}

impl Change {
    fn refuse(object: &str, sentence: String) -> Self {
        let object = object.to_owned();
        Self { kind: ChangeKind::Refuse, object, sentence, actions: Vec::new() }
    }

    fn update(object: String, sentences: Vec<String>, actions: Vec<Action>) -> Self {
        Self { kind: ChangeKind::Update, object, sentence: sentences.join("; "), actions }
    }
}
