//! Setting a message aside for a human, with everything needed to try it again.
//!
//! It is stored on the parked stream before the trigger is settled, so it cannot be lost; a crash
//! between the two parks it twice, which is harmless. Nothing of the payload reaches a log.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use tokio::time::sleep;

use crate::broker::{Delivered, Headers, Published, Unknown};
use crate::kernel::Kernel;
use crate::{BadData, retry};

/// Proof that a message is on the parked stream.
pub(crate) struct Parked {
    _made_here: (),
}

/// A parked message: subject `parked.<subjects>.<durable>.<saga id>`.
#[derive(Serialize)]
struct Entry<'p> {
    parked_at: jiff::Timestamp,
    durable: &'p str,
    reason: &'static str,
    /// RFC 6901, within the payload.
    pointer: &'p str,
    message: &'p str,
    deliveries: u64,
    subject: &'p str,
    sequence: u64,
    stored_at: jiff::Timestamp,
    /// As pairs in the body: foreign text in real headers can take a reader down.
    headers: &'p Headers,
    payload_base64: String,
}

/// Parks a delivery of `durable`; `saga` is `-` where the subject names none.
pub(crate) async fn park(
    kernel: &Kernel,
    delivered: &Delivered,
    (durable, saga): (&str, &str),
    bad: &BadData,
) -> Parked {
    let message = &delivered.message;
    let entry = Entry {
        parked_at: kernel.clock.now(),
        durable,
        reason: bad.reason.code(),
        pointer: &bad.pointer,
        message: &bad.message,
        deliveries: delivered.deliveries,
        subject: &message.subject,
        sequence: message.sequence,
        stored_at: message.stored_at,
        headers: &message.headers,
        payload_base64: STANDARD.encode(&message.payload),
    };
    let payload = serde_json::to_vec(&entry).expect("strings and numbers always serialise");
    let subject = format!("parked.{}.{durable}.{saga}", kernel.flow.subjects);
    let mut attempt = 0;
    loop {
        attempt += 1;
        let wait = match kernel.broker.publish(&subject, payload.clone().into()).await {
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
                return kernel.halt(format!("cannot park on {subject}")).await;
            }
        };
        sleep(wait).await;
    }
    let (reason, pointer) = (bad.reason.code(), bad.pointer.as_str());
    metrics::counter!(crate::telemetry::PARKED, "durable" => durable.to_owned(), "reason" => reason)
        .increment(1);
    tracing::warn!(saga, durable, reason, pointer, "parked");
    Parked { _made_here: () }
}
