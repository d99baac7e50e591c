//! Durables: created where their work begins, and changed without losing or repeating any of it.

use serde_json::json;

use super::{Action, Change, ChangeKind, SAGA, open};
use crate::broker::Unavailable;
use crate::flow::Role;
use crate::nats::settings::{
    Difference, Settings, differences, durable_promises, durable_sizes, settings,
};
use crate::nats::{NatsBroker, inspect};
use crate::topology::{DurableSpec, Topology};

/// Whether each of these durables is there, with its filters.
pub(super) async fn are_there(
    broker: &NatsBroker,
    durables: &[DurableSpec],
) -> Result<bool, Unavailable> {
    for spec in durables {
        let live = inspect::durable(&broker.client, &spec.stream, &spec.name).await?;
        let Some(live) = live else { return Ok(false) };
        let found = differences(durable_promises(spec), &live.config);
        if found.iter().any(|found| found.key == "filter_subjects") {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) async fn durable_changes(
    broker: &NatsBroker,
    topology: &Topology,
    durables: &[DurableSpec],
) -> Result<Vec<Change>, Unavailable> {
    let mut changes = Vec::new();
    let mut start = None;
    for spec in durables {
        let live = inspect::durable(&broker.client, &spec.stream, &spec.name).await?;
        let kept = |key: &str| topology.keep.ack_wait && key == "ack_wait";
        let sizes = durable_sizes(spec).into_iter().filter(|(key, _)| !kept(key));
        let wanted = durable_promises(spec).into_iter().chain(sizes);
        let found = live.as_ref().map(|live| differences(wanted, &live.config));
        let starts_anew = match &found {
            None => true,
            Some(found) => found.iter().any(|found| found.key == "filter_subjects"),
        };
        let reads_the_log = spec.stream == broker.names.stream(topology.flow.stream);
        if starts_anew && reads_the_log && start.is_none() {
            start = Some(open::start(broker, topology.flow).await?);
        }
        // Whatever was ever released is settled by now, or still to be done.
        let start = start.filter(|_| reads_the_log).unwrap_or(open::Start::Beginning);
        match live.zip(found) {
            None => changes.push(create_durable(spec, topology, start)),
            Some((live, found)) => changes.extend(update_durable(spec, live.config, &found, start)),
        }
    }
    Ok(changes)
}

fn create_durable(spec: &DurableSpec, topology: &Topology, start: open::Start) -> Change {
    let mut config = settings(durable_promises(spec).into_iter().chain(durable_sizes(spec)));
    config.insert("durable_name".to_owned(), json!(spec.name));
    config.insert("name".to_owned(), json!(spec.name));
    let role = match spec.role {
        Role::Forward => "runs its step",
        Role::Undo => "takes its step back",
        Role::Closing => "closes what was taken back",
        Role::Cancel => "takes back what a client cancels",
        Role::Deadline(_) => "takes back what is over its time",
        Role::Released => "tries again what was set aside",
    };
    let description = format!("Quadrille: {} {role}", spec.worker);
    config.insert("description".to_owned(), json!(description));
    config.insert("metadata".to_owned(), json!({ SAGA: topology.flow.saga }));
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
    // The server cannot change these; they differ only if an operator made a durable of the same
    // name.
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
        // New filters begin where the old ones are, and that may be at the first message.
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
