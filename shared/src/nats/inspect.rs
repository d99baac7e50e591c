//! Whether the live streams and durables are what the flow demands. Reads only: workers never
//! create or repair anything, because a stream that workers may create comes back empty after a
//! loss.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::Client;
use futures::future::join_all;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::Names;
use super::api::{self, code};
use super::settings::{Settings, differences, durable_promises, keys_of, stream_promises};
use crate::Flow;
use crate::broker::{self, DurableState, Incarnation, Inspection, Pause, Unavailable};
use crate::flow::Role;
use crate::topology::{OLDEST_SERVER, Profile, StreamSpec, Topology};

/// What `STREAM.INFO` says.
#[derive(Deserialize)]
pub(super) struct StreamInfo {
    pub(super) config: Settings,
    pub(super) created: Timestamp,
    pub(super) state: StreamState,
    /// The server's clock.
    pub(super) ts: Timestamp,
}

#[derive(Deserialize)]
pub(super) struct StreamState {
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) last_seq: u64,
}

/// What `CONSUMER.INFO` says.
#[derive(Deserialize)]
pub(super) struct DurableInfo {
    pub(super) config: Settings,
    #[serde(default)]
    paused: bool,
    /// Nanoseconds.
    #[serde(default)]
    pause_remaining: u64,
    num_pending: u64,
    num_ack_pending: u64,
    num_redelivered: u64,
    num_waiting: u64,
    pub(super) delivered: Position,
    ack_floor: Position,
    /// The server's clock.
    pub(super) ts: Timestamp,
}

/// Where a durable is in its stream.
#[derive(Deserialize)]
pub(super) struct Position {
    pub(super) stream_seq: u64,
}

impl DurableInfo {
    pub(super) fn pause(&self) -> Pause {
        let until = self.config.get("pause_until").and_then(|until| until.as_str()?.parse().ok());
        match until {
            Some(until) if self.paused => {
                Pause::On { until, remaining: Duration::from_nanos(self.pause_remaining) }
            }
            Some(_) | None => Pause::Off,
        }
    }
}

pub(super) async fn stream(client: &Client, name: &str) -> Result<Option<StreamInfo>, Unavailable> {
    let info = api::request(client, format!("$JS.API.STREAM.INFO.{name}"), "").await;
    info.found(&[code::STREAM_NOT_FOUND])
}

/// How far and how full the stream is that the flow calls `usual`, and the broker `name`.
pub(super) async fn state(
    client: &Client,
    usual: &str,
    name: &str,
) -> Result<Option<broker::StreamState>, Unavailable> {
    let Some(info) = stream(client, name).await? else { return Ok(None) };
    // -1 means no limit.
    let max_bytes = info.config.get("max_bytes").and_then(serde_json::Value::as_u64);
    Ok(Some(broker::StreamState {
        incarnation: Incarnation { stream: usual.to_owned(), created: info.created },
        server_time: info.ts,
        last_sequence: info.state.last_seq,
        bytes: info.state.bytes,
        max_bytes,
    }))
}

/// Every subject of a stream that matches the filter; none if there is no such stream.
pub(super) async fn subjects(
    client: &Client,
    stream: &str,
    filter: &str,
) -> Result<Vec<String>, Unavailable> {
    #[derive(Deserialize)]
    struct Page {
        state: State,
        #[serde(default)]
        total: usize,
    }
    #[derive(Deserialize)]
    struct State {
        #[serde(default)]
        subjects: HashMap<String, u64>,
    }
    let mut all = Vec::new();
    loop {
        let body = json!({ "subjects_filter": filter, "offset": all.len() });
        let subject = format!("$JS.API.STREAM.INFO.{stream}");
        let page = api::request::<Page>(client, subject, body.to_string()).await;
        let Some(page) = page.found(&[code::STREAM_NOT_FOUND])? else { return Ok(all) };
        let count = page.state.subjects.len();
        all.extend(page.state.subjects.into_keys());
        if count == 0 || all.len() >= page.total {
            return Ok(all);
        }
    }
}

pub(super) async fn durable(
    client: &Client,
    stream: &str,
    name: &str,
) -> Result<Option<DurableInfo>, Unavailable> {
    let info = api::request(client, format!("$JS.API.CONSUMER.INFO.{stream}.{name}"), "").await;
    info.found(&[code::CONSUMER_NOT_FOUND, code::STREAM_NOT_FOUND])
}

/// How far a durable is.
pub(super) async fn durable_state(
    client: &Client,
    stream: &str,
    name: &str,
) -> Result<Option<DurableState>, Unavailable> {
    let info = durable(client, stream, name).await?;
    Ok(info.map(|info| DurableState {
        pending: info.num_pending,
        in_hand: info.num_ack_pending,
        most_in_hand: most_in_hand(&info.config),
        redelivered: info.num_redelivered,
        pulls: info.num_waiting,
        delivered: info.delivered.stream_seq,
        settled: info.ack_floor.stream_seq,
        ack_wait: ack_wait(&info.config),
        pause: info.pause(),
    }))
}

