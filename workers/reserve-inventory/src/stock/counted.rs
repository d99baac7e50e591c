//! What changes the stock beside orders: deliveries, counts, and what leaves the shelf.

use quadrille::SagaId;
use schemas::Sku;
use schemas::stock::{STREAM, receipt_subject};

use super::Trouble;
use super::books::{Counts, Pieces, Want};
use super::log::{Answer, StockLog};

/// Completed orders that are shipped together. Orders that want to hold something wait for no more
/// than these.
const SHIPPED_AT_ONCE: usize = 64;

impl StockLog {
    /// Sets the pieces stocked of 1 to 1,000 SKUs, including held ones: all or none. `opening` only
    /// creates SKUs that do not exist.
    ///
    /// # Errors
    /// [`No::BelowHeld`](super::No::BelowHeld) if orders hold more; [`Trouble`] if
    /// that could not be found out.
    pub async fn set(&self, stocked: Pieces, opening: bool) -> Answer {
        self.ask(Want::Set { stocked, opening }).await
    }

    /// Sets what lay there, held pieces included, at a state of 1 to 1,000 SKUs: all or none.
    ///
    /// # Errors
    /// [`No::Edited`](super::No::Edited) if more than completed orders changed it since;
    /// [`No::BelowHeld`](super::No::BelowHeld) if orders hold, or held, more;
    /// [`No::UnknownSku`](super::No::UnknownSku); [`Trouble`] if that could not be
    /// found out.
    pub async fn count(&self, counted: Counts) -> Answer {
        self.ask(Want::Count { counted }).await
    }

    /// Adds the pieces of a delivery of 1 to 1,000 SKUs; a `receipt` is added once, however often
    /// it is repeated.
    ///
    /// # Errors
    /// [`No::TooMany`](super::No::TooMany) beyond 64 bits;
    /// [`No::OtherReceipt`](super::No::OtherReceipt) if the receipt is of other pieces;
    /// [`Trouble`] if that could not be found out.
    pub async fn receive(&self, pieces: Pieces, receipt: String) -> Answer {
        self.ask(Want::Receive { pieces, receipt }).await
    }

    /// Whether a delivery under this receipt was added before.
    ///
    /// # Errors
    /// [`Trouble`] if that could not be found out.
    pub async fn has_receipt(&self, receipt: &str) -> Result<bool, Trouble> {
        Ok(self.broker.last(STREAM, &receipt_subject(receipt)).await?.is_some())
    }

    /// Sells no more of these SKUs: only what orders hold stays, until they end.
    ///
    /// # Errors
    /// [`No::UnknownSku`](super::No::UnknownSku); [`Trouble`] if that could not be
    /// found out.
    pub async fn delist(&self, skus: Vec<Sku>) -> Answer {
        self.ask(Want::Delist { skus }).await
    }

    /// Takes what these completed orders hold off the shelf, each once, however often it is called.
    /// Pieces that no level holds are logged and harm nothing else.
    ///
    /// # Errors
    /// [`Trouble`] if it could not be done, or not found out.
    pub async fn ship(&self, orders: Vec<SagaId>) -> Result<(), Trouble> {
        for orders in orders.chunks(SHIPPED_AT_ONCE) {
            let ships = orders.iter().map(|order| self.ask(Want::Ship { order: order.clone() }));
            for answer in futures::future::join_all(ships).await {
                answer?.expect("what is completed is never refused");
            }
        }
        Ok(())
    }
}
