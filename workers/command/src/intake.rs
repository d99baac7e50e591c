//! What happens to a command, whichever way it came: into its slot, and an answer.
//!
//! Nothing accepted is lost, because an answer that says so is given only for what the slot holds;
//! and an answer that says "not stored" only where the broker, or nobody asked, says so.

use std::sync::Arc;
use std::time::Duration;

use quadrille::SagaId;
use quadrille::broker::{Broker, Published};
use quadrille::event::runtime::CancelRequested;
use quadrille::log::cancel;
use quadrille::log::open::{self, Error, Opened, When};
use quadrille::log::spent::spent;
use quadrille::log::story::{self, Phase};
use quadrille::log::token::Token;
use quadrille::service::problem::Problem;
use schemas::order_fulfilment::FLOW;
use serde::Serialize;
use tokio::sync::watch::Receiver;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep};

use crate::Settings;
use crate::log::Log;
use crate::order::{self, Order};
use crate::{NAME, problems};

/// Between two looks for an order that is to be cancelled and is not there.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Takes commands, so many at once.
pub struct Intake {
    broker: Arc<dyn Broker>,
    /// While the connection is down, what is sent is kept, and may be stored later.
    connected: Box<dyn Fn() -> bool + Send + Sync>,
    log: Receiver<Log>,
    places: Semaphore,
    patience: Duration,
}

/// An order that is in the log: the same answer each time it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Placed {
    pub id: String,
    /// Of the order's first event in the log.
    pub sequence: u64,
    /// For reads: a reader that is given it shows this order, or says that it cannot yet.
    pub token: String,
    /// Whether this call stored it.
    #[serde(skip)]
    pub now: bool,
}

/// A wish to cancel an order that is in the log; whether it is granted is in the order's story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Asked {
    pub id: String,
    /// Of the wish, in the log.
    pub sequence: u64,
    /// For reads, as [`Placed::token`].
    pub token: String,
}

/// One command's place; it ends with the command.
pub(crate) struct Place<'i>(#[expect(dead_code, reason = "it is held")] SemaphorePermit<'i>);

impl Intake {
    /// Over this broker, whose log is as `log` says.
    pub fn new(
        broker: Arc<dyn Broker>,
        connected: Box<dyn Fn() -> bool + Send + Sync>,
        log: Receiver<Log>,
        settings: &Settings,
    ) -> Self {
        let places = Semaphore::new(settings.concurrency);
        Self { broker, connected, log, places, patience: settings.patience }
    }

