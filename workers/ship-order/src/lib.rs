//! Hands the parcel over to the carrier.
//!
//! It comes after the pivot: once a label is bought the parcel goes, and nobody can take that back.
//! So there is no undo, and only one thing keeps a repeated request from becoming a second parcel:
//! the carrier's own promise to answer one idempotency key one way for ever.

pub mod carrier;

use std::time::Duration;

use quadrille::http::Secret;
use quadrille::step::{Outcome, Step, StepContext, StepError};
use schemas::order_fulfilment::events::{PaymentCharged, ShipmentDispatched, ShipmentRefused};
use serde::Deserialize;

use carrier::{Answer, Carrier, Parcel};

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The URL below which the carrier's paths begin; `/labels` is added.
    pub url: String,
    /// Sent as a bearer token, if there is one.
    pub secret: Option<Secret>,
    /// Longest wait for one answer of the carrier.
    #[serde(with = "quadrille::config::duration")]
    pub timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:8080/carrier".into(),
            secret: None,
            timeout: Duration::from_secs(2),
        }
    }
}

/// The step and what it depends on.
#[derive(Debug)]
pub struct ShipOrder<Carrier> {
    carrier: Carrier,
}

impl<C: Carrier> ShipOrder<C> {
    pub fn new(carrier: C) -> Self {
        Self { carrier }
    }
}

impl<C: Carrier> Step for ShipOrder<C> {
    type On = PaymentCharged;
    type Done = ShipmentDispatched;
    type Refused = ShipmentRefused;

    async fn run(
        &self,
        charged: &PaymentCharged,
        context: &StepContext,
    ) -> Result<Outcome<ShipmentDispatched, ShipmentRefused>, StepError> {
        let parcel =
            Parcel { order: context.saga_id(), ship_to: &charged.ship_to, pieces: charged.pieces };
        match self.carrier.label(&parcel, context.key("label"), context.deadline()).await? {
            Answer::Label { carrier, label, tracking } => {
                Ok(Outcome::Done(ShipmentDispatched { carrier, label, tracking }))
            }
            Answer::Refused(reason) => Ok(Outcome::Refused(ShipmentRefused { reason })),
        }
    }
}
