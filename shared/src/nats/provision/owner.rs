//! Whether a stream that is there belongs to this flow. One that does not is never touched.
//!
//! A stream is this flow's if its metadata says so, or if it is as we make it: neither labels of
//! others nor a mark that was lost make it somebody else's.

use async_nats::Client;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Change, FLOW, SAGA};
use crate::Flow;
use crate::broker::Unavailable;
use crate::nats::api::{self, Answer};
use crate::nats::inspect::{self, StreamInfo};
use crate::nats::settings::{differences, stream_promises};
use crate::topology::{DurableSpec, StreamSpec};

/// Why the stream `live` is not this flow's; `None` if it is, or is empty and as the flow needs it.
pub(super) async fn foreign(
    client: &Client,
    flow: &Flow,
    spec: &StreamSpec,
    live: &StreamInfo,
    durables: &[DurableSpec],
) -> Result<Option<String>, Unavailable> {
    let marks = live.config.get("metadata").and_then(Value::as_object);
    let mark = |key: &str| marks.and_then(|marks| marks.get(key)).and_then(Value::as_str);
    let is_bucket = spec.lives.is_some();
    match mark(SAGA) {
        // A bucket may be shared by flows.
        Some(saga) if saga != flow.saga && !is_bucket => {
            return Ok(Some(format!("it belongs to the saga {saga}; {}", ways_out(flow))));
        }
        Some(_) => return Ok(None),
        None if mark(FLOW).is_some() => return Ok(None),
        None => {}
    }
    let found = differences(stream_promises(spec), &live.config);
    let why = if found.iter().any(|found| found.key == "subjects") {
        format!("its subjects are not {}", spec.subjects.join(" "))
    } else if live.state.messages == 0 || found.is_empty() {
        return Ok(None);
    } else if is_bucket || !has_one_of(client, spec, durables).await? {
        "it holds messages, and nothing shows that this flow made it".to_owned()
    } else {
        return Ok(None);
    };
    let how = match is_bucket {
        true => String::new(),
        false => format!(
            " If it is this flow's all the same, mark it: nats stream edit {} --metadata {SAGA}={}",
            spec.name, flow.saga
        ),
    };
    Ok(Some(format!("it is somebody else's ({}): {why}; {}.{how}", seen(live), ways_out(flow))))
}

/// A refusal for a stream that is missing and whose subjects another stream has.
pub(super) async fn overlapping(
    client: &Client,
    flow: &Flow,
    spec: &StreamSpec,
) -> Result<Option<Change>, Unavailable> {
    #[derive(Deserialize)]
    struct Named {
        streams: Option<Vec<String>>,
    }
    for subject in &spec.subjects {
        let body = json!({ "subject": subject }).to_string();
        let asked = api::request::<Named>(client, "$JS.API.STREAM.NAMES".to_owned(), body).await;
        let other = match asked {
            Answer::Ok(Named { streams }) => streams.unwrap_or_default().into_iter().next(),
            // The broker says at the creation what it minds.
            Answer::Error(_) => None,
            Answer::None(unavailable) => return Err(unavailable),
        };
        if let Some(other) = other.filter(|other| *other != spec.name) {
            let sentence = format!("the stream {other} has {subject} already; {}", ways_out(flow));
            return Ok(Some(Change::refuse(&spec.title(), sentence)));
        }
    }
    Ok(None)
}

async fn has_one_of(
    client: &Client,
    spec: &StreamSpec,
    durables: &[DurableSpec],
) -> Result<bool, Unavailable> {
    for durable in durables.iter().filter(|durable| durable.stream == spec.name) {
        if inspect::durable(client, &durable.stream, &durable.name).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What tells its owner.
fn seen(live: &StreamInfo) -> String {
    let text = |key: &str| live.config.get(key).and_then(Value::as_str).filter(|t| !t.is_empty());
    let subjects = live.config.get("subjects").and_then(Value::as_array);
    let subjects = subjects.into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>();
    let mut seen = vec![format!("subjects {}", subjects.join(" "))];
    seen.extend(text("description").map(|text| format!("description {text:?}")));
    let labels = live.config.get("metadata").and_then(Value::as_object).map(labels);
    seen.extend(
        labels.filter(|labels| !labels.is_empty()).map(|labels| format!("labels {labels}")),
    );
    seen.push(format!("{} messages", live.state.messages));
    seen.join(", ")
}

/// Without what the server notes there for itself.
fn labels(metadata: &Map<String, Value>) -> String {
    let own = metadata.iter().filter(|(key, _)| !key.starts_with("_nats."));
    let own = own.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
    own.collect::<Vec<_>>().join(" ")
}

fn ways_out(flow: &Flow) -> String {
    let saga = flow.saga.to_ascii_uppercase().replace('-', "_");
    format!(
        "use another account, or give this flow names of its own, for its workers and for this \
         tool: QUADRILLE_FLOW__{saga}__STREAM=NAME and QUADRILLE_FLOW__{saga}__PREFIX=prefix"
    )
}
