//! The settings of streams and durables as the server writes them, and how live ones differ.
//!
//! Compared key by key and not as a whole, because a newer server adds keys of its own.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::KeyNamespace;
use crate::topology::{DurableSpec, Keeps, Lives, StreamSpec};

pub(super) type Settings = Map<String, Value>;

/// One setting that is not what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) key: &'static str,
    pub(super) live: Value,
    pub(super) wanted: Value,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { key, live, wanted } = self;
        let wanted = plain(key, wanted);
        match live {
            Value::Null => write!(f, "{key} is not set, but must be {wanted}"),
            live => write!(f, "{key} is {}, but must be {wanted}", plain(key, live)),
        }
    }
}

/// Nanoseconds in each unit of time, and bytes in each unit of size, the largest first.
const TIMES: [(u64, &str); 5] = [
    (86_400_000_000_000, "d"),
    (3_600_000_000_000, "h"),
    (60_000_000_000, "m"),
    (1_000_000_000, "s"),
    (1_000_000, "ms"),
];
const SIZES: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];

/// A setting as people write it: `30d` and `1GiB`, where the server counts nanoseconds and bytes.
pub(super) fn plain(key: &str, value: &Value) -> String {
    let units = match key {
        "max_age"
        | "duplicate_window"
        | "ack_wait"
        | "max_expires"
        | "inactive_threshold"
        | "subject_delete_marker_ttl" => &TIMES[..],
        "max_bytes" => &SIZES[..],
        _ => &[],
    };
    let number = value.as_u64().filter(|number| *number > 0);
    let fits = number.and_then(|number| {
        let unit = units.iter().find(|(unit, _)| number.is_multiple_of(*unit));
        unit.map(|(unit, name)| format!("{}{name}", number / unit))
    });
    fits.unwrap_or_else(|| value.to_string())
}

/// Metadata key of the namespace of a log's idempotency keys.
pub(super) const KEYS: &str = "quadrille.keys";

/// The namespace of a log's idempotency keys; `None` if it is not noted, or not readable.
pub(super) fn keys_of(config: &Settings) -> Option<KeyNamespace> {
    KeyNamespace::parse(config.get("metadata")?.get(KEYS)?.as_str()?).ok()
}

type Pairs = Vec<(&'static str, Value)>;

/// The settings on which a stream's promises depend, whatever its size; every worker compares them
/// all the time.
pub(super) fn stream_promises(spec: &StreamSpec) -> Pairs {
    let per_subject = if spec.keeps == Keeps::All { -1 } else { 1 };
    let is_bucket = spec.lives.is_some();
    let (max_age, own_ttl) = match spec.lives {
        None => (0, false),
        Some(Lives::AsWritten) => (0, true),
        Some(Lives::For(age)) => (nanoseconds(age), false),
    };
    let marker_ttl = if own_ttl { nanoseconds(Duration::from_secs(1)) } else { 0 };
    vec![
        ("subjects", json!(spec.subjects)),
        ("storage", json!("file")),
        ("retention", json!("limits")),
        // A full stream refuses; with `old` it would forget its beginning.
        ("discard", json!("new")),
        ("discard_new_per_subject", json!(spec.keeps == Keeps::First)),
        ("max_msgs_per_subject", json!(per_subject)),
        ("max_msgs", json!(-1)),
        ("max_age", json!(max_age)),
        ("max_msg_size", json!(spec.max_message_bytes)),
        // Of a bucket as stock tools make it, which could not be taken back.
        ("deny_delete", json!(spec.permanent || is_bucket)),
        ("deny_purge", json!(spec.permanent)),
        // Stock tools purge a key with it, and the server turns it on for markers.
        ("allow_rollup_hdrs", json!(is_bucket)),
        ("allow_msg_ttl", json!(own_ttl)),
        ("subject_delete_marker_ttl", json!(marker_ttl)),
        // Schedules turn purging on and let a publisher write to any subject of the stream.
        ("allow_msg_schedules", json!(false)),
        ("allow_msg_counter", json!(false)),
        ("allow_atomic", json!(spec.atomic_publish)),
        ("allow_direct", json!(true)),
        ("no_ack", json!(false)),
        ("sealed", json!(false)),
        // `async` would acknowledge before anything is on disk.
        ("persist_mode", json!("")),
        ("mirror", Value::Null),
        ("sources", json!([])),
        ("subject_transform", Value::Null),
    ]
}

/// What an operator chooses.
pub(super) fn stream_sizes(spec: &StreamSpec) -> Pairs {
    vec![("max_bytes", json!(spec.max_bytes)), ("num_replicas", json!(spec.replicas))]
}

/// The settings on which a durable's promises depend; where it started is not among them.
pub(super) fn durable_promises(spec: &DurableSpec) -> Pairs {
    vec![
        ("filter_subjects", json!(spec.filters)),
        ("ack_policy", json!("explicit")),
        // With any other value the broker would drop a message in silence.
        ("max_deliver", json!(-1)),
        ("backoff", json!([])),
        // A durable that no worker pulls from, because it is paused, must not vanish.
        ("inactive_threshold", json!(0)),
        ("deliver_subject", json!("")),
        ("headers_only", json!(false)),
        ("replay_policy", json!("instant")),
        ("mem_storage", json!(false)),
        ("max_batch", json!(0)),
        ("max_expires", json!(0)),
        ("max_bytes", json!(0)),
        ("priority_groups", json!([])),
    ]
}

pub(super) fn durable_sizes(spec: &DurableSpec) -> Pairs {
    vec![
        ("ack_wait", json!(nanoseconds(spec.ack_wait))),
        ("max_ack_pending", json!(spec.max_in_flight)),
    ]
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).expect("it is seconds or days, not centuries")
}

