//! Which settings of a live stream may be changed. Some changes delete events, and the server does
//! not allow some others: those are refused, and the refusal names a way out. What is left as it is
//! on purpose says so, because an operator may have asked for it.

use serde_json::{Value, json};

use crate::nats::inspect::StreamInfo;
use crate::nats::settings::{Difference, differences, plain, stream_promises, stream_sizes};
use crate::topology::StreamSpec;

/// What becomes of one setting.
pub(super) enum Lasting {
    Update {
        key: &'static str,
        value: Value,
        sentence: String,
    },
    Refuse(String),
    /// It stays as it is; the sentence says why, and how a stock client changes it.
    Leave {
        key: &'static str,
        sentence: String,
    },
}

pub(super) fn stream_changes(spec: &StreamSpec, live: &StreamInfo) -> Vec<Lasting> {
    let wanted = stream_promises(spec).into_iter().chain(stream_sizes(spec));
    let change = |found| change(found, live, spec);
    differences(wanted, &live.config).into_iter().map(change).collect()
}

fn change(found: Difference, live: &StreamInfo, spec: &StreamSpec) -> Lasting {
    let is_bucket = spec.lives.is_some();
    let sentence = found.to_string();
    let refuse = |why: &str| Lasting::Refuse(format!("{sentence}; {why}"));
    match found.key {
        "max_bytes" => return size(found, live, spec),
        "num_replicas" if is_bucket && found.wanted.as_u64() < found.live.as_u64() => {
            let Difference { key, live, wanted } = found;
            let (title, name) = (spec.title(), &spec.name);
            let sentence = format!(
                "{title} keeps its {live} copies, because another flow of a higher profile may \
                 share it; if none does, `nats stream edit {name} --replicas {wanted}` takes them \
                 away"
            );
            return Lasting::Leave { key, sentence };
        }
        "num_replicas" if found.wanted.as_u64() < found.live.as_u64() => {
            let sentence = format!("{sentence}; it then survives fewer lost nodes");
            return Lasting::Update { key: found.key, value: found.wanted, sentence };
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
    Lasting::Update { key: found.key, value: found.wanted, sentence }
}

/// Raises a limit. It is lowered only where the stream never held anything, as after a first try
/// that reserved too much, because an operator may have raised it to get a full stream going again.
fn size(found: Difference, live: &StreamInfo, spec: &StreamSpec) -> Lasting {
    let unlimited = |value: &Value| value.as_i64().is_none_or(|bytes| bytes <= 0);
    let raises = found.live.as_u64() < found.wanted.as_u64();
    let fits = Some(live.state.bytes) < found.wanted.as_u64();
    let is_unused = live.state.last_seq == 0;
    let sentence = found.to_string();
    let Difference { key, live: has, wanted } = found;
    if fits && (unlimited(&has) || raises || is_unused) {
        return Lasting::Update { key, value: wanted, sentence };
    }
    let (title, name, held) = (spec.title(), &spec.name, live.state.bytes);
    let size = if unlimited(&has) { "no limit".to_owned() } else { plain(key, &has) };
    let asked = plain(key, &wanted);
    let why = match fits {
        true => format!(
            "because its size may have been raised to get it going again; it holds {held} bytes, \
             so `nats stream edit {name} --max-bytes {wanted}` makes it smaller without a loss"
        ),
        false => format!(
            "because it holds {held} bytes; `nats stream edit {name} --max-bytes SIZE` takes any \
             size above that, and this command any above the one it has"
        ),
    };
    let sentence = format!("{title} is not made smaller ({asked} was asked, it has {size}), {why}");
    Lasting::Leave { key, sentence }
}
