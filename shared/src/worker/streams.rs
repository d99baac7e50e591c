//! The streams and durables as the flow demands them: looked at once at start, then each minute.

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;

use crate::broker::{Broker, Inspection};
use crate::clock::Asked;
use crate::pipeline::{self, Worker};
use crate::{Flow, nats};

/// The streams must be there and as the flow demands before any message is taken.
pub(super) async fn inspect(
    broker: &nats::NatsBroker,
    flow: &'static Flow,
    name: &str,
) -> anyhow::Result<(Asked, Inspection)> {
    let mut attempt = 0;
    let (asked, inspection) = loop {
        attempt += 1;
        let asked = Asked::now();
        match broker.inspect(flow, name).await {
            Ok(inspection) => break (asked, inspection),
            Err(why) if attempt >= 10 => return Err(why.into()),
            Err(_) => tokio::time::sleep(pipeline::BROKER.wait(attempt)).await,
        }
    };
    match inspection.drift.as_slice() {
        [] => Ok((asked, inspection)),
        drift => bail!(
            "the broker is not as the flow demands; `quadrille topology plan` says more\n  {}",
            drift.join("\n  ")
        ),
    }
}

/// Compares the live settings with the flow's for as long as the worker runs: a stream that may
/// lose its history, or another stream of the same name, stops it before it writes once more.
pub(super) async fn watch(worker: Arc<Worker>, every: Duration) {
    let mut tick = tokio::time::interval(every);
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
        if seen.incarnations != worker.incarnations {
            worker.same_streams().await;
        }
        worker.clock.set(asked, seen.server_time);
        worker.ack_wait.send_replace(seen.ack_wait);
    }
}
