//! Turns a saga around from outside: because a client asks for it, or because its time is over.
//!
//! The walk reads the slots in flow order, and refuses on its behalf the first step that has not
//! decided yet, or stops the saga at its pivot. The guard lets one decision in: where the step was
//! first, the walk goes on. Whoever is refused may have acted, and its undo deals with that.

use serde_json::value::RawValue;

use crate::broker::Stored;
use crate::event::runtime::{Refused, Signal, Stop};
use crate::flow::{Pivot, Row};
use crate::ids::Direction;
use crate::log::envelope::{Occasion, Outgoing};
use crate::log::slots::{self, Entry};
use crate::pipeline::{Committed, Ending, Resolved, Worker, alien, signal, write_once};
use crate::{Flow, SagaId, event, failpoint};

/// Why a saga is to turn around.
pub(super) struct Wish<'w> {
    pub(super) saga: &'w SagaId,
    /// A code, lower case with dashes.
    pub(super) reason: &'static str,
    /// By reference.
    pub(super) by: String,
    /// The last step that it may refuse; `None` for as far as the pivot.
    pub(super) up_to: Option<&'static str>,
    /// Its cause is in the log.
    pub(super) occasion: Occasion,
}

/// What became of a wish.
pub(super) enum Walked {
    /// A refusal or a stop is in the log, by whoever, and so is the signal.
    Turned(Committed),
    /// The saga has passed the last place where it could turn.
    TooLate,
}

/// A slot in which a saga can turn.
#[derive(Clone, Copy)]
enum Place {
    /// A step that can be undone, and the type of its refusal.
    Step(&'static Row, &'static str),
    Pivot(&'static Row, Pivot),
}

pub(super) async fn walk(worker: &Worker, wish: &Wish<'_>) -> Result<Walked, Ending> {
    for place in worker.flow.steps.iter().filter_map(Place::of) {
        let is_last = wish.up_to == Some(place.name());
        let (signal, turned) = match refuse(worker, wish, place).await? {
            None => {
                let (step, reason) = (place.name().to_owned(), wish.reason.to_owned());
                let by = worker.name().to_owned();
                (Signal { step, reason, by }, Committed::undone())
            }
            Some(Entry::Done(_)) if is_last => break,
            Some(Entry::Done(_)) => continue,
            Some(Entry::Refused(refusal)) => {
                (signal::of(place.name(), &refusal), Committed::seen(&refusal))
            }
            Some(Entry::Alien) => return Err(alien()),
        };
        signal::give_to(worker, wish.saga, signal, &wish.occasion).await?;
        return Ok(Walked::Turned(turned));
    }
    Ok(Walked::TooLate)
}

/// Refuses a place on its behalf, or finds what it already holds.
async fn refuse(worker: &Worker, wish: &Wish<'_>, place: Place) -> Result<Option<Entry>, Ending> {
    let slot = worker.slot(place.slot(), wish.saga);
    if let Some(stored) = worker.last(&slot).await? {
        return Ok(Some(place.read(worker.flow, wish.saga, &stored)));
    }
    let refusal = place.refusal(wish);
    let event = (place.refuses_with(), &*refusal);
    let event = Outgoing::new(worker.flow, slot, worker.name(), event, &wish.occasion);
    let after = wish.occasion.cause.as_ref().map_or(0, |cause| cause.sequence);
    match write_once(worker, &event, after).await? {
        Resolved::Found(stored) => Ok(Some(place.read(worker.flow, wish.saga, &stored))),
        Resolved::Written => {
            failpoint::hit(Direction::Undo, "after-commit");
            tracing::info!(saga = %wish.saga, reason = wish.reason, slot = place.slot(), "turned");
            Ok(None)
        }
    }
}

impl Place {
    fn of(row: &'static Row) -> Option<Self> {
        match (row.undo, row.refused, row.pivot) {
            (Some(_), Some(refused), _) => Some(Self::Step(row, refused)),
            (_, _, Some(pivot)) => Some(Self::Pivot(row, pivot)),
            (_, _, None) => None,
        }
    }

    /// As a signal names it.
    fn name(self) -> &'static str {
        match self {
            Self::Step(row, _) => row.worker,
            Self::Pivot(_, pivot) => pivot.slot,
        }
    }