/// The settings to send: all pairs that differ from the server's defaults.
pub(super) fn settings(pairs: impl IntoIterator<Item = (&'static str, Value)>) -> Settings {
    pairs
        .into_iter()
        .filter(|(_, value)| !is_default(value))
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

/// In the order of `wanted`.
pub(super) fn differences(
    wanted: impl IntoIterator<Item = (&'static str, Value)>,
    live: &Settings,
) -> Vec<Difference> {
    let live = canonical(live);
    wanted
        .into_iter()
        .filter_map(|(key, wanted)| {
            let live = live.get(key).cloned().unwrap_or_default();
            (!same(&live, &wanted)).then_some(Difference { key, live, wanted })
        })
        .collect()
}

/// Unifies the settings that the server can write in two ways.
fn canonical(live: &Settings) -> Settings {
    let mut live = live.clone();
    if let Some(filter) = live.remove("filter_subject") {
        live.insert("filter_subjects".to_owned(), json!([filter]));
    }
    if live.get("persist_mode") == Some(&json!("default")) {
        live.remove("persist_mode");
    }
    live
}

/// Whether this is a value that the server leaves out.
fn is_default(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(set) => !set,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(_) => false,
    }
}

fn same(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Array(live), Value::Array(wanted)) => {
            let sorted = |items: &[Value]| {
                let mut items: Vec<_> = items.iter().map(Value::to_string).collect();
                items.sort();
                items
            };
            sorted(live) == sorted(wanted)
        }
        (live, wanted) => live == wanted || is_default(live) && is_default(wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_left_out_has_its_default() {
        let live = json!({ "storage": "file", "filter_subject": "a.*", "metadata": {} });
        let live = live.as_object().unwrap();
        let wanted = [
            ("storage", json!("file")),
            ("max_age", json!(0)),
            ("filter_subjects", json!(["a.*"])),
        ];
        assert_eq!(differences(wanted, live), []);
    }

    #[test]
    fn a_difference_reads_as_a_sentence() {
        let live = json!({ "max_msgs_per_subject": -1 });
        let found = differences(
            [("max_msgs_per_subject", json!(1)), ("deny_purge", json!(true))],
            live.as_object().unwrap(),
        );
        let found: Vec<_> = found.iter().map(Difference::to_string).collect();
        assert_eq!(
            found,
            [
                "max_msgs_per_subject is -1, but must be 1",
                "deny_purge is not set, but must be true"
            ]
        );
    }
}
