//! What a slot says. A slot is the one exact subject that holds a step's decision for one saga;
//! what is read from it is believed only if type, source and subject fit together.
//!
//! Pure functions: what the pipeline, the undo and the closing decide depends on these entries
//! alone.

use jiff::Timestamp;

use super::envelope::Envelope;
use crate::broker::Stored;
use crate::event::reason_in;
use crate::flow::Row;
use crate::{Flow, SagaId};

/// A slot that holds something, and what that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// The step did it.
    Done(Record),
    /// The step refused, or the closing worker refused on its behalf.
    Refused(Record),
    /// Its source may not write this slot, or it is unreadable. It decides nothing, and stays for
    /// ever.
    Alien,
}

/// An event as the log holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub event_type: String,
    pub source: String,
    /// Of a refusal or a stop; empty otherwise.
    pub reason: String,
    pub sequence: u64,
    pub stored_at: Timestamp,
    /// The JSON of `data`.
    pub data: String,
}

/// What an event says in its slot, from its type and its source alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Says {
    Done,
    Refused,
    Alien,
}

impl Says {
    fn entry(self, record: Record) -> Entry {
        match self {
            Self::Done => Entry::Done(record),
            Self::Refused => Entry::Refused(record),
            Self::Alien => Entry::Alien,
        }
    }
}

/// Reads what is stored in a step's slot.
pub fn decision(flow: &Flow, step: &Row, saga: &SagaId, stored: &Stored) -> Entry {
    let Some(record) = record(flow, step.slot, saga, stored) else { return Entry::Alien };
    decision_says(flow, step, &record.event_type, &record.source).entry(record)
}

pub(crate) fn decision_says(flow: &Flow, step: &Row, event_type: &str, source: &str) -> Says {
    let event = Some(event_type);
    let own = source == step.worker;
    let refuses = event == step.refused && (own || may_refuse(flow, step, source));
    let cancels = event == step.cancelled && own;
    if event == Some(step.done) && own {
        Says::Done
    } else if refuses || cancels {
        Says::Refused
    } else {
        Says::Alien
    }
}

/// The closing worker may refuse a step on its behalf, if that step can be undone.
fn may_refuse(flow: &Flow, step: &Row, source: &str) -> bool {
    step.undo.is_some() && source == flow.closing().worker
}

/// Whether something that this worker writes can belong into a slot of a step, of whatever type: a
/// newer version than is known here may write others.
pub(crate) fn may_write(flow: &Flow, slot: &str, source: &str) -> bool {
    let is_closing = source == flow.closing().worker;
    flow.steps.iter().any(|step| {
        let is_own = source == step.worker;
        step.slot == slot && (is_own || may_refuse(flow, step, source))
            || step.pivot.is_some_and(|pivot| pivot.slot == slot) && (is_own || is_closing)
            || step.undo.is_some_and(|undo| undo.slot == slot) && is_own
    })
}

/// Reads what is stored in the pivot before `step`: `Done` is go, `Refused` is stop.
pub fn pivot(flow: &Flow, step: &Row, saga: &SagaId, stored: &Stored) -> Entry {
    let Some(pivot) = step.pivot else { return Entry::Alien };
    let Some(record) = record(flow, pivot.slot, saga, stored) else { return Entry::Alien };
    pivot_says(flow, step, &record.event_type, &record.source).entry(record)
}

pub(crate) fn pivot_says(flow: &Flow, step: &Row, event_type: &str, source: &str) -> Says {
    match step.pivot {
        Some(pivot) if event_type == pivot.go && source == step.worker => Says::Done,
        Some(pivot) if event_type == pivot.stop && source == flow.closing().worker => Says::Refused,
        Some(_) | None => Says::Alien,
    }
}

/// Reads what is stored in the undo slot of `step`.
pub fn undone(flow: &Flow, step: &Row, saga: &SagaId, stored: &Stored) -> Entry {
    let Some(undo) = step.undo else { return Entry::Alien };
    let Some(record) = record(flow, undo.slot, saga, stored) else { return Entry::Alien };
    undo_says(step, &record.event_type, &record.source).entry(record)
}

pub(crate) fn undo_says(step: &Row, event_type: &str, source: &str) -> Says {
    match step.undo {
        Some(undo) if undo.events.contains(&event_type) && source == step.worker => Says::Done,
        Some(_) | None => Says::Alien,
    }
}