/// The server's own default stands in where it does not say.
fn ack_wait(config: &Settings) -> Duration {
    let nanoseconds = config.get("ack_wait").and_then(serde_json::Value::as_u64);
    nanoseconds.map_or(Duration::from_secs(30), Duration::from_nanos)
}

/// Zero or less is no limit.
fn most_in_hand(config: &Settings) -> u64 {
    let most = config.get("max_ack_pending").and_then(serde_json::Value::as_u64);
    most.filter(|most| *most > 0).unwrap_or(u64::MAX)
}

/// Compares the streams that a worker relies on, its durables, and the buckets; their sizes are the
/// operator's choice.
pub(super) async fn inspect(
    client: &Client,
    names: &Names,
    flow: &'static Flow,
    worker: &str,
) -> Result<Inspection, Unavailable> {
    let topology = Topology::new(flow, Profile::Dev);
    let buckets: Vec<_> =
        topology.buckets().into_iter().map(|spec| names.stream_spec(spec)).collect();
    let buckets = join_all(buckets.iter().map(|spec| bucket_drift(client, spec)));
    let (seen, buckets) = tokio::join!(inspect_flow(client, names, &topology, worker), buckets);
    Ok(Inspection { bucket_drift: buckets.concat(), ..seen? })
}

/// Everything but the buckets.
async fn inspect_flow(
    client: &Client,
    names: &Names,
    topology: &Topology,
    worker: &str,
) -> Result<Inspection, Unavailable> {
    let mut drift = Vec::new();
    drift.extend(too_old(client, OLDEST_SERVER));
    let mut server_time = Timestamp::UNIX_EPOCH;
    let (mut incarnations, mut keys) = (Vec::new(), None);
    for spec in topology.streams().into_iter().filter(|spec| spec.is_used_by(worker)) {
        let usual = spec.name.clone();
        let spec = names.stream_spec(spec);
        let Some(info) = stream(client, &spec.name).await? else {
            drift.push(format!("stream {} does not exist", spec.name));
            continue;
        };
        server_time = info.ts;
        if usual == topology.flow.stream {
            keys = keys_of(&info.config);
        }
        if spec.permanent {
            incarnations.push(Incarnation { stream: usual, created: info.created });
        }
        let found = differences(stream_promises(&spec), &info.config);
        drift.extend(found.iter().map(|found| format!("stream {}: {found}", spec.name)));
    }
    let mut ack_wait = None;
    for spec in topology.durables(Some(worker)) {
        let spec = names.durable_spec(spec);
        let Some(live) = durable(client, &spec.stream, &spec.name).await? else {
            drift.push(format!("durable {} of {} does not exist", spec.name, spec.stream));
            continue;
        };
        let found = differences(durable_promises(&spec), &live.config);
        drift.extend(found.iter().map(|found| format!("durable {}: {found}", spec.name)));
        let nanoseconds = live.config.get("ack_wait").and_then(serde_json::Value::as_u64);
        let live = nanoseconds.map(Duration::from_nanos);
        if !matches!(spec.role, Role::Deadline(_)) {
            ack_wait = [ack_wait, live].into_iter().flatten().min();
        }
    }
    Ok(Inspection {
        server_time,
        incarnations,
        keys,
        ack_wait: ack_wait.unwrap_or(topology.ack_wait),
        drift,
        bucket_drift: Vec::new(),
    })
}

/// No answer is a sentence like any other here, because no worker stops because of a bucket, even
/// if it may not look at it.
async fn bucket_drift(client: &Client, spec: &StreamSpec) -> Vec<String> {
    let title = spec.title();
    match stream(client, &spec.name).await {
        Ok(Some(info)) => {
            let found = differences(stream_promises(spec), &info.config);
            found.iter().map(|found| format!("{title}: {found}")).collect()
        }
        Ok(None) => vec![format!("{title} does not exist")],
        Err(why) => vec![format!("{title} cannot be inspected: {why}")],
    }
}

/// One line if the server is older than `oldest`.
pub(super) fn too_old(client: &Client, oldest: (u64, u64, u64)) -> Option<String> {
    let version = client.server_info().version;
    let (major, minor, patch) = oldest;
    (parse_version(&version) < oldest).then(|| {
        format!("the NATS server is {version}, but at least {major}.{minor}.{patch} is needed")
    })
}

/// `2.15.1` or `2.15.1-RC.2`; what cannot be read counts as old.
fn parse_version(text: &str) -> (u64, u64, u64) {
    let number = text.split('-').next().unwrap_or_default();
    let mut parts = number.split('.').map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next())
}

#[cfg(test)]
mod tests {
    use super::parse_version;

    #[test]
    fn versions_compare_by_number() {
        assert!(parse_version("2.14.10") > parse_version("2.14.4"));
        assert_eq!(parse_version("2.15.0-RC.1"), (2, 15, 0));
        assert_eq!(parse_version("nonsense"), (0, 0, 0));
    }
}
