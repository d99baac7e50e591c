//! The resolver, the one place that finds out whether an event is stored: it writes the event into
//! its slot, or finds what the slot already holds. Its guard is *optimistic concurrency*: the
//! broker stores the event only if the slot is empty.
//!
//! A publish that seems to have failed may have been stored. So the resolver sends it again with
//! the same guard until it knows what the slot holds; neither a time-out nor an empty read ever
//! means "not stored".

use tokio::time::sleep;

use super::delivery::Ending;
use super::retry;
use super::worker::Worker;
use crate::broker::{Published, Stored, Unknown};
use crate::log::envelope::Outgoing;
use crate::telemetry::{self, Repeats};
use crate::{BadData, Reason};

static FULL: Repeats = Repeats::none();

/// How a slot came to hold what it holds.
#[derive(Debug)]
pub(crate) enum Resolved {
    /// By this call.
    Written,
    /// Before this call: by another replica, by an earlier publish of ours whose answer was lost,
    /// or by another writer. What the slot holds decides, not who wrote it.
    Found(Stored),
}

/// Writes an event into its slot, or finds what it already holds. `after` is the sequence of its
/// cause.
pub(crate) async fn write_once(
    worker: &Worker,
    event: &Outgoing,
    after: u64,
) -> Result<Resolved, Ending> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let wait = match worker.broker.publish_once(&event.slot, event.payload.clone()).await {
            Published::Stored { sequence } if sequence > after => {
                if let Some(times) = FULL.over() {
                    tracing::info!(stream = worker.flow.stream, times, "the log has room again");
                }
                return Ok(Resolved::Written);
            }
            Published::Stored { sequence } => {
                // An event is stored before its cause only in another stream of the same name.
                let subject = event.slot.subject();
                let why = format!("{subject} was stored as {sequence}, not after {after}");
                return worker.halt(why).await;
            }
            Published::Conflict => {
                let slot = event.slot.subject();
                match worker.broker.last(worker.flow.stream, slot).await {
                    Ok(Some(stored)) => return Ok(Resolved::Found(stored)),
                    Ok(None) | Err(_) => {
                        telemetry::unanswered(worker.name(), slot, attempt);
                        retry::BROKER.wait(attempt)
                    }
                }
            }
            Published::Unknown(Unknown::Busy) => retry::BUSY.wait(attempt),
            Published::Unknown(Unknown::Full) => {
                if let Some(times) = FULL.again() {
                    let (stream, setting) = (worker.flow.stream, "max_bytes");
                    tracing::error!(
                        stream,
                        times,
                        setting,
                        "the log, or its account, is full: raise its limit; messages are held"
                    );
                }
                retry::FULL.wait(attempt)
            }
            Published::Unknown(Unknown::NoAnswer(why)) => {
                tracing::debug!(slot = event.slot.subject(), why, "no answer, publishing again");
                telemetry::unanswered(worker.name(), event.slot.subject(), attempt);
                Box::pin(worker.same_log()).await;
                retry::BROKER.wait(attempt)
            }
            Published::TooLarge => {
                let what = "its outcome is larger than an event may be";
                return Err(Ending::Park(BadData::new(Reason::TooLarge, "", what)));
            }
            Published::Rejected { code, description } => {
                let why = format!("the broker refused an event ({code}): {description}");
                return worker.halt(why).await;
            }
        };
        sleep(wait).await;
    }
}
