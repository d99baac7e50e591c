//! The bank, in the words of the step, and a fake one.

use std::future::Future;

use quadrille::step::StepError;
use quadrille::{IdempotencyKey, Money, Reference};

use crate::world::Book;

/// What came of a charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Charge {
    Charged,
    /// With the bank's code.
    Declined(String),
    /// This key was released, perhaps before it was ever used.
    Released,
}

/// Charges cards, with the two promises of [`Hotel`](crate::hotel::Hotel): one key charges once,
/// and a released key never charges again.
pub trait Bank: Send + Sync + 'static {
    /// Charges the card, or finds what this key charged.
    fn charge(
        &self,
        card: &Reference,
        price: Money,
        key: IdempotencyKey,
    ) -> impl Future<Output = Result<Charge, StepError>> + Send;

    /// Gives back what was or will be charged under this key; also a success if that is nothing.
    fn release(
        &self,
        charged: IdempotencyKey,
    ) -> impl Future<Output = Result<(), StepError>> + Send;
}

/// Declines any charge over a thousand (100,000 minor units).
#[derive(Debug, Clone)]
pub struct FakeBank(pub Book);

impl Bank for FakeBank {
    async fn charge(
        &self,
        _: &Reference,
        price: Money,
        key: IdempotencyKey,
    ) -> Result<Charge, StepError> {
        if price.amount > 100_000 {
            return Ok(Charge::Declined("over-limit".into()));
        }
        Ok(if self.0.enter(key).await? { Charge::Charged } else { Charge::Released })
    }

    async fn release(&self, charged: IdempotencyKey) -> Result<(), StepError> {
        self.0.strike(charged).await
    }
}
