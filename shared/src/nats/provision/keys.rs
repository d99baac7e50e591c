//! The namespace of a log's idempotency keys, in the metadata of its stream: drawn with the stream,
//! and never changed once an order may have been charged under it.

use serde_json::{Map, Value, json};

use crate::KeyNamespace;
use crate::nats::inspect::StreamInfo;
use crate::nats::settings::{KEYS, keys_of};
use crate::topology::Topology;

/// What becomes of it.
pub(super) enum Keys {
    Stay,
    Note(KeyNamespace),
    Refuse(String),
}

/// Notes the namespace among the settings of a stream.
pub(super) fn note(config: &mut Map<String, Value>, keys: KeyNamespace) {
    let metadata = config.entry("metadata").or_insert_with(|| json!({}));
    metadata[KEYS] = json!(keys.to_string());
}

/// Of a log that is about to be made.
pub(super) fn of_new_log(topology: &Topology) -> KeyNamespace {
    topology.keys.unwrap_or_else(KeyNamespace::draw)
}

/// Of a log that exists. One that holds nothing may have any.
pub(super) fn of_log(topology: &Topology, live: &StreamInfo) -> Keys {
    let is_new = live.state.last_seq == 0;
    match (keys_of(&live.config), topology.keys) {
        (None, Some(given)) => Keys::Note(given),
        (None, None) if is_new => Keys::Note(KeyNamespace::draw()),
        (None, None) => Keys::Refuse(format!(
            "its namespace of idempotency keys (`{KEYS}` of its metadata) is gone, and under \
             another one a customer could be charged twice: give the old one with --keys UUID; \
             each worker logs it when it starts. A log from before there was one has {}",
            KeyNamespace::FIRST
        )),
        (Some(noted), Some(given)) if noted != given && is_new => Keys::Note(given),
        (Some(noted), Some(given)) if noted != given => Keys::Refuse(format!(
            "its idempotency keys are derived in {noted}, and under {given} a customer could be \
             charged twice: a log that holds anything keeps its own"
        )),
        (Some(_), _) => Keys::Stay,
    }
}
