//! The carrier, in the words of the step; the adapter and the scripted fake are beside it.

mod http;
mod scripted;

use std::future::Future;

use quadrille::step::StepError;
use quadrille::{IdempotencyKey, Reference, SagaId};
use schemas::order_fulfilment::events::Destination;
use tokio::time::Instant;

use crate::quotes::Rate;

pub use http::HttpCarrier;
pub use scripted::ScriptedCarrier;

/// What is to be shipped.
#[derive(Debug, Clone, Copy)]
pub struct Parcel<'a> {
    pub order: &'a SagaId,
    pub ship_to: &'a Destination,
    pub pieces: u64,
}

/// What the carrier answers for a parcel, the same for ever under one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Label {
        /// The carrier's short name.
        carrier: String,
        label: Reference,
        /// As the carrier writes it, if it gives one.
        tracking: Option<String>,
        /// It was bought without a quote.
        at_flat_rate: bool,
    },
    /// Refused with the carrier's code: `destination_refused`.
    Refused(String),
}

/// Ships parcels.
pub trait Carrier: Send + Sync + 'static {
    /// Buys a label, or finds the one that this key bought, at whatever rate: a repeated request
    /// may come with another one, and the first counts.
    ///
    /// Fails with [`StepError::TryAgain`] when the outcome is not known or the carrier asks for
    /// time, and with [`StepError::BadMessage`] when the carrier can never accept the request.
    fn label(
        &self,
        parcel: &Parcel<'_>,
        rate: &Rate,
        key: IdempotencyKey,
        deadline: Instant,
    ) -> impl Future<Output = Result<Answer, StepError>> + Send;

    /// What was decided under this key; `None` if nothing was, and nothing is being decided.
    ///
    /// Fails as [`Carrier::label`] does.
    fn decided(
        &self,
        parcel: &Parcel<'_>,
        key: IdempotencyKey,
        deadline: Instant,
    ) -> impl Future<Output = Result<Option<Answer>, StepError>> + Send;
}
