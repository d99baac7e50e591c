//! Creates and changes streams and durables; only `topology apply` of the operator's tool does
//! this. It never deletes, and refuses what would lose an event or strand an open saga.
//!
//! The stream's metadata holds the flow that it was made for. It distinguishes two cases: a lost
//! durable is created again where its work begins; a changed flow is not applied to a stream with
//! open sagas.

mod changes;
mod concerns;
mod durables;
mod keys;
mod open;
mod owner;

use std::fmt;

use serde::Deserialize;
use serde_json::{Value, json};

use super::NatsBroker;
use super::api::{self, Answer};
use super::inspect::{self, StreamInfo, too_old};
use super::settings::{plain, settings, stream_promises, stream_sizes};
use crate::broker::Unavailable;
use crate::topology::{DurableSpec, StreamSpec, Topology};
use changes::{Lasting, stream_changes};
use keys::Keys;

pub use concerns::concerns;

/// Metadata key of the flow's durables and filters, as they were when the stream was made.
const FLOW: &str = "quadrille.flow";

/// Metadata key of the saga type that a stream or durable was made for.
const SAGA: &str = "quadrille.saga";

/// The smallest that the server takes, in nanoseconds. Slots need no window, and within one the
/// server would take another order's message of the same `Nats-Msg-Id` for a repeat.
const DUPLICATE_WINDOW: u64 = 100_000_000;

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
    /// `code` is the server's own number for it, `err_code`.
    #[error("{object}: the broker refuses: {reason}")]
    Rejected { object: String, reason: String, code: u64 },
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
    let (client, names) = (&broker.client, &broker.names);
    let durables: Vec<_> =
        topology.durables(None).into_iter().map(|spec| names.durable_spec(spec)).collect();
    // Of the flow's stream, which is the first.
    let (mut kept_replicas, mut log_is_foreign) = (None, false);
    for usual in topology.streams().into_iter().chain(topology.buckets()) {
        let is_log = usual.name == topology.flow.stream;
        let keeps_bytes = topology.keeps_bytes(&usual);
        let mut spec = names.stream_spec(usual);
        let live = inspect::stream(client, &spec.name).await?;
        if topology.keep.replicas {
            let own = live.as_ref().and_then(replicas);
            kept_replicas = kept_replicas.or(own);
            spec.replicas = own.or(kept_replicas).unwrap_or(spec.replicas);
        }
        let Some(live) = live else {
            match owner::overlapping(client, topology.flow, &spec).await? {
                Some(refusal) => changes.push(refusal),
                None => changes.push(create_stream(&spec, topology, is_log)),
            }
            continue;
        };
        if let Some(why) = owner::foreign(client, topology.flow, &spec, &live, &durables).await? {
            changes.push(Change::refuse(&spec.title(), why));
            log_is_foreign |= is_log;
            continue;
        }
        if keeps_bytes {
            let live = live.config.get("max_bytes").and_then(Value::as_u64);
            // No limit at all is what an operator chose, too.
            spec.max_bytes = live.unwrap_or(0);
        }
        changes.extend(update_stream(broker, topology, &spec, &live, is_log, &durables).await?);
    }
    if !log_is_foreign {
        changes.extend(durables::durable_changes(broker, topology, &durables).await?);
    }
    Ok(changes)
}

