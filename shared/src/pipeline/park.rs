//! Sets a message aside for a human (a *dead letter*), with everything needed to try it again.
//!
//! The worker stores it on the parked stream before it settles the trigger, so it cannot be lost; a
//! crash between the two parks it twice, which is harmless. No part of the payload appears in a log
//! line.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::time::Instant;

use super::retry;
use super::worker::{GiveBack, Why, Worker};
use crate::broker::{Delivered, Published, Stored, Unknown};
use crate::log::parked::{self, Entry, Parked};
use crate::telemetry::{self, Repeats};
use crate::topology::parked_stream_name;
use crate::{BadData, SagaId};

/// Proof that a message is on the parked stream.
pub(crate) struct SetAside {
    _made_here: (),
}

static FULL: Repeats = Repeats::none();

/// Parks a delivery of `durable`; `saga` is `None` if the subject names none. `released` is the
/// sequence of the release that brought it, if it was parked before. If it cannot be parked now,
/// the message goes back to the broker: nothing was settled, and it keeps no place from others.
pub(crate) async fn park(
    worker: &Worker,
    delivered: &Delivered,
    durable: &str,
    saga: Option<&SagaId>,
    released: Option<u64>,
    bad: &BadData,
) -> Result<SetAside, GiveBack> {
    let message = &delivered.message;
    let raw_headers = delivered.unreadable.as_ref().map(|unreadable| &unreadable.raw_headers);
    let subject = parked::subject(worker.flow, durable, saga);
    if raw_headers.is_some() && is_parked(worker, &subject, message).await {
        return Ok(SetAside { _made_here: () });
    }
    let entry = Entry {
        parked: Parked {
            parked_at: worker.clock.now(),
            durable: durable.to_owned(),
            reason: bad.reason.code().to_owned(),
            pointer: bad.pointer.clone(),
            message: bad.message.clone(),
            deliveries: delivered.deliveries,
            subject: message.subject.clone(),
            sequence: message.sequence,
            released,
        },
        stored_at: message.stored_at,
        headers: message.headers.clone(),
        raw_headers_base64: raw_headers.map(|raw| STANDARD.encode(raw)),
        payload_base64: STANDARD.encode(&message.payload),
    };
    let payload = serde_json::to_vec(&entry).expect("strings and numbers always serialise");
    let held_since = Instant::now();
    let mut attempt = 0_u32;
    loop {
        attempt += 1;
        match worker.broker.publish(&subject, payload.clone().into()).await {
            Published::Stored { .. } => {
                if let Some(times) = FULL.over() {
                    tracing::info!(times, "the parked stream has room again");
                }
                break;
            }
            Published::Unknown(Unknown::Full) => {
                if let Some(times) = FULL.again() {
                    tracing::error!(
                        subject,
                        times,
                        setting = "max_bytes",
                        "the parked stream is full: raise its limit; the message goes back and \
                         is not lost"
                    );
                }
                let times = u32::try_from(delivered.deliveries).unwrap_or(u32::MAX);
                return Err(GiveBack(retry::PARK.wait(times), Why::Full));
            }
            Published::Conflict | Published::Unknown(_) => {
                if attempt.is_power_of_two() {
                    tracing::warn!(subject, attempt, "cannot be parked now; the message is held");
                }
                worker.pause(retry::BROKER.wait(attempt), held_since).await?;
            }
            Published::TooLarge | Published::Rejected { .. } => {
                return worker.halt(format!("cannot park on {subject}")).await;
            }
        }
    }
    let (reason, pointer) = (bad.reason.code(), bad.pointer.as_str());
    metrics::counter!(telemetry::PARKED, "durable" => durable.to_owned(), "reason" => reason)
        .increment(1);
    let saga = saga.map_or("-", SagaId::as_str);
    let Stored { subject, sequence, .. } = message;
    tracing::warn!(saga, durable, reason, pointer, subject, sequence, "parked");
    Ok(SetAside { _made_here: () })
}

/// Whether this very message is on the parked stream: one that no client can read is found again
/// after a restart although it was settled, as long as an earlier one is not.
async fn is_parked(worker: &Worker, subject: &str, message: &Stored) -> bool {
    let stream = parked_stream_name(worker.flow);
    let Ok(Some(found)) = worker.broker.last(&stream, subject).await else { return false };
    serde_json::from_slice::<Entry>(&found.payload).is_ok_and(|entry| {
        entry.parked.sequence == message.sequence && entry.stored_at == message.stored_at
    })
}
