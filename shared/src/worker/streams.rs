//! Whether the streams and durables are as the flow demands: checked once at start, then every
//! minute by default.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::broker::{Broker, Inspection};
use crate::clock::Asked;
use crate::pipeline::{Worker, retry};
use crate::{Flow, KeyNamespace, nats};

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
    tick.tick().await;
    loop {
        tick.tick().await;
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
