//! Hands the parcel over to the carrier, at the cheapest rate that it can find out.
//!
//! It comes after the pivot: once a label is bought the parcel goes, and nobody can take that back.
//! So there is no undo, and only one thing keeps a repeated request from becoming a second parcel:
//! the carrier's own promise to answer one idempotency key one way for ever.
//!
//! Two attempts may find out two rates. The first that reaches the carrier decides, and what is
//! recorded is what the label says, never what this attempt asked for.

pub mod carrier;
pub mod quotes;

use std::convert::Infallible;
use std::future::ready;
use std::time::Duration;

use quadrille::breaker::call::{self, Breaker, Read};
use quadrille::http::Secret;
use quadrille::step::{Outcome, Settle, Step, StepContext, StepError};
use schemas::order_fulfilment::events::{PaymentCharged, ShipmentDispatched, ShipmentRefused};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use carrier::{Answer, Carrier, Parcel};
use quotes::{Quotes, Rate};

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The URL below which the carrier's paths begin; `/labels` is added. Without it, or without
    /// `quote_url`, the worker does not start.
    pub url: String,
    /// Sent as a bearer token, if there is one.
    pub secret: Option<Secret>,
    /// Longest wait for one answer of the carrier.
    #[serde(with = "quadrille::config::duration")]
    pub timeout: Duration,
    /// How long after a request the carrier may still sell the label: only then does an order that
    /// was given up count as unsent.
    #[serde(with = "quadrille::config::duration")]
    pub lands_within: Duration,
    /// The URL below which the quote service's paths begin; `/rates` is added.
    pub quote_url: String,
    /// Sent to the quote service as a bearer token, if there is one.
    pub quote_secret: Option<Secret>,
    /// Longest wait for one quote: short, because every order waits for it and none needs it.
    #[serde(with = "quadrille::config::duration")]
    pub quote_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            url: String::new(),
            secret: None,
            timeout: Duration::from_secs(2),
            lands_within: Duration::from_secs(60),
            quote_url: String::new(),
            quote_secret: None,
            quote_timeout: Duration::from_millis(100),
        }
    }
}

/// The step and what it depends on.
#[derive(Debug)]
pub struct ShipOrder<Carrier, Quotes> {
    carrier: Carrier,
    quotes: Quotes,
    breaker: Breaker,
    lands_within: Duration,
}

impl<C: Carrier, Q: Quotes> ShipOrder<C, Q> {
    /// `breaker` is that of the quote service alone.
    pub fn new(carrier: C, quotes: Q, breaker: Breaker) -> Self {
        Self { carrier, quotes, breaker, lands_within: Settings::default().lands_within }
    }

    /// With another [`Settings::lands_within`].
    #[must_use]
    pub fn landing_within(self, lands_within: Duration) -> Self {
        Self { lands_within, ..self }
    }

    /// The cheapest rate, or the flat one where no quote is to be had. The quote service's no is no
    /// reason to stop either: it compares prices, and only the carrier says what it will not take.
    async fn rate(&self, parcel: &Parcel<'_>, deadline: Instant) -> Rate {
        let quote =
            || Read(async { self.quotes.cheapest(parcel, deadline).await.map(Rate::Quoted) });
        let flat = || ready(Ok::<_, Infallible>(Rate::Flat));
        match self.breaker.call(quote).or_else_even_if_refused(flat).await {
            Ok(call::Answer::Fresh(rate) | call::Answer::Fallback(rate, _)) => rate,
            // The call was ours to make and was not made, or all the fallback's slots are taken.
            Err(_) => Rate::Flat,
        }
    }
}

impl<C: Carrier, Q: Quotes> Step for ShipOrder<C, Q> {
    type On = PaymentCharged;
    type Done = ShipmentDispatched;
    type Refused = ShipmentRefused;

    async fn run(
        &self,
        charged: &PaymentCharged,
        context: &StepContext,
    ) -> Result<Outcome<ShipmentDispatched, ShipmentRefused>, StepError> {
        let parcel = parcel(charged, context);
        let deadline = context.deadline();
        let rate = self.rate(&parcel, deadline).await;
        let answer = self.carrier.label(&parcel, &rate, context.key(LABEL), deadline).await?;
        Ok(outcome(answer))
    }
}

/// The name of the request under whose key the carrier keeps its answer.
const LABEL: &str = "label";

/// Why an order is not shipped that an operator gave up.
const DISCARDED: &str = "discarded";

fn parcel<'a>(charged: &'a PaymentCharged, context: &'a StepContext) -> Parcel<'a> {
    Parcel { order: context.saga_id(), ship_to: &charged.ship_to, pieces: charged.pieces }
}

fn outcome(answer: Answer) -> Outcome<ShipmentDispatched, ShipmentRefused> {
    match answer {
        Answer::Label { carrier, label, tracking, at_flat_rate: degraded } => {
            Outcome::Done(ShipmentDispatched { carrier, label, tracking, degraded })
        }
        Answer::Refused(reason) => Outcome::Refused(ShipmentRefused { reason }),
    }
}

impl<C: Carrier, Q: Quotes> Settle for ShipOrder<C, Q> {
    fn lands_within(&self) -> Duration {
        self.lands_within
    }

    async fn settle(
        &self,
        charged: &PaymentCharged,
        context: &StepContext,
    ) -> Result<Outcome<ShipmentDispatched, ShipmentRefused>, StepError> {
        let parcel = parcel(charged, context);
        let found = self.carrier.decided(&parcel, context.key(LABEL), context.deadline()).await?;
        Ok(outcome(found.unwrap_or_else(|| Answer::Refused(DISCARDED.to_owned()))))
    }
}