    /// A place for one command, before its body is read.
    ///
    /// # Errors
    /// 503 when all places are taken.
    pub(crate) fn place_for_one(&self) -> Result<Place<'_>, Problem> {
        self.places.try_acquire().map(Place).map_err(|_| problems::busy())
    }

    /// Places an order.
    ///
    /// # Errors
    /// 400, 413 and 422 for what is no order, 409 for an id that has another one or is spent, 503
    /// where nothing was stored and a later try may succeed, 504 where it is not known.
    pub async fn place(&self, asked: &order::Asked<'_>) -> Result<Placed, Problem> {
        let order = Order::read(asked)?;
        if !(self.connected)() {
            return Err(problems::away());
        }
        if self.log.borrow().is_full {
            return Err(problems::full());
        }
        let opening = &order.opening;
        let saga = opening.slot.saga();
        if order.is_named
            && let Some([Some(spent)]) = spent(&*self.broker, &FLOW, &[saga]).await.as_deref()
        {
            return Err(problems::spent(saga, spent, order.by_key));
        }
        let same = |stored: &_| order.is_what_is_stored(stored);
        let opened = open::open(&*self.broker, &FLOW, opening, same, self.patience).await;
        let Opened { sequence, when } = opened.map_err(|error| match error {
            Error::Taken { sequence } => problems::taken(saga, sequence, order.by_key),
            Error::Full => problems::full(),
            Error::NoAnswer(why) => problems::unknown(saga, &why),
            Error::TooLarge => problems::too_large("the event is over 64 KB; nothing was stored"),
            Error::Rejected { code, description } => problems::refused(code, &description),
        })?;
        let now = match when {
            When::Now => true,
            When::Before | When::Unknown => false,
        };
        Ok(Placed { id: saga.to_string(), sequence, token: self.token(sequence), now })
    }

    /// Asks that an order be cancelled, once more if that was asked in vain. A full log takes it,
    /// as long as the broker does, because it makes an order end.
    ///
    /// # Errors
    /// 409 for an order that is known to be past its pivot, or that no wish can end, 404 for one
    /// that is not in the log, 503 where nothing was stored and a later try may succeed, 504 where
    /// it is not known.
    pub async fn cancel(
        &self,
        saga: &SagaId,
        asked: &CancelRequested,
        traceparent: Option<&str>,
    ) -> Result<Asked, Problem> {
        if !(self.connected)() {
            return Err(problems::away());
        }
        // Only what is found counts. Without an answer the wish finds out by itself.
        let events = self.broker.last_of_many(FLOW.stream, vec![FLOW.story(saga)]).await;
        let is_known = events.is_ok();
        let story = story::tell(&FLOW, saga, &events.unwrap_or_default(), &[]);
        if story.is_past_its_pivot(&FLOW) {
            return Err(problems::too_late(saga, story.state.phase == Phase::Completed));
        }
        if let Some(occupied) = story.barred(&FLOW) {
            return Err(problems::occupied(saga, &occupied));
        }
        if story.state.phase == Phase::Unknown {
            // What room there is left is for orders to end in.
            if self.log.borrow().is_full {
                return Err(problems::full());
            }
            // A wish for what is no order would be looked after for half a minute.
            if is_known && self.is_no_order(saga).await {
                return Err(problems::not_placed(saga, story.occupied(&FLOW).as_ref()));
            }
        }
        let cancels = FLOW.cancels().expect("the order flow has a cancellation");
        let wish = cancel::wish(&FLOW, saga, NAME, asked, traceparent);
        let wish = wish.expect("the order flow has a cancellation");
        let opened = open::open(&*self.broker, &FLOW, &wish, |_| true, self.patience).await;
        let Opened { sequence, when } = opened.map_err(|error| match error {
            Error::Taken { .. } | Error::NoAnswer(_) => problems::cancel_unknown(saga),
            Error::Full => problems::full(),
            Error::TooLarge => problems::too_large("the event is over 64 KB; nothing was stored"),
            Error::Rejected { code, description } => problems::refused(code, &description),
        })?;
        if when == When::Before && !is_known {
            return Err(problems::cancel_unknown(saga));
        }
        // A wish without an answer is on its way; so repeating it fills no stream.
        let in_vain = story.events.iter().any(|line| line.slot == cancels.refused.slot);
        if when == When::Before && in_vain && story.state.turned_by.is_none() {
            match cancel::ask_again(&*self.broker, &FLOW, saga).await {
                Published::Stored { .. } => {}
                Published::Conflict | Published::Unknown(_) => {
                    return Err(problems::cancel_unknown(saga));
                }
                Published::TooLarge | Published::Rejected { .. } => {
                    return Err(problems::refused(0, "a wish was not released"));
                }
            }
        }
        Ok(Asked { id: saga.to_string(), sequence, token: self.token(sequence) })
    }

    /// Whether the leader has no such order, for as long as one may be on its way that was placed
    /// just before.
    async fn is_no_order(&self, saga: &SagaId) -> bool {
        let opening = FLOW.slot(FLOW.opens.slot, saga);
        let until = Instant::now() + self.patience;
        while let Ok(None) = self.broker.last(FLOW.stream, opening.subject()).await {
            if Instant::now() >= until {
                return true;
            }
            sleep(LOOK_AGAIN).await;
        }
        false
    }

    fn token(&self, sequence: u64) -> String {
        Token { created: self.log.borrow().created, sequence }.to_string()
    }
}
