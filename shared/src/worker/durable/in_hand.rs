//! What a durable's loop has in hand, and for how long.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use crate::telemetry;

/// How often what is in hand is measured.
pub(super) const MEASURED: Duration = Duration::from_secs(1);

/// The deliveries in hand, numbered in the order in which they came.
#[derive(Default)]
pub(super) struct InHand {
    tasks: JoinSet<u64>,
    since: BTreeMap<u64, Instant>,
    last: u64,
}

impl InHand {
    pub(super) fn len(&self) -> usize {
        self.tasks.len()
    }

    pub(super) fn spawn(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.last += 1;
        let number = self.last;
        self.since.insert(number, Instant::now());
        self.tasks.spawn(async move {
            work.await;
            number
        });
    }

    /// Whether one has ended.
    pub(super) fn try_next(&mut self) -> bool {
        let ended = self.tasks.try_join_next();
        self.remove(ended)
    }

    /// Waits until one ends; `false` if there is none.
    pub(super) async fn next(&mut self) -> bool {
        let ended = self.tasks.join_next().await;
        self.remove(ended)
    }

    fn remove(&mut self, ended: Option<Result<u64, JoinError>>) -> bool {
        if let Some(Ok(number)) = &ended {
            self.since.remove(number);
        }
        ended.is_some()
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    pub(super) fn measure(&self, durable: &Arc<str>) {
        let oldest = self.since.first_key_value().map(|(_, since)| since.elapsed());
        let oldest = oldest.unwrap_or_default().as_secs_f64();
        metrics::gauge!(telemetry::IN_HAND, "durable" => durable.clone()).set(self.len() as f64);
        metrics::gauge!(telemetry::OLDEST, "durable" => durable.clone()).set(oldest);
    }
}
