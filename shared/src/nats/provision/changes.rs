//! Which settings of a live stream may be changed. Some changes delete events, and the server does
//! not allow some others: those are refused, and the refusal names a way out.

use serde_json::{Value, json};

use crate::nats::inspect::StreamInfo;
use crate::nats::settings::{Difference, differences, stream_promises, stream_sizes};
use crate::topology::StreamSpec;

/// What becomes of one setting.
pub(super) enum Lasting {
    Update { key: &'static str, value: Value, sentence: String },
    Refuse(String),
}

pub(super) fn stream_changes(spec: &StreamSpec, live: &StreamInfo) -> Vec<Lasting> {
    let wanted = stream_promises(spec).into_iter().chain(stream_sizes(spec));
    let change = |found| change(found, live, spec.lives.is_some());
    differences(wanted, &live.config).into_iter().filter_map(change).collect()
}

/// `None` for a difference that is left as it is.
fn change(found: Difference, live: &StreamInfo, is_bucket: bool) -> Option<Lasting> {
    let sentence = found.to_string();
    let refuse = |why: &str| Some(Lasting::Refuse(format!("{sentence}; {why}")));
    match found.key {
        "max_bytes" => return size(found, live),
        // Another flow of a higher profile shares it.
        "num_replicas" if is_bucket && found.wanted.as_u64() < found.live.as_u64() => return None,
        "num_replicas" if found.wanted.as_u64() < found.live.as_u64() => {
            let sentence = format!("{sentence}; it then survives fewer lost nodes");
            return Some(Lasting::Update { key: found.key, value: found.wanted, sentence });
        }
        "storage" | "retention" | "mirror" | "sources" | "sealed" | "persist_mode" if is_bucket => {
            return refuse("the server cannot change that: delete the bucket, and apply again");
        }
        "storage" | "retention" | "mirror" | "sources" | "sealed" | "persist_mode" => {
            return refuse("the server cannot change that: use another stream");
        }
        "deny_delete" | "deny_purge" if found.live == json!(true) => {
            return refuse("the server cannot take that back: use another stream");
        }
        // A bucket's history is no event.
        "max_msgs_per_subject" if is_bucket => {}
        "max_msgs_per_subject" if live.state.messages > 0 => {
            return refuse("changing it may delete what the stream holds");
        }
        _ => {}
    }
    Some(Lasting::Update { key: found.key, value: found.wanted, sentence })
}

/// Raises a limit. It is lowered only where the stream never held anything, as after a first try
/// that reserved too much, because an operator may have raised it to get a full stream going again.
fn size(found: Difference, live: &StreamInfo) -> Option<Lasting> {
    let unlimited = |value: &Value| value.as_i64().is_none_or(|bytes| bytes <= 0);
    let raises = found.live.as_u64() < found.wanted.as_u64();
    let fits = Some(live.state.bytes) < found.wanted.as_u64();
    let is_unused = live.state.last_seq == 0;
    if !fits || !(unlimited(&found.live) || raises || is_unused) {
        return None;
    }
    let sentence = found.to_string();
    Some(Lasting::Update { key: found.key, value: found.wanted, sentence })
}