    fn slot(self) -> &'static str {
        match self {
            Self::Step(row, _) => row.slot,
            Self::Pivot(_, pivot) => pivot.slot,
        }
    }

    fn refuses_with(self) -> &'static str {
        match self {
            Self::Step(_, refused) => refused,
            Self::Pivot(_, pivot) => pivot.stop,
        }
    }

    fn refusal(self, wish: &Wish<'_>) -> Box<RawValue> {
        let reason = wish.reason.to_owned();
        match self {
            Self::Step(..) => event::data(&Refused { reason }),
            Self::Pivot(..) => event::data(&Stop { reason, by: wish.by.clone() }),
        }
    }

    fn read(self, flow: &Flow, saga: &SagaId, stored: &Stored) -> Entry {
        match self {
            Self::Step(row, _) => slots::decision(flow, row, saga, stored),
            Self::Pivot(row, _) => slots::pivot(flow, row, saga, stored),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::broker::Settle;
    use crate::testing::desk::{Desk, FLOW};
    use crate::undo::{cancel, deadline};

    /// The deadline of one step is over; what the next one decides is not its business.
    #[tokio::test(start_paused = true)]
    async fn the_deadline_of_a_step_that_decided_in_time_refuses_no_other_step() {
        let desk = Desk::of("confirm-trip");
        let opened = desk.opened();
        desk.done("book-hotel");
        let delivery = desk.delivery(opened, 1);
        deadline::handle(&desk.worker, delivery, FLOW.row("book-hotel")).await;
        assert_eq!((desk.says("card"), desk.says("refused")), (None, None));
        assert_eq!(desk.log.kept().settled, [Settle::Ack]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_of_a_step_that_is_late_refuses_it_and_says_so() {
        let desk = Desk::of("confirm-trip");
        let delivery = desk.delivery(desk.opened(), 1);
        deadline::handle(&desk.worker, delivery, FLOW.row("book-hotel")).await;
        assert_eq!(desk.says("hotel").as_deref(), Some("hotel.refused.v1"));
        assert_eq!(desk.says("refused").as_deref(), Some(FLOW.turns.event));
        assert_eq!(desk.log.kept().settled, [Settle::Ack]);
        let cause = desk.read("hotel", &desk.holds("hotel").unwrap()).cause;
        assert_eq!(cause, desk.cause("asked"), "what was due is its cause");
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_of_a_saga_refuses_the_first_step_that_has_not_decided() {
        let desk = Desk::of("confirm-trip");
        let opened = desk.opened();
        desk.done("book-hotel");
        deadline::handle(&desk.worker, desk.delivery(opened, 1), None).await;
        assert_eq!(desk.says("card").as_deref(), Some("card.refused.v1"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_decided_is_not_walked() {
        let (hotel, whole) = (FLOW.row("book-hotel"), None);
        let is_decided = async |done: &[&str], pivot: Option<&'static str>, closed, step| {
            let desk = Desk::of("confirm-trip");
            let opened = desk.opened();
            for worker in done {
                desk.done(worker);
            }
            if let Some(event) = pivot {
                let by = if event == "trip.go.v1" { "buy-ticket" } else { "confirm-trip" };
                desk.event("pivot", (by, event), "card");
            }
            if let Some(event) = closed {
                desk.event("closed", ("confirm-trip", event), "asked");
            }
            let delivery = desk.delivery(opened, 1);
            deadline::is_decided(&desk.worker, &delivery, step).await.is_some()
        };
        assert!(!is_decided(&[], None, None, hotel).await);
        assert!(is_decided(&["book-hotel"], None, None, hotel).await);
        assert!(!is_decided(&["book-hotel"], None, None, whole).await, "not past the pivot");
        assert!(is_decided(&[], Some("trip.go.v1"), None, whole).await);
        // Whoever wrote the stop may have died before it gave the signal.
        assert!(!is_decided(&[], Some("trip.stop.v1"), None, whole).await);
        for closed in ["trip.confirmed.v1", "trip.cancelled.v1"] {
            assert!(is_decided(&[], None, Some(closed), hotel).await, "{closed}");
            assert!(is_decided(&[], None, Some(closed), whole).await, "{closed}");
        }
        assert!(!is_decided(&[], None, Some("trip.asked.v1"), whole).await, "no event of its slot");
    }

    /// Who asked is what an operator sees of a stop, and the wish is what it came of.
    #[tokio::test(start_paused = true)]
    async fn a_stop_names_who_asked_and_the_wish() {
        let wish = r#"{"specversion":"1.0","id":"w1","type":"trip.cancel-asked.v1",
                       "source":"shop","data":{"by":"ann"}}"#;
        let nameless = r#"{"specversion":"1.0","id":"w1","type":"trip.cancel-asked.v1",
                           "source":"shop","data":{"by":""}}"#;
        for (wish, by) in [(wish, "ann"), (nameless, "shop"), ("", "client")] {
            let desk = Desk::of("confirm-trip");
            desk.opened();
            for worker in ["book-hotel", "charge-card"] {
                desk.done(worker);
            }
            let asked = desk.bare("cancel", wish);
            cancel::handle(&desk.worker, desk.delivery(asked.clone(), 1)).await;
            let stop = desk.holds("pivot").unwrap();
            let stop = desk.read("pivot", &stop);
            assert_eq!(stop.event_type, "trip.stop.v1");
            assert_eq!(stop.data, format!(r#"{{"reason":"cancelled","by":"{by}"}}"#));
            assert_eq!(stop.cause.unwrap().sequence, asked.sequence, "{by}");
            assert_eq!(desk.log.kept().settled, [Settle::Ack]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wish_for_no_saga_waits_and_is_refused_in_the_end() {
        let desk = Desk::of("confirm-trip");
        let asked = desk.bare("cancel", "");
        cancel::handle(&desk.worker, desk.delivery(asked.clone(), 1)).await;
        assert!(matches!(desk.log.kept().settled[..], [Settle::Retry(_)]));
        assert_eq!(desk.says("cancel-refused"), None);
        tokio::time::advance(desk.worker.limits.cancel_wait).await;
        cancel::handle(&desk.worker, desk.delivery(asked, 2)).await;
        assert_eq!(desk.says("cancel-refused").as_deref(), Some("trip.cancel-refused.v1"));
        assert_eq!(desk.log.kept().settled.last(), Some(&Settle::Ack));
    }

    /// A wish that is asked for again is not in the log: what it comes of is the opening.
    #[tokio::test(start_paused = true)]
    async fn what_a_wish_that_was_released_leads_to_names_the_opening() {
        let desk = Desk::of("confirm-trip");
        desk.opened();
        let subject = FLOW.released("confirm-trip-cancel", &desk.saga);
        let release = desk.log.store(&FLOW.parked_stream(), &subject, "{}".into());
        let mut delivery = desk.delivery(release, 1);
        delivery.released = Some(crate::pipeline::Released::by(&mut delivery.delivered));
        cancel::handle(&desk.worker, delivery).await;
        assert_eq!(desk.says("hotel").as_deref(), Some("hotel.refused.v1"));
        let cause = desk.read("hotel", &desk.holds("hotel").unwrap()).cause;
        assert_eq!(cause, desk.cause("asked"));
    }

    /// The saga has passed its pivot, and its client is told so.
    #[tokio::test(start_paused = true)]
    async fn a_wish_behind_the_pivot_comes_too_late() {
        let desk = Desk::of("confirm-trip");
        desk.opened();
        for worker in ["book-hotel", "charge-card"] {
            desk.done(worker);
        }
        desk.event("pivot", ("buy-ticket", "trip.go.v1"), "card");
        let asked = desk.bare("cancel", "");
        cancel::handle(&desk.worker, desk.delivery(asked, 1)).await;
        let refused = desk.holds("cancel-refused").unwrap();
        assert_eq!(desk.read("cancel-refused", &refused).data, r#"{"reason":"too-late"}"#);
        assert_eq!(desk.says("refused"), None, "and nothing turns");
    }

    /// Whoever refused a step may have died before it gave the signal.
    #[tokio::test(start_paused = true)]
    async fn a_walk_that_finds_a_refusal_gives_its_signal() {
        let desk = Desk::of("confirm-trip");
        let opened = desk.opened();
        desk.refused("book-hotel");
        deadline::handle(&desk.worker, desk.delivery(opened, 1), None).await;
        let signal = desk.holds("refused").unwrap();
        let signal = desk.read("refused", &signal).data.to_owned();
        assert_eq!(signal, r#"{"step":"book-hotel","reason":"no","by":"book-hotel"}"#);
        assert_eq!(desk.says("card"), None);
    }
}
