//! The streams and durables as the flow demands them: looked at once at start, then each minute.

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;

use crate::broker::{Broker, Inspection};
use crate::clock::Asked;
use crate::kernel::Kernel;
use crate::{Flow, nats, retry};

/// The streams must be there and as the flow demands before any message is taken.
pub(super) async fn inspect(
    broker: &nats::NatsBroker,
    flow: &'static Flow,
    worker: &str,
) -> anyhow::Result<(Asked, Inspection)> {
    let mut attempt = 0;
    let (asked, inspection) = loop {
        attempt += 1;
        let asked = Asked::now();
        match broker.inspect(flow, worker).await {
            Ok(inspection) => break (asked, inspection),
            Err(why) if attempt >= 10 => return Err(why.into()),
            Err(_) => tokio::time::sleep(retry::BROKER.wait(attempt)).await,
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
pub(super) async fn watch(kernel: Arc<Kernel>, every: Duration) {
    let mut tick = tokio::time::interval(every);
    tick.tick().await;
    loop {
        tick.tick().await;
        let asked = Asked::now();
        let Ok(seen) = kernel.broker.inspect(kernel.flow, kernel.row.worker).await else {
            continue;
        };
        if let Some(drift) = seen.drift.first() {
            return kernel.halt(drift.clone()).await;
        }
        if seen.incarnations != kernel.incarnations {
            kernel.same_streams().await;
        }
        kernel.clock.set(asked, seen.server_time);
        kernel.ack_wait.send_replace(seen.ack_wait);
    }
}
