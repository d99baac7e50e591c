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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::event_id;
    use crate::testing::desk::{Desk, FLOW};

    /// Whoever follows the causes of an event must find the message that woke the worker.
    #[tokio::test(start_paused = true)]
    async fn a_message_that_wakes_is_named_as_the_cause() {
        let desk = Desk::of("confirm-trip");
        let cause = |message: &crate::broker::Stored| {
            woken_by(&desk.worker, &desk.delivery(message.clone(), 1)).0
        };
        let id = |slot, event| event_id(FLOW.saga, &desk.saga, slot, event, "client").to_string();
        let opening = desk.bare("asked", "{}");
        assert_eq!(cause(&opening), Cause { id: id("asked", "trip.asked.v1"), sequence: 1 });
        let junk = desk.bare("refused", "{}");
        assert_eq!(cause(&junk), Cause { id: id("refused", ""), sequence: 2 });
        let signal = desk.signal();
        assert_eq!(Some(cause(&signal)).map(|cause| cause.sequence), Some(3));
        assert_eq!(cause(&signal).id, desk.read("refused", &signal).id);
    }

    /// A message with many deliveries looks seldom, and one without a saga ever later.
    #[tokio::test(start_paused = true)]
    async fn what_has_no_saga_waits_as_long_as_it_is_old() {
        let desk = Desk::of("charge-card");
        let signal = desk.signal();
        let look = async |deliveries| {
            let delivery = desk.delivery(signal.clone(), deliveries);
            let view = View::look_until_answered(&desk.worker, &delivery).await.ok().unwrap();
            match again(&desk.worker, &delivery, &view) {
                Ending::GiveBack(wait, why) => (wait, why),
                _ => panic!("it is given back"),
            }
        };
        let (first, why) = look(1).await;
        assert!((5.0..=10.0).contains(&first.as_secs_f64()) && why == Why::Unopened, "{first:?}");
        tokio::time::advance(Duration::from_secs(600)).await;
        let (old, _) = look(2).await;
        assert!((600.0..=1_201.0).contains(&old.as_secs_f64()), "{old:?}");
        desk.opened();
        let (opened, why) = look(3).await;
        assert!(opened < Duration::from_secs(30) && why == Why::Later, "{opened:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_wakes_in_vain_again_and_again_is_looked_at_more_and_more_seldom() {
        let desk = Desk::of("charge-card");
        desk.opened();
        let signal = desk.signal();
        for (deliveries, from, to) in [(1, 0.05, 0.1), (4, 0.4, 0.8), (30, 15.0, 30.0)] {
            let delivery = desk.delivery(signal.clone(), deliveries);
            let view = View::look_until_answered(&desk.worker, &delivery).await.ok().unwrap();
            let Ending::GiveBack(wait, _) = again(&desk.worker, &delivery, &view) else {
                panic!("it is given back")
            };
            assert!((from..=to).contains(&wait.as_secs_f64()), "{deliveries}: {wait:?}");
        }
    }

    /// An undo is never given up, and holds no place for ever.
    #[tokio::test(start_paused = true)]
    async fn an_undo_whose_slots_cannot_be_read_waits_and_then_goes_back() {
        let desk = Desk::of("charge-card");
        let delivery = desk.delivery(desk.signal(), 1);
        desk.log.kept().unread = 3;
        assert!(View::look_until_answered(&desk.worker, &delivery).await.is_ok());
        desk.log.kept().unread = u32::MAX;
        let began = tokio::time::Instant::now();
        let read = View::look_until_answered(&desk.worker, &delivery).await;
        assert!(matches!(read, Err(Ending::GiveBack(_, Why::HeldLong))));
        let (held, most) = (began.elapsed(), desk.worker.limits.hold_max);
        assert!(held <= most && held > most / 2, "{held:?}");
        let asked = desk.log.kept().asked.len();
        assert!(asked < 2_000, "more and more seldom: {asked}");
    }
}
