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
