//! Is the event that a trigger names as its cause in the log?
//!
//! A step that acts on an event of a saga that was never opened does what no client asked for. So
//! the causing slot must hold exactly the message that the trigger names. If it does not, the
//! worker waits for it, and in the end sets the trigger aside.
//!
//! A read for each message would be the most expensive part of handling it. So a worker seals its
//! outcome: it says that it had the cause from this log. A stray event has no seal, and one of
//! another log has another. Only a trigger without the right seal costs a read. A seal is no
//! secret: it stops mistakes, and not a client that writes the events of workers by intent.
//!
//! A step that calls no outside service does no harm when it acts on a forged event, so there it is
//! enough that the trigger names the right id.

use std::time::Duration;

use jiff::SignedDuration;

use super::decode::Trigger;
use super::delivery::Ending;
use super::retry;
use super::worker::{Why, Worker};
use crate::broker::Stored;
use crate::log::envelope::{Cause, Envelope};
use crate::{BadData, Reason, Slot, ids};

/// A trigger that is already old at its first delivery gets a second look after this time, because
/// the node that answered may be a leader that does not know yet that it was replaced.
const SECOND_LOOK: Duration = Duration::from_secs(5);

/// A publish is repeated until it is answered, and a broker that was away may have lost the end of
/// its log, and with it the cause. So a seal counts only on an event that was stored within this
/// time after it was written. One that was stored as long before it was written shows that the
/// writer's estimate of the broker's clock is wrong, so its seal does not count either.
const STORED_WITHIN: SignedDuration = SignedDuration::from_secs(3);

/// Lets a trigger pass if its cause is in the log.
pub(crate) async fn check<On>(worker: &Worker, trigger: &Trigger<On>) -> Result<(), Ending> {
    let flow = worker.flow;
    let Some(before) = flow.decides(worker.row.on) else { return Ok(()) };
    let slot = worker.slot(before.on, &trigger.saga);
    if let Some(cause) = &trigger.cause {
        if is_sealed(worker, trigger, cause)
            || worker.row.requires.is_empty() && is_named_rightly(worker, &slot, cause)
        {
            return Ok(());
        }
        let resolves = |found: Option<Stored>| {
            found.is_some_and(|stored| {
                stored.sequence == cause.sequence && event_id(worker, &slot, &stored) == cause.id
            })
        };
        // A replica that lags does not have it yet; the leader does.
        if worker.lookup.last(slot.subject()).await.is_ok_and(resolves) {
            return Ok(());
        }
        if resolves(worker.last(&slot).await?) {
            return Ok(());
        }
    }
    // Not `age`, because `age` errs on the side of too old.
    let waited = worker.clock.now().duration_since(trigger.stored_at);
    if Duration::try_from(waited).unwrap_or_default() < worker.limits.cause_wait {
        let attempt = u32::try_from(trigger.deliveries).unwrap_or(u32::MAX);
        return Err(Ending::GiveBack(retry::LOOK.wait(attempt), Why::Later));
    }
    if trigger.deliveries == 1 {
        return Err(Ending::GiveBack(SECOND_LOOK, Why::Later));
    }
    let what = "what caused it is not in the log";
    Err(Ending::Park(BadData::new(Reason::NoCause, "/causationid", what)))
}

/// Whether the worker that wrote the trigger had its cause from this log, which stores a cause
/// before what it leads to.
fn is_sealed<On>(worker: &Worker, trigger: &Trigger<On>, cause: &Cause) -> bool {
    let slot = worker.slot(worker.row.on, &trigger.saga);
    let right = worker.seal(slot.subject(), cause.sequence);
    let is_right = right.is_some_and(|right| trigger.seal == Some(right));
    let took = trigger.written_at.map(|written_at| trigger.stored_at.duration_since(written_at));
    let is_prompt = took.is_some_and(|took| took.abs() < STORED_WITHIN);
    is_right && is_prompt && cause.sequence < trigger.this.sequence
}

/// Whether this is the id that the cause must have; `false` if the flow does not determine that id.
fn is_named_rightly(worker: &Worker, slot: &Slot, cause: &Cause) -> bool {
    let flow = worker.flow;
    flow.decides(slot.name()).is_some_and(|row| {
        let id = ids::event_id(flow.saga, slot.saga(), slot.name(), row.done, row.worker);
        id.to_string() == cause.id
    })
}

