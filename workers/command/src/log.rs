//! Looks each second which stream the log is and how full, so that no command has to ask.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use quadrille::broker::{Broker, StreamState};
use schemas::order_fulfilment::FLOW;
use tokio::sync::watch::{self, Receiver, Sender};

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// At this share of its `max_bytes` the log takes no new order, so that those in it can end: an
/// order needs some five more events of about the same size.
const FULL_AT: (u64, u64) = (9, 10);

/// What the last look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// Which of the streams of this name it is.
    pub created: Timestamp,
    pub is_full: bool,
}

impl From<&StreamState> for Log {
    fn from(state: &StreamState) -> Self {
        let (part, whole) = FULL_AT;
        let share = |max: u64| u128::from(max) * u128::from(part) / u128::from(whole);
        let is_full = state.max_bytes.is_some_and(|max| u128::from(state.bytes) >= share(max));
        Self { created: state.incarnation.created, is_full }
    }
}

/// The log as it is now, and the work of looking.
pub(crate) fn watch(
    broker: Arc<dyn Broker>,
    now: &StreamState,
) -> (Receiver<Log>, impl Future<Output = ()> + Send + 'static) {
    let (sender, receiver) = watch::channel(Log::from(now));
    (receiver, look(broker, sender))
}

async fn look(broker: Arc<dyn Broker>, seen: Sender<Log>) {
    let mut tick = tokio::time::interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        // Without an answer the last look counts on, because a write finds out by itself.
        let Ok(Some(state)) = broker.state(FLOW.stream).await else { continue };
        let (now, before) = (Log::from(&state), *seen.borrow());
        if now == before {
            continue;
        }
        if now.created != before.created {
            tracing::warn!(created = %now.created, "the log is another one than before");
        }
        if now.is_full && !before.is_full {
            tracing::error!(
                bytes = state.bytes,
                max_bytes = state.max_bytes,
                "the log is full to nine tenths: no new orders; see the runbook full-log"
            );
        }
        if before.is_full && !now.is_full {
            tracing::info!("the log has room again: takes orders");
        }
        seen.send_replace(now);
    }
}

#[cfg(test)]
mod tests {
    use quadrille::broker::Incarnation;

    use super::*;

    #[test]
    fn the_log_is_full_from_nine_tenths_of_its_size_on() {
        let state = |bytes, max_bytes| StreamState {
            incarnation: Incarnation { stream: "LOG".to_owned(), created: Timestamp::UNIX_EPOCH },
            server_time: Timestamp::UNIX_EPOCH,
            last_sequence: 1,
            bytes,
            max_bytes,
        };
        let full = |bytes, max_bytes| Log::from(&state(bytes, max_bytes)).is_full;
        assert!(!full(899, Some(1_000)));
        assert!(full(900, Some(1_000)));
        assert!(!full(u64::MAX, None), "a log without a limit is never full");
        assert!(!full(u64::MAX / 2, Some(u64::MAX)));
    }
}
