//! What wakes an undo or a closing durable, and how its handling ends. The message only wakes, so
//! its body may be junk, and the worker never parks it.

use std::time::Duration;

use super::view::View;
use crate::ids::Direction;
use crate::log::envelope::{Cause, Envelope};
use crate::pipeline::{Delivery, Ending, Why, Worker, retry};
use crate::{failpoint, telemetry};

/// Ends a delivery as it was decided, but sets nothing aside.
pub(super) async fn end(worker: &Worker, delivery: Delivery, decided: Result<Ending, Ending>) {
    let (Ok(ending) | Err(ending)) = decided;
    failpoint::hit(Direction::Undo, "before-ack");
    let ending = never_parked(worker, &delivery, ending);
    delivery.end(worker, ending).await;
}

/// The worker never sets an undo aside: the undo stays visible, and the worker tries until it
/// succeeds.
fn never_parked(worker: &Worker, delivery: &Delivery, ending: Ending) -> Ending {
    match ending {
        Ending::Park(bad) => {
            telemetry::undo_blocked(worker.name(), &delivery.saga, &bad);
            Ending::GiveBack(retry::LOOK.wait(u32::MAX), Why::Later)
        }
        Ending::Committed(_) | Ending::NotOurs(_) | Ending::GiveBack(..) => ending,
    }
}

pub(super) fn attempts(delivery: &Delivery) -> u32 {
    u32::try_from(delivery.delivered.deliveries).unwrap_or(u32::MAX)
}

/// The first and the longest wait for a saga that was never opened.
const UNOPENED: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(3600));

/// Nothing says yet why the message woke us: look again later.
///
/// A real signal has a refusal, and that has an opening event. One without any is forged, or this
/// replica lags. It is not settled, because a saga that is opened later under this id would have no
/// other signal; it waits for as long as it is old, so that many of them hinder no real one.
pub(super) fn again(worker: &Worker, delivery: &Delivery, view: &View) -> Ending {
    let wait = retry::LOOK.wait(attempts(delivery));
    if view.is_opened {
        return Ending::GiveBack(wait, Why::Later);
    }
    let (first, longest) = UNOPENED;
    let age = worker.clock.age(delivery.message().stored_at).clamp(first, longest);
    Ending::GiveBack(age.mul_f64(1.0 + fastrand::f64()).max(wait), Why::Unopened)
}

/// The message that woke us, as a cause; its id is empty if its body is junk.
pub(super) fn woken_by(worker: &Worker, delivery: &Delivery) -> (Cause, Option<String>) {
    let message = delivery.message();
    let slot = worker.flow.parse_subject(&message.subject).map_or("", |(slot, _)| slot);
    // A bare message carries no type, so it can only be what opens a saga.
    let opens = worker.flow.opens;
    let expected = if slot == opens.slot { opens.event } else { "" };
    let envelope = Envelope::read(worker.flow, slot, &delivery.saga, expected, message);
    let id = envelope.as_ref().map_or_else(|_| String::new(), |envelope| envelope.id.clone());
    let traceparent =
        envelope.ok().and_then(|envelope| envelope.traceparent.map(|text| text.into_owned()));
    (Cause { id, sequence: message.sequence }, traceparent)
}