/// Carries a plan out, in order.
///
/// # Errors
/// When the plan holds a refusal (then nothing was done), or the broker refuses or does not answer.
pub async fn apply(broker: &NatsBroker, plan: &[Change]) -> Result<(), ProvisionError> {
    let refused = plan.iter().filter(|change| change.kind == ChangeKind::Refuse);
    let refusals: Vec<_> = refused.map(Change::to_string).collect();
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

/// Each change may be sent again.
async fn send(broker: &NatsBroker, object: &str, action: &Action) -> Result<(), ProvisionError> {
    #[derive(Deserialize)]
    struct Done {}
    let body = action.body.to_string();
    let ask = async || api::request(&broker.client, action.subject.clone(), body.clone()).await;
    match api::twice(ask).await {
        Answer::Ok(Done {}) => Ok(()),
        Answer::Error(error) => {
            let (object, reason, code) = (object.to_owned(), error.to_string(), error.err_code);
            Err(ProvisionError::Rejected { object, reason, code })
        }
        Answer::None(unavailable) => Err(unavailable.into()),
    }
}

fn replicas(live: &StreamInfo) -> Option<u64> {
    live.config.get("num_replicas").and_then(Value::as_u64)
}

/// The flow in one line: `book-hotel=orders.inventory.*`, one for each durable.
fn flow_text(topology: &Topology) -> String {
    let mut durables: Vec<_> = topology
        .durables(None)
        .into_iter()
        // What is tried again reacts to no slot.
        .filter(|durable| durable.stream == topology.flow.stream)
        .map(|durable| format!("{}={}", durable.name, durable.filters.join("+")))
        .collect();
    durables.sort();
    durables.join(" ")
}

fn create_stream(spec: &StreamSpec, topology: &Topology, is_log: bool) -> Change {
    let mut config = settings(stream_promises(spec).into_iter().chain(stream_sizes(spec)));
    config.insert("name".to_owned(), json!(spec.name));
    config.insert("description".to_owned(), json!(description(spec, topology, is_log)));
    config.insert("duplicate_window".to_owned(), json!(DUPLICATE_WINDOW));
    config.insert("metadata".to_owned(), json!({ SAGA: topology.flow.saga }));
    if is_log {
        config["metadata"][FLOW] = json!(flow_text(topology));
        keys::note(&mut config, keys::of_new_log(topology));
    }
    let (subjects, copies) = (spec.subjects.join(" "), spec.replicas);
    let copies = if copies == 1 { "one copy".to_owned() } else { format!("{copies} copies") };
    let size = plain("max_bytes", &json!(spec.max_bytes));
    Change {
        kind: ChangeKind::Create,
        object: spec.title(),
        sentence: format!("create it for {subjects}, {copies}, at most {size}"),
        actions: vec![Action {
            subject: format!("$JS.API.STREAM.CREATE.{}", spec.name),
            body: Value::Object(config),
        }],
    }
}

/// What stock tools show beside the name.
fn description(spec: &StreamSpec, topology: &Topology, is_log: bool) -> String {
    let saga = topology.flow.saga;
    match (spec.owner, &spec.lives) {
        (Some(worker), _) => format!("Quadrille: what {worker} keeps for itself"),
        (None, Some(_)) => "Quadrille: circuit breakers, and attempts at messages".to_owned(),
        (None, None) if is_log => format!("Quadrille: every event of the {saga} sagas"),
        (None, None) => format!("Quadrille: messages of {saga} sagas that were set aside"),
    }
}

async fn update_stream(
    broker: &NatsBroker,
    topology: &Topology,
    spec: &StreamSpec,
    live: &StreamInfo,
    is_log: bool,
    durables: &[DurableSpec],
) -> Result<Vec<Change>, Unavailable> {
    let mut config = live.config.clone();
    let object = spec.title();
    let (mut changes, mut sentences) = (Vec::new(), Vec::new());
    for found in stream_changes(spec, live) {
        match found {
            Lasting::Refuse(sentence) => changes.push(Change::refuse(&object, sentence)),
            // It is one of the `concerns`.
            Lasting::Leave { .. } => {}
            Lasting::Update { key, value, sentence } => {
                config.insert(key.to_owned(), value);
                sentences.push(sentence);
            }
        }
    }
    let live_flow = live.config.get("metadata").and_then(|metadata| metadata.get(FLOW));
    let text = json!(flow_text(topology));
    if is_log && live_flow != Some(&text) {
        // A label of another hand replaces all of them. The durables tell the flow as well.
        let is_lost = live_flow.is_none() && durables::are_there(broker, durables).await?;
        let open = match is_lost {
            true => open::OpenSagas::default(),
            false => open::open_sagas(broker, topology.flow).await?,
        };
        if open.is_empty() {
            let metadata = config.entry("metadata").or_insert_with(|| json!({}));
            metadata[FLOW] = text;
            metadata[SAGA] = json!(topology.flow.saga);
            sentences.push("note the flow".to_owned());
        } else {
            changes.push(Change::refuse(&object, flow_changed(&open)));
        }
    }
    match keys::of_log(topology, live) {
        _ if !is_log => {}
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

fn flow_changed(open: &open::OpenSagas) -> String {
    format!(
        "the flow has changed, and {open} under the old one: let them end first, or give the new \
         flow a saga type and a stream of its own"
    )
}

impl Change {
    /// Whether it is made as a whole or not at all.
    pub fn is_one_step(&self) -> bool {
        self.actions.len() == 1
    }

    fn refuse(object: &str, sentence: String) -> Self {
        let object = object.to_owned();
        Self { kind: ChangeKind::Refuse, object, sentence, actions: Vec::new() }
    }

    fn update(object: String, sentences: Vec<String>, actions: Vec<Action>) -> Self {
        Self { kind: ChangeKind::Update, object, sentence: sentences.join("; "), actions }
    }
}
