//! One worker of a trip, on a log in memory: what it makes of a message, without a server.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
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
use crate::step::{Evidence, Outcome, Settle, Step, StepContext, StepError, Undo};
use crate::{KeyNamespace, SagaId, telemetry};

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

macro_rules! events {
    ($($name:ident = $type:literal),+) => {$(
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        pub(crate) struct $name {
            pub(crate) reason: String,
        }
        crate::event!($name = $type);
    )+};
}

events!(
    Opened = "trip.asked.v1",
    Booked = "hotel.booked.v1",
    Charged = "card.charged.v1",
    ChargeRefused = "card.refused.v1",
    Refunded = "card.refunded.v1",
    Bought = "ticket.bought.v1",
    TicketRefused = "ticket.refused.v1"
);
crate::refusal!(ChargeRefused, TicketRefused);

/// What a step was asked, and what happens while it is at work.
#[derive(Default)]
pub(crate) struct Calls {
    pub(crate) made: Mutex<Vec<&'static str>>,
    pub(crate) meanwhile: Option<Box<dyn Fn() + Send + Sync>>,
}

impl Calls {
    fn make(&self, what: &'static str) {
        self.made.lock().unwrap().push(what);
        self.meanwhile.iter().for_each(|happens| happens());
    }

    pub(crate) fn made(&self) -> Vec<&'static str> {
        self.made.lock().unwrap().clone()
    }
}

/// What a step says; the last answer again and again.
type Answers<T> = Mutex<VecDeque<Result<T, StepError>>>;

/// Charges the card, unless its test says otherwise.
#[derive(Default)]
pub(crate) struct Charge {
    pub(crate) calls: Calls,
    pub(crate) answers: Answers<Outcome<Charged, ChargeRefused>>,
}

/// Buys the ticket; asked what it did, it says that it did nothing.
#[derive(Default)]
pub(crate) struct Ticket {
    pub(crate) calls: Calls,
}

pub(crate) const LANDS_WITHIN: Duration = Duration::from_secs(60);

impl Step for Charge {
    type On = Booked;
    type Done = Charged;
    type Refused = ChargeRefused;

    async fn run(
        &self,
        _: &Booked,
        _: &StepContext,
    ) -> Result<Outcome<Charged, ChargeRefused>, StepError> {
        self.calls.make("run");
        let done = Outcome::Done(Charged { reason: "no".to_owned() });
        self.answers.lock().unwrap().pop_front().unwrap_or(Ok(done))
    }
}

impl Undo for Charge {
    type Undone = Refunded;

    async fn undo(
        &self,
        _: &Booked,
        evidence: Evidence<&Charged>,
        _: &StepContext,
    ) -> Result<Refunded, StepError> {
        let knows = match evidence {
            Evidence::Recorded(_) => "undo what is recorded",
            Evidence::Unknown => "undo what may be",
        };
        self.calls.make(knows);
        Ok(Refunded { reason: knows.to_owned() })
    }

    fn never_ran() -> Refunded {
        Refunded { reason: "never ran".to_owned() }
    }
}

impl Step for Ticket {
    type On = Charged;
    type Done = Bought;
    type Refused = TicketRefused;

    async fn run(
        &self,
        _: &Charged,
        _: &StepContext,
    ) -> Result<Outcome<Bought, TicketRefused>, StepError> {
        self.calls.make("run");
        Ok(Outcome::Done(Bought { reason: String::new() }))
    }
}

impl Settle for Ticket {
    fn lands_within(&self) -> Duration {
        LANDS_WITHIN
    }

    async fn settle(
        &self,
        _: &Charged,
        _: &StepContext,
    ) -> Result<Outcome<Bought, TicketRefused>, StepError> {
        self.calls.make("settle");
        Ok(Outcome::Refused(TicketRefused { reason: "nothing".to_owned() }))
    }
}
