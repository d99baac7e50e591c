//! Two steps of the trip, which do as a test says and say what they were asked.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::step::{Evidence, Outcome, Settle, Step, StepContext, StepError, Undo};

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
    /// The bank never takes a charge back.
    pub(crate) keeps_all: bool,
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
        if self.keeps_all {
            return Err(StepError::try_again("away"));
        }
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
