//! The pauses of durables on the server, beside the decisions: a slow broker delays none of them.
//!
//! Of several wishes that follow each other only the last one counts, because each of them replaces
//! the one before. So what waits is bounded, and in order.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{interval, sleep};

use crate::broker::{Pause, Unavailable};
use crate::pipeline::Worker;

/// Until when the durables are to be paused for one service; `None` for not at all.
pub(super) type Wanted = Option<Timestamp>;

/// More than a watch needs to bring a key.
const KEY_TRAVELS: Duration = Duration::from_secs(1);

/// Durables that are paused for longer than any replica asked for, and until when.
#[derive(Debug, Default)]
pub(super) struct Foreign(Mutex<BTreeMap<String, Timestamp>>);

impl Foreign {
    /// Those that still last.
    pub(super) fn now(&self, now: Timestamp) -> Vec<(String, Timestamp)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lasting = all.iter().filter(|(_, until)| **until > now);
        lasting.map(|(durable, until)| (durable.clone(), *until)).collect()
    }

    /// Compares what the server says of a durable with the last moment that the bucket explains.
    fn seen(&self, durable: &str, pause: &Pause, explained: Timestamp) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match pause {
            Pause::On { until, .. } if pause.is_longer_than(explained) => {
                if all.insert(durable.to_owned(), *until) != Some(*until) {
                    tracing::warn!(
                        durable, %until,
                        "foreign_pause: paused by an operator; nothing is delivered until then"
                    );
                }
            }
            Pause::On { .. } | Pause::Off => {
                if all.remove(durable).is_some() {
                    tracing::info!(durable, "foreign_pause: it is over");
                }
            }
        }
    }
}

/// Does what is wanted for one service, for as long as the worker runs.
pub(super) async fn keep(
    worker: Arc<Worker>,
    durables: Vec<String>,
    foreign: Arc<Foreign>,
    mut wanted: watch::Receiver<Wanted>,
) {
    let (broker, stream) = (&worker.broker, worker.flow.stream);
    let mut paused = None;
    while wanted.changed().await.is_ok() {
        let until = *wanted.borrow_and_update();
        for durable in &durables {
            match (until, paused) {
                (Some(until), _) => match broker.pause(stream, durable, until).await {
                    Ok(pause) => foreign.seen(durable, &pause, until),
                    Err(Unavailable(why)) => {
                        tracing::warn!(durable, why, "not paused on the server; the gate is shut");
                    }
                },
                // It ends by itself in any case.
                (None, Some(paused)) => drop(broker.resume(stream, durable, paused).await),
                (None, None) => {}
            }
        }
        paused = until;
    }
}

/// Looks for pauses of other clients now and then: they are respected, and only shown.
pub(super) async fn look(
    worker: Arc<Worker>,
    durables: Vec<String>,
    foreign: Arc<Foreign>,
    every: Duration,
    explained: impl Fn(&str) -> Timestamp + Send,
) {
    let mut tick = interval(every);
    loop {
        tick.tick().await;
        for durable in &durables {
            let mut pause = worker.broker.paused(worker.flow.stream, durable).await;
            if pause.as_ref().is_ok_and(|pause| pause.is_longer_than(explained(durable))) {
                // Our own pause may be here before the key that explains it.
                sleep(KEY_TRAVELS).await;
                pause = worker.broker.paused(worker.flow.stream, durable).await;
            }
            if let Ok(pause) = pause {
                foreign.seen(durable, &pause, explained(durable));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_foreign_only_beyond_what_the_bucket_explains() {
        let at = |second| Timestamp::from_second(second).expect("a time");
        let on = |until| Pause::On { until, remaining: Duration::from_secs(1) };
        let foreign = Foreign::default();
        foreign.seen("charge-card", &on(at(10)), at(10));
        assert_eq!(foreign.now(at(0)), []);
        foreign.seen("charge-card", &on(at(11)), at(10));
        assert_eq!(foreign.now(at(0)), [("charge-card".to_owned(), at(11))]);
        assert_eq!(foreign.now(at(11)), [], "it is over by itself");
        foreign.seen("charge-card", &Pause::Off, at(10));
        assert_eq!(foreign.now(at(0)), []);
    }
}
