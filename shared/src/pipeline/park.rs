//! Sets a message aside for a human (a *dead letter*), with everything needed to try it again.
//!
//! The worker stores it on the parked stream before it settles the trigger, so it cannot be lost; a
//! crash between the two parks it twice, which is harmless. No part of the payload appears in a log
//! line.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::time::sleep;

use super::retry;
use super::worker::Worker;
use crate::broker::{Delivered, Published, Unknown};
use crate::log::parked::{self, Entry, Parked};
use crate::{BadData, SagaId, telemetry};

/// Proof that a message is on the parked stream.
pub(crate) struct SetAside {
    _made_here: (),
}

/// Parks a delivery of `durable`; `saga` is `None` if the subject names none.
pub(crate) async fn park(
    worker: &Worker,
    delivered: &Delivered,
    durable: &str,
    saga: Option<&SagaId>,
    bad: &BadData,
) -> SetAside {
    let message = &delivered.message;
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
        },
        stored_at: message.stored_at,
        headers: message.headers.clone(),
        payload_base64: STANDARD.encode(&message.payload),
    };
    let payload = serde_json::to_vec(&entry).expect("strings and numbers always serialise");
    let subject = parked::subject(worker.flow, durable, saga);
    let mut attempt = 0;
    loop {
        attempt += 1;
        let wait = match worker.broker.publish(&subject, payload.clone().into()).await {
            Published::Stored { .. } => break,
            Published::Unknown(Unknown::Full) => {
                tracing::error!(subject, "the parked stream is full: raise max_bytes");
                retry::FULL.wait(attempt)
            }
            Published::Conflict | Published::Unknown(_) => {
                tracing::warn!(subject, attempt, "cannot be parked now; the message is held");
                retry::BROKER.wait(attempt)
            }
            Published::TooLarge | Published::Rejected { .. } => {
                return worker.halt(format!("cannot park on {subject}")).await;
            }
        };
        sleep(wait).await;
    }
    let (reason, pointer) = (bad.reason.code(), bad.pointer.as_str());
    metrics::counter!(telemetry::PARKED, "durable" => durable.to_owned(), "reason" => reason)
        .increment(1);
    let saga = saga.map_or("-", SagaId::as_str);
    tracing::warn!(saga, durable, reason, pointer, "parked");
    SetAside { _made_here: () }
}
