//! A quote service in memory that does what a test tells it to.

use quadrille::step::StepError;
use quadrille::testing::Faults;
use quadrille::{Currency, Money};
use tokio::time::Instant;

use super::{Quote, Quotes};
use crate::carrier::Parcel;

/// Clones are the same service.
#[derive(Debug, Clone, Default)]
pub struct ScriptedQuotes {
    faults: Faults,
    refuses: bool,
}

impl ScriptedQuotes {
    /// A service that is reached through `faults`, and quotes every parcel.
    pub fn new(faults: Faults) -> Self {
        Self { faults, refuses: false }
    }

    /// From now on it says that every request is wrong.
    #[must_use]
    pub fn refusing(self) -> Self {
        Self { refuses: true, ..self }
    }

    /// What it answers.
    pub fn quote() -> Quote {
        let currency = Currency::parse("EUR").expect("a currency");
        Quote { carrier: "scripted-parcel".into(), price: Money::new(590, currency) }
    }
}

impl Quotes for ScriptedQuotes {
    async fn cheapest(&self, _: &Parcel<'_>, _: Instant) -> Result<Quote, StepError> {
        let quote = self.faults.call(Self::quote).await?;
        if self.refuses { Err(StepError::BadMessage("no quote for it".into())) } else { Ok(quote) }
    }
}