/// Any event in any slot; `None` for what is not a CloudEvent of this saga.
pub fn record(flow: &Flow, slot: &str, saga: &SagaId, stored: &Stored) -> Option<Record> {
    // A bare message carries no type, so it can only be what opens a saga.
    let expected = if slot == flow.opens.slot { flow.opens.event } else { "" };
    let envelope = Envelope::read(flow, slot, saga, expected, stored).ok()?;
    Some(Record {
        reason: reason_in(envelope.data),
        sequence: stored.sequence,
        stored_at: stored.stored_at,
        data: envelope.data.to_owned(),
        event_type: envelope.event_type.into_owned(),
        source: envelope.source.into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use Says::{Alien, Done, Refused};

    use super::*;
    use crate::flow::{opens, step};

    static FLOW: Flow = Flow {
        saga: "trip",
        stream: "TRIPS",
        subjects: "trips",
        opens: opens("asked", "trip.asked.v1"),
        turns: opens("refused", "trip.refused.v1"),
        steps: &[
            step("book-hotel")
                .on("asked")
                .writes("hotel", "hotel.booked.v1", "hotel.refused.v1")
                .undone_by("hotel-undo", &["hotel.freed.v1", "hotel.kept.v1"]),
            step("buy-ticket")
                .on("hotel")
                .after_pivot("pivot", "trip.go.v1", "trip.stop.v1")
                .writes("ticket", "ticket.bought.v1", "ticket.refused.v1"),
            step("confirm-trip").on("ticket").closes(
                "closed",
                "trip.confirmed.v1",
                "trip.cancelled.v1",
            ),
        ],
    };

    const SOURCES: [&str; 4] = ["book-hotel", "buy-ticket", "confirm-trip", "anybody"];

    /// What each of [`SOURCES`] says with an event of this type.
    fn say(says: impl Fn(&str, &str) -> Says, event: &str) -> [Says; 4] {
        SOURCES.map(|source| says(event, source))
    }

    #[test]
    fn only_a_step_itself_decides_and_only_the_closing_worker_refuses_for_it() {
        let row = |worker| FLOW.row(worker).expect("a row");
        let hotel = |event| say(|e, s| decision_says(&FLOW, row("book-hotel"), e, s), event);
        assert_eq!(hotel("hotel.booked.v1"), [Done, Alien, Alien, Alien]);
        assert_eq!(hotel("hotel.refused.v1"), [Refused, Alien, Refused, Alien]);
        assert_eq!(hotel("trip.cancelled.v1"), [Alien; 4]);
        assert_eq!(hotel("ticket.bought.v1"), [Alien; 4]);
        // What cannot be undone is refused by nobody else.
        let ticket = |event| say(|e, s| decision_says(&FLOW, row("buy-ticket"), e, s), event);
        assert_eq!(ticket("ticket.bought.v1"), [Alien, Done, Alien, Alien]);
        assert_eq!(ticket("ticket.refused.v1"), [Alien, Refused, Alien, Alien]);
        let closed = |event| say(|e, s| decision_says(&FLOW, row("confirm-trip"), e, s), event);
        assert_eq!(closed("trip.confirmed.v1"), [Alien, Alien, Done, Alien]);
        assert_eq!(closed("trip.cancelled.v1"), [Alien, Alien, Refused, Alien]);
        assert_eq!(closed("hotel.refused.v1"), [Alien; 4]);
    }

    #[test]
    fn only_its_step_says_go_and_only_the_closing_worker_says_stop() {
        let row = |worker| FLOW.row(worker).expect("a row");
        let pivot = |event| say(|e, s| pivot_says(&FLOW, row("buy-ticket"), e, s), event);
        assert_eq!(pivot("trip.go.v1"), [Alien, Done, Alien, Alien]);
        assert_eq!(pivot("trip.stop.v1"), [Alien, Alien, Refused, Alien]);
        assert_eq!(pivot("ticket.bought.v1"), [Alien; 4]);
        let none = |event| say(|e, s| pivot_says(&FLOW, row("book-hotel"), e, s), event);
        assert_eq!(none("trip.go.v1"), [Alien; 4]);
    }

    #[test]
    fn only_its_step_says_that_it_is_undone() {
        let row = |worker| FLOW.row(worker).expect("a row");
        let undo = |event| say(|e, s| undo_says(row("book-hotel"), e, s), event);
        assert_eq!(undo("hotel.freed.v1"), [Done, Alien, Alien, Alien]);
        assert_eq!(undo("hotel.kept.v1"), [Done, Alien, Alien, Alien]);
        assert_eq!(undo("hotel.booked.v1"), [Alien; 4]);
        let none = |event| say(|e, s| undo_says(row("buy-ticket"), e, s), event);
        assert_eq!(none("hotel.freed.v1"), [Alien; 4]);
    }

    /// A stock client sends its opening without an envelope; no other event can come so.
    #[test]
    fn a_bare_message_is_what_opens_a_saga_and_nothing_else() {
        let saga = SagaId::parse("T1").expect("an id");
        let bare = |slot: &str| {
            let stored = Stored {
                subject: format!("trips.{slot}.T1"),
                sequence: 1,
                stored_at: Timestamp::UNIX_EPOCH,
                headers: Vec::new(),
                payload: "{}".into(),
            };
            record(&FLOW, slot, &saga, &stored).expect("a record").event_type
        };
        assert_eq!(bare("asked"), "trip.asked.v1");
        for slot in ["hotel", "refused", "closed"] {
            assert_eq!(bare(slot), "", "{slot}");
        }
    }
}
