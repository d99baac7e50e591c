//! One worker of a trip, on a log in memory: what it makes of a message, without a server.

mod bank;
mod steps;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::to_raw_value;
use tokio::sync::{RwLock, watch};
use tokio::task::JoinSet;

use super::memory::Memory;
use crate::breaker::gate::Gate;
use crate::broker::{Delivered, Incarnation, Receipt, Stored};
use crate::clock::{Asked, Clock};
use crate::flow::{Durable, Flow, Role, opens, step};
use crate::log::envelope::{CLIENT, Cause, Envelope, Occasion, Outgoing};
use crate::log::lookup::{answer_all, lookup};
use crate::pipeline::{Delivery, Held, Limits, Turn, Worker};
use crate::process::shutdown::shutdown;
use crate::{KeyNamespace, SagaId, telemetry};

pub(crate) use bank::{bank, doubted};
pub(crate) use steps::*;

pub(crate) static FLOW: Flow = Flow {
    saga: "trip",
    stream: "TRIPS",
    subjects: "trips",
    opens: opens("asked", "trip.asked.v1"),
    turns: opens("refused", "trip.refused.v1"),
    steps: &[
        step("book-hotel")
            .on("asked")
            .writes("hotel", "hotel.booked.v1", "hotel.refused.v1")
            .undone_by("hotel-undo", &["hotel.freed.v1"])
            .within(Duration::from_hours(1)),
        step("charge-card")
            .on("hotel")
            .writes("card", "card.charged.v1", "card.refused.v1")
            .undone_by("card-undo", &["card.refunded.v1"])
            .requires(&["bank"]),
        step("buy-ticket")
            .on("card")
            .after_pivot("pivot", "trip.go.v1", "trip.stop.v1")
            .writes("ticket", "ticket.bought.v1", "ticket.refused.v1")
            .requires(&["railway"]),
        step("confirm-trip")
            .on("ticket")
            .closes("closed", "trip.confirmed.v1", "trip.cancelled.v1")
            .cancels(
                opens("cancel", "trip.cancel-asked.v1"),
                opens("cancel-refused", "trip.cancel-refused.v1"),
            )
            .within(Duration::from_hours(24)),
    ],
};

/// A worker, and the log that it reads.
pub(crate) struct Desk {
    pub(crate) log: Arc<Memory>,
    pub(crate) worker: Worker,
    pub(crate) saga: SagaId,
    pub(crate) lookups: JoinSet<()>,
}

impl Desk {
    pub(crate) fn of(worker: &str) -> Self {
        let log = Arc::new(Memory::new());
        let (lookup, questions) = lookup();
        let mut lookups = JoinSet::new();
        lookups.spawn(answer_all(log.clone(), FLOW.stream, questions));
        let (stopper, shutdown) = shutdown();
        let second = Duration::from_secs(1);
        let incarnation = Incarnation { stream: FLOW.stream.to_owned(), created: log.now() };
        let row = FLOW.row(worker).unwrap();
        let worker = Worker {
            broker: log.clone(),
            flow: &FLOW,
            lookup,
            row,
            clock: Clock::new(Asked::now(), log.now()),
            incarnations: vec![incarnation],
            keys: KeyNamespace::FIRST,
            ack_wait: watch::Sender::new(30 * second),
            limits: Limits {
                deadline: 10 * second,
                hold_max: 120 * second,
                read_after: 5 * second,
                cause_wait: 30 * second,
                cancel_wait: 30 * second,
            },
            runs: RwLock::default(),
            held: Held::default(),
            done: telemetry::done(row.worker),
            stopper,
            shutdown,
        };
        Self { log, worker, saga: SagaId::parse("T1").unwrap(), lookups }
    }

    /// Writes an event of `source`, caused by what is in the slot `on`.
    pub(crate) fn event(
        &self,
        slot: &'static str,
        (source, event_type): (&'static str, &'static str),
        on: &'static str,
    ) -> Stored {
        let cause = self.cause(on);
        let time = self.log.now();
        let occasion = Occasion { cause, traceparent: None, time, seal: None, work: None };
        self.write(slot, (source, event_type), &occasion)
    }

    pub(crate) fn write(
        &self,
        slot: &'static str,
        (source, event_type): (&'static str, &'static str),
        occasion: &Occasion,
    ) -> Stored {
        let data = to_raw_value(&Said { reason: "no" }).unwrap();
        let slot = FLOW.slot(slot, &self.saga);
        let event = Outgoing::new(&FLOW, slot, source, (event_type, &data), occasion);
        self.log.store(FLOW.stream, event.slot.subject(), event.payload)
    }

    /// What a slot holds, as the cause of what comes of it.
    pub(crate) fn cause(&self, slot: &str) -> Option<Cause> {
        let stored = self.holds(slot)?;
        let id = self.read(slot, &stored).id;
        Some(Cause { id, sequence: stored.sequence })
    }

    pub(crate) fn read<'m>(&self, slot: &str, stored: &'m Stored) -> Envelope<'m> {
        Envelope::read(&FLOW, slot, &self.saga, FLOW.opens.event, stored).unwrap()
    }

    pub(crate) fn holds(&self, slot: &str) -> Option<Stored> {
        self.log.newest(FLOW.stream, &format!("trips.{slot}.{}", self.saga))
    }

    /// The type of what a slot holds.
    pub(crate) fn says(&self, slot: &str) -> Option<String> {
        let stored = self.holds(slot)?;
        Some(self.read(slot, &stored).event_type.into_owned())
    }

    pub(crate) fn opened(&self) -> Stored {
        self.event("asked", (CLIENT, FLOW.opens.event), "asked")
    }

    /// A step did it.
    pub(crate) fn done(&self, worker: &str) -> Stored {
        let row = FLOW.row(worker).unwrap();
        self.event(row.slot, (row.worker, row.done), row.on)
    }

    pub(crate) fn refused(&self, worker: &str) -> Stored {
        let row = FLOW.row(worker).unwrap();
        self.event(row.slot, (row.worker, row.refused.unwrap()), row.on)
    }

    pub(crate) fn undone(&self, worker: &str) -> Stored {
        let row = FLOW.row(worker).unwrap();
        let undo = row.undo.unwrap();
        self.event(undo.slot, (row.worker, undo.events[0]), FLOW.turns.slot)
    }

    /// That the saga turns around.
    pub(crate) fn signal(&self) -> Stored {
        self.event(FLOW.turns.slot, ("confirm-trip", FLOW.turns.event), "asked")
    }

    /// A bare message of any client.
    pub(crate) fn bare(&self, slot: &str, payload: impl Into<Bytes>) -> Stored {
        self.log.store(FLOW.stream, &format!("trips.{slot}.{}", self.saga), payload.into())
    }

    /// The durable of this worker that has a role.
    pub(crate) fn durable(&self, role: Role) -> Durable {
        let mut durables = FLOW.durables(Some(self.worker.name())).into_iter();
        durables.find(|durable| durable.role == role).unwrap()
    }

    pub(crate) fn delivery(&self, message: Stored, deliveries: u64) -> Delivery {
        let turn = Turn::of(&Gate::new(0, false, Vec::new()), message.sequence);
        let (receipt, unreadable) = (Receipt::none(), None);
        Delivery {
            delivered: Delivered { message, deliveries, pending: 0, receipt, unreadable },
            saga: self.saga.clone(),
            durable: self.worker.name().to_owned(),
            released: None,
            turn,
        }
    }
}

#[derive(Serialize)]
struct Said {
    reason: &'static str,
}
