//! Creating and changing streams and durables: what `quadrille topology apply` does, and nobody
//! else. Never deletes, and refuses what would lose an event or strand an open saga.
//!
//! The flow that a stream was made for is written into its metadata. That tells a durable that got
//! lost, which is made again where its work begins, from a changed flow, which is not applied to a
//! stream with open sagas.

mod changes;
mod open;

use std::fmt;

use serde::Deserialize;
use serde_json::{Value, json};

use super::NatsBroker;
use super::api::{self, Answer, ApiError};
use super::inspect::{self, StreamInfo, too_old};
use super::settings::{
    Difference, Settings, differences, durable_promises, durable_sizes, settings, stream_promises,
    stream_sizes,
};
use crate::broker::Unavailable;
use crate::topology::{DurableSpec, StreamSpec, Topology};
use changes::{Lasting, stream_changes};

/// Metadata key of the flow's durables and filters, as the stream was made for them.
const FLOW: &str = "quadrille.flow";

/// One thing that `apply` would do, or why it will not.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub kind: ChangeKind,
    /// `stream ORDERS`, `durable charge-customer`, `server`.
    pub object: String,
    /// The whole of it, for people.
    pub sentence: String,
    /// In this order; all of them may be sent again.
    actions: Vec<Action>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    Create,
    Update,
    /// Nothing at all is applied while one of these is in the plan.
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

/// What must change for the broker to be as `topology` says; empty when nothing must.
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
    for spec in topology.streams() {
        let text = (spec.name == topology.flow.stream).then_some(flow_text.as_str());
        match inspect::stream(&broker.client, &spec.name).await? {
            None => changes.push(create_stream(&spec, text)),
            Some(live) => {
                changes.extend(update_stream(broker, topology, &spec, &live, text).await?)
            }
        }
    }
    changes.extend(durables(broker, topology).await?);
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

/// The flow in one line: `charge-customer=orders.inventory.*`, one for each durable.
fn flow_text(topology: &Topology) -> String {
    let mut durables: Vec<_> = topology
        .durables(None)
        .into_iter()
        .map(|durable| format!("{}={}", durable.name, durable.filters.join("+")))
        .collect();
    durables.sort();
    durables.join(" ")
}

fn create_stream(spec: &StreamSpec, flow_text: Option<&str>) -> Change {
    let mut config = settings(stream_promises(spec).into_iter().chain(stream_sizes(spec)));
    config.insert("name".to_owned(), json!(spec.name));
    if let Some(text) = flow_text {
        config.insert("metadata".to_owned(), json!({ FLOW: text }));
    }
    let (subjects, copies) = (spec.subjects.join(" "), spec.replicas);
    let copies = if copies == 1 { "one copy".to_owned() } else { format!("{copies} copies") };
    Change {
        kind: ChangeKind::Create,
        object: format!("stream {}", spec.name),
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
    let object = format!("stream {}", spec.name);
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

async fn durables(broker: &NatsBroker, topology: &Topology) -> Result<Vec<Change>, Unavailable> {
    let mut changes = Vec::new();
    let mut start = None;
    for spec in topology.durables(None) {
        let live = inspect::durable(&broker.client, &spec.stream, &spec.name).await?;
        let wanted = durable_promises(&spec).into_iter().chain(durable_sizes(&spec));
        let found = live.as_ref().map(|live| differences(wanted, &live.config));
        let starts_anew = match &found {
            None => true,
            Some(found) => found.iter().any(|found| found.key == "filter_subjects"),
        };
        if starts_anew && start.is_none() {
            start = Some(open::start(&broker.client, topology.flow).await?);
        }
        let start = start.unwrap_or(open::Start::Beginning);
        match live.zip(found) {
            None => changes.push(create_durable(&spec, start)),
            Some((live, found)) => {
                changes.extend(update_durable(&spec, live.config, &found, start))
            }
        }
    }
    Ok(changes)
}

fn create_durable(spec: &DurableSpec, start: open::Start) -> Change {
    let mut config = settings(durable_promises(spec).into_iter().chain(durable_sizes(spec)));
    config.insert("durable_name".to_owned(), json!(spec.name));
    config.insert("name".to_owned(), json!(spec.name));
    let from = match start {
        open::Start::Beginning => {
            config.insert("deliver_policy".to_owned(), json!("all"));
            "from the beginning".to_owned()
        }
        open::Start::At(sequence) => {
            config.insert("deliver_policy".to_owned(), json!("by_start_sequence"));
            config.insert("opt_start_seq".to_owned(), json!(sequence));
            format!("from sequence {sequence}, where no saga before it is open")
        }
    };
    Change {
        kind: ChangeKind::Create,
        object: format!("durable {}", spec.name),
        sentence: format!("create it for {}, {from}", spec.filters.join(" ")),
        actions: vec![durable_action(spec, config, "create")],
    }
}

fn update_durable(
    spec: &DurableSpec,
    mut config: Settings,
    found: &[Difference],
    start: open::Start,
) -> Option<Change> {
    if found.is_empty() {
        return None;
    }
    let object = format!("durable {}", spec.name);
    // The server cannot change these; only a durable of the same name made by hand differs here.
    let fixed = ["ack_policy", "deliver_subject", "replay_policy", "mem_storage"];
    if let Some(fixed) = found.iter().find(|found| fixed.contains(&found.key)) {
        let sentence = format!("{fixed}; delete it by hand, and it is made again");
        return Some(Change::refuse(&object, sentence));
    }
    config.remove("filter_subject");
    config.insert("filter_subjects".to_owned(), json!(spec.filters));
    let (mut actions, mut sentences) = (Vec::new(), Vec::new());
    for difference in found {
        config.insert(difference.key.to_owned(), difference.wanted.clone());
        sentences.push(difference.to_string());
        // New filters begin where the old ones stand, and that may be at the first message.
        if let ("filter_subjects", open::Start::At(sequence)) = (difference.key, start) {
            let subject = format!("$JS.API.CONSUMER.RESET.{}.{}", spec.stream, spec.name);
            actions.push(Action { subject, body: json!({ "seq": sequence }) });
        }
    }
    actions.push(durable_action(spec, config, "update"));
    Some(Change::update(object, sentences, actions))
}

fn durable_action(spec: &DurableSpec, config: Settings, action: &str) -> Action {
    Action {
        subject: format!("$JS.API.CONSUMER.CREATE.{}.{}", spec.stream, spec.name),
        body: json!({ "stream_name": spec.stream, "config": config, "action": action }),
    }
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