/// The id of the event in a slot; empty if the slot holds no event, because no cause has an empty
/// id.
fn event_id(worker: &Worker, slot: &Slot, stored: &Stored) -> String {
    let flow = worker.flow;
    let expected = flow.decides(slot.name()).map_or(flow.opens.event, |row| row.done);
    Envelope::read(flow, slot.name(), slot.saga(), expected, stored)
        .map_or_else(|_| String::new(), |envelope| envelope.id)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;
    use crate::broker::Incarnation;
    use crate::log::envelope::Occasion;
    use crate::pipeline::decode::decode;
    use crate::testing::desk::{Booked, Bought, Charged, Desk};
    use crate::{KeyNamespace, SagaId};

    fn passes(checked: &Result<(), Ending>) -> bool {
        checked.is_ok()
    }

    /// What becomes of a booking, stored as 3, whose cause is not in the log.
    async fn sealed(desk: &Desk, sequence: u64, seal: Option<Uuid>) -> bool {
        sealed_at(desk, sequence, seal, desk.log.now()).await
    }

    /// The same, if the worker that wrote it says that it did so then.
    async fn sealed_at(desk: &Desk, sequence: u64, seal: Option<Uuid>, time: Timestamp) -> bool {
        // The first two messages are another saga's.
        for slot in ["card", "ticket"] {
            desk.bare(slot, "{}");
        }
        let cause = Some(Cause { id: "never".to_owned(), sequence });
        let occasion = Occasion { cause, traceparent: None, time, seal, work: None };
        let booked = desk.write("hotel", ("book-hotel", "hotel.booked.v1"), &occasion);
        let delivery = desk.delivery(booked, 1);
        let trigger = decode::<Booked>(&desk.worker, &delivery).ok().unwrap();
        let is_asked = |desk: &Desk| !desk.log.kept().asked.is_empty();
        let passed = passes(&check(&desk.worker, &trigger).await);
        assert_ne!(passed, is_asked(desk), "it is let pass unread, or looked for");
        passed
    }

    fn subject(desk: &Desk, slot: &'static str) -> String {
        desk.worker.slot(slot, &desk.saga).subject().to_owned()
    }

    /// A card is charged for a booking of this very log, and for no stray one.
    #[tokio::test(start_paused = true)]
    async fn only_the_seal_of_this_log_this_subject_and_this_cause_spares_the_look() {
        let desk = || Desk::of("charge-card");
        let of = |desk: &Desk, slot, cause| desk.worker.seal(&subject(desk, slot), cause);
        let right = desk();
        let seal = of(&right, "hotel", 2);
        assert!(sealed(&right, 2, seal).await);
        assert!(!sealed(&desk(), 2, None).await, "no seal");
        assert!(!sealed(&desk(), 1, of(&right, "hotel", 2)).await, "of another cause");
        assert!(!sealed(&desk(), 2, of(&right, "card", 2)).await, "of another step");
        let mut other = desk();
        other.saga = SagaId::parse("T2").unwrap();
        let of_another_saga = of(&other, "hotel", 2);
        assert!(!sealed(&desk(), 2, of_another_saga).await, "of another saga");
        let mut other = desk();
        other.worker.keys = KeyNamespace::draw();
        let of_another_log = of(&other, "hotel", 2);
        assert!(!sealed(&desk(), 2, of_another_log).await, "of a log with other keys");
        let mut other = desk();
        let created = other.log.now() + jiff::SignedDuration::from_nanos(1);
        other.worker.incarnations =
            vec![Incarnation { created, ..other.worker.incarnations[0].clone() }];
        let of_a_later_log = of(&other, "hotel", 2);
        assert!(!sealed(&desk(), 2, of_a_later_log).await, "of a log that was made later");
    }

    /// While its publish was repeated, the broker may have lost its cause, and stored others.
    #[tokio::test(start_paused = true)]
    async fn a_seal_counts_only_on_an_event_that_was_stored_soon_after_it_was_written() {
        let most = STORED_WITHIN.as_nanos();
        for (took, counts) in [(most - 1, true), (most, false), (1 - most, true), (-most, false)] {
            let desk = Desk::of("charge-card");
            let seal = desk.worker.seal(&subject(&desk, "hotel"), 2);
            let time = desk.log.now() - SignedDuration::from_nanos_i128(took);
            assert_eq!(sealed_at(&desk, 2, seal, time).await, counts, "{took}");
        }
    }

    /// A log that came back shorter stores an event before what it names as its cause.
    #[tokio::test(start_paused = true)]
    async fn a_seal_of_a_cause_that_comes_after_the_event_is_none() {
        for sequence in [3, 4] {
            let desk = Desk::of("charge-card");
            let seal = desk.worker.seal(&subject(&desk, "hotel"), sequence);
            assert!(!sealed(&desk, sequence, seal).await, "{sequence}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_does_not_know_its_log_takes_no_missing_seal_for_the_right_one() {
        let mut desk = Desk::of("charge-card");
        desk.worker.incarnations.clear();
        assert!(!sealed(&desk, 2, None).await);
    }

    /// The booking at hand, without a seal.
    async fn looked(desk: &Desk, slot: &'static str, deliveries: u64) -> Result<(), Ending> {
        let delivery = desk.delivery(desk.holds(slot).unwrap(), deliveries);
        let trigger = decode::<Booked>(&desk.worker, &delivery).ok().unwrap();
        check(&desk.worker, &trigger).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_cause_is_looked_for_at_any_replica_and_then_at_the_leader() {
        let desk = Desk::of("charge-card");
        desk.opened();
        desk.done("book-hotel");
        assert!(passes(&looked(&desk, "hotel", 1).await));
        assert_eq!(desk.log.kept().asked, ["trips.asked.T1"], "one replica has it");
        desk.log.kept().lags = true;
        assert!(passes(&looked(&desk, "hotel", 1).await), "the leader has it");
    }

    /// An opening of this id in another log has the same id, and another place.
    #[tokio::test(start_paused = true)]
    async fn a_cause_has_its_id_and_its_place() {
        for (id, sequence, passed) in
            [(None, 1, true), (None, 2, false), (Some("other".to_owned()), 1, false)]
        {
            let desk = Desk::of("charge-card");
            desk.opened();
            let right = desk.cause("asked").unwrap();
            let cause = Some(Cause { id: id.unwrap_or(right.id), sequence });
            let occasion =
                Occasion { cause, traceparent: None, time: desk.log.now(), seal: None, work: None };
            desk.write("hotel", ("book-hotel", "hotel.booked.v1"), &occasion);
            assert_eq!(passes(&looked(&desk, "hotel", 1).await), passed, "{sequence}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_without_its_cause_waits_and_is_looked_for_twice_before_it_is_set_aside() {
        let desk = Desk::of("charge-card");
        desk.done("book-hotel");
        let wait = async |deliveries| match looked(&desk, "hotel", deliveries).await {
            Err(Ending::GiveBack(wait, Why::Later)) => Some(wait),
            Err(Ending::Park(bad)) if bad.reason == Reason::NoCause => None,
            _ => panic!("it passes, or ends in another way"),
        };
        assert!(wait(1).await.is_some_and(|wait| wait < SECOND_LOOK));
        tokio::time::advance(desk.worker.limits.cause_wait).await;
        assert_eq!(wait(1).await, Some(SECOND_LOOK), "an old leader may not have it");
        assert_eq!(wait(2).await, None);
    }

    /// The id follows from the flow, so a forged one may well be right.
    #[tokio::test(start_paused = true)]
    async fn a_step_with_a_service_believes_no_cause_because_of_its_name() {
        let desk = Desk::of("buy-ticket");
        let (hotel, card) =
            (desk.worker.flow.row("book-hotel"), desk.worker.flow.row("charge-card"));
        let (hotel, card) = (hotel.unwrap(), card.unwrap());
        let flow = desk.worker.flow;
        let id = ids::event_id(flow.saga, &desk.saga, hotel.slot, hotel.done, hotel.worker);
        let cause = Some(Cause { id: id.to_string(), sequence: 1 });
        let occasion =
            Occasion { cause, traceparent: None, time: desk.log.now(), seal: None, work: None };
        let charged = desk.write(card.slot, (card.worker, card.done), &occasion);
        let trigger = decode::<Charged>(&desk.worker, &desk.delivery(charged, 1)).ok().unwrap();
        assert!(!passes(&check(&desk.worker, &trigger).await));
    }

    /// It calls no service, so it need not read; but the id must be the one that follows from the
    /// flow.
    #[tokio::test(start_paused = true)]
    async fn a_step_without_a_service_believes_a_cause_that_is_named_rightly() {
        let desk = Desk::of("confirm-trip");
        let row = desk.worker.flow.row("buy-ticket").unwrap();
        let before = desk.worker.flow.row("charge-card").unwrap();
        let id = |slot, event, source| {
            ids::event_id(desk.worker.flow.saga, &desk.saga, slot, event, source).to_string()
        };
        let right = id(before.slot, before.done, before.worker);
        let refusal = id(before.slot, before.refused.unwrap(), before.worker);
        for (id, believed) in [(right, true), (refusal, false), ("other".to_owned(), false)] {
            let desk = Desk::of("confirm-trip");
            let cause = Some(Cause { id, sequence: 1 });
            let occasion =
                Occasion { cause, traceparent: None, time: desk.log.now(), seal: None, work: None };
            let bought = desk.write(row.slot, (row.worker, row.done), &occasion);
            let delivery = desk.delivery(bought, 1);
            let trigger = decode::<Bought>(&desk.worker, &delivery).ok().unwrap();
            assert_eq!(passes(&check(&desk.worker, &trigger).await), believed);
            assert_eq!(desk.log.kept().asked.is_empty(), believed);
        }
    }
}
