//! The quote service, in the words of the step; the adapter and the scripted fake are beside it.
//!
//! Without it a parcel goes at the flat rate: an order never waits for a better price.

mod http;
mod scripted;

use std::future::Future;

use quadrille::Money;
use quadrille::step::StepError;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::carrier::Parcel;

pub use http::HttpQuotes;
pub use scripted::ScriptedQuotes;

/// At which rate a parcel goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rate {
    Quoted(Quote),
    /// There is no quote: the same for every parcel.
    Flat,
}

/// Longest name of a carrier, in bytes.
const MAX_CARRIER: usize = 32;

/// The cheapest carrier for a parcel, and what it takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// Its short name: 1 to 32 printable characters of ASCII.
    pub carrier: String,
    pub price: Money,
}

/// Compares carriers.
pub trait Quotes: Send + Sync + 'static {
    /// The cheapest carrier for a parcel. It changes nothing; the next answer may be another one.
    ///
    /// Fails with [`StepError::TryAgain`] when there is no answer, and with
    /// [`StepError::BadMessage`] when the service will not quote this parcel.
    fn cheapest(
        &self,
        parcel: &Parcel<'_>,
        deadline: Instant,
    ) -> impl Future<Output = Result<Quote, StepError>> + Send;
}
