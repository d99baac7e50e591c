//! Whether the streams and durables are as the flow demands: checked once at start, then every
//! minute by default.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::broker::{Broker, Inspection, StreamState};
use crate::clock::Asked;
use crate::pipeline::{Worker, retry};
use crate::topology::parked_stream_name;
use crate::{Flow, KeyNamespace, nats, telemetry};

/// Checks, before the worker takes any message, that the streams exist and are as the flow demands.
pub(super) async fn inspect(
    broker: &nats::NatsBroker,
    flow: &'static Flow,
    name: &str,
) -> anyhow::Result<(Asked, Inspection, KeyNamespace)> {
    let mut attempt = 0;
    let (asked, inspection) = loop {
        attempt += 1;
        let asked = Asked::now();
        match broker.inspect(flow, name).await {
            Ok(inspection) => break (asked, inspection),
            Err(why) if attempt >= 10 => return Err(why.into()),
            Err(_) => tokio::time::sleep(retry::BROKER.wait(attempt)).await,
        }
    };
    say_bucket_drift(&inspection.bucket_drift);
    match inspection.drift.as_slice() {
        [] => {
            let keys = inspection.keys.with_context(|| without_keys(flow, "UUID"))?;
            Ok((asked, inspection, keys))
        }
        drift => bail!(
            "the broker is not as the flow demands; see `topology plan` of the operator's tool\
             \n  {}",
            drift.join("\n  ")
        ),
    }
}

/// Requests under other keys than those of an attempt before could charge a customer twice, so no
/// worker goes on without them.
fn without_keys(flow: &Flow, were: &str) -> String {
    format!(
        "the stream {stream} has no namespace of idempotency keys (`quadrille.keys` of its \
         metadata), and requests without it could charge a customer twice. Set it again: \
         `quadrille topology apply --keys {were} --write`; each worker logs it when it starts",
        stream = flow.stream,
    )
}

/// Never stops a worker: without a bucket each replica's breakers decide for themselves.
fn say_bucket_drift(drift: &[String]) {
    for sentence in drift {
        tracing::warn!(
            "{sentence}; the replicas' circuit breakers may not act together: see \
             `quadrille topology plan`"
        );
    }
}

/// Compares the live settings with the flow's for as long as the worker runs. A stream that may
/// lose its history, or another stream of the same name, stops the worker.
pub(super) async fn watch(worker: Arc<Worker>, every: Duration) {
    let mut tick = tokio::time::interval(every);
    let mut said = Vec::new();
    let mut logs = Logs::default();
    loop {
        tick.tick().await;
        logs.look(&worker).await;
        let asked = Asked::now();
        let Ok(seen) = worker.broker.inspect(worker.flow, worker.name()).await else {
            continue;
        };
        if let Some(drift) = seen.drift.first() {
            return worker.halt(drift.clone()).await;
        }
        if seen.keys != Some(worker.keys) && seen.incarnations == worker.incarnations {
            let was = worker.keys.to_string();
            let why = match seen.keys {
                None => without_keys(worker.flow, &was),
                Some(is) => format!("the log's namespace of idempotency keys was {was}, is {is}"),
            };
            return worker.halt(why).await;
        }
        if seen.bucket_drift != said {
            say_bucket_drift(&seen.bucket_drift);
            said = seen.bucket_drift.clone();
        }
        if seen.incarnations != worker.incarnations {
            worker.same_streams().await;
        }
        worker.clock.set(asked, seen.server_time);
        worker.ack_wait.send_replace(seen.ack_wait);
    }
}

/// The streams' fill and ends, as they were last seen.
#[derive(Default)]
struct Logs(BTreeMap<String, Seen>);

#[derive(Default)]
struct Seen {
    is_nearly_full: bool,
    last_sequence: u64,
}

impl Logs {
    /// Measures the flow's stream and that of parked messages, and says once what an operator
    /// should know.
    async fn look(&mut self, worker: &Worker) {
        for stream in [worker.flow.stream.to_owned(), parked_stream_name(worker.flow)] {
            if let Ok(Some(state)) = worker.broker.state(&stream).await {
                self.0.entry(stream.clone()).or_default().compare(&stream, &state);
            }
        }
    }
}

impl Seen {
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    fn compare(&mut self, stream: &str, state: &StreamState) {
        let (bytes, limit) = (state.bytes, state.max_bytes.unwrap_or(0));
        let set = |name, value: u64| {
            metrics::gauge!(name, "stream" => stream.to_owned()).set(value as f64);
        };
        set(telemetry::LOG_BYTES, bytes);
        set(telemetry::LOG_LIMIT, limit);
        let is_nearly_full = state.is_nearly_full();
        if is_nearly_full && !self.is_nearly_full {
            tracing::warn!(
                stream,
                bytes,
                limit,
                setting = "max_bytes",
                "over 80 % full: a full stream refuses what comes next; raise its limit"
            );
        }
        self.is_nearly_full = is_nearly_full;
        let (last, was) = (state.last_sequence, self.last_sequence);
        if last < was {
            tracing::error!(
                stream,
                last,
                was,
                "the stream came back shorter: acknowledged events are lost; the outside services \
                 still know what they were asked to do"
            );
        }
        self.last_sequence = last;
    }
}
