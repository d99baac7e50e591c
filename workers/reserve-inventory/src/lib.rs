//! Holds the stock of an order, and lets it go again.
//!
//! The fence is the hold itself: an undo writes a released hold, whether or not there was one, and
//! no later hold can pass it.

pub mod shelf;
pub mod stock;
pub mod stock_service;

use quadrille::step::{Evidence, Outcome, Step, StepContext, StepError, Undo};
use schemas::Sku;
use schemas::order_fulfilment::events::{
    InventoryRefused, InventoryReleased, InventoryReserved, OrderPlaced,
};
use serde::{Deserialize, Serialize};

use stock::{Held, Pieces, Stock};

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Opening stock for SKUs that have none yet, for demonstrations:
    /// `ROSE-RED=1000,VASE-GLASS=500`.
    pub opening_stock: String,
}

/// The step and what it depends on.
#[derive(Debug)]
pub struct ReserveInventory<S> {
    stock: S,
}

impl<S: Stock> Step for ReserveInventory<S> {
    type On = OrderPlaced;
    type Done = InventoryReserved;
    type Refused = InventoryRefused;

    async fn run(
        &self,
        placed: &OrderPlaced,
        context: &StepContext,
    ) -> Result<Outcome<InventoryReserved, InventoryRefused>, StepError> {
        let mut wanted = Pieces::new();
        for line in &placed.lines {
            *wanted.entry(line.sku.clone()).or_default() += u64::from(line.quantity);
        }
        match self.stock.hold(context.saga_id(), wanted).await? {
            Held::Yes => Ok(Outcome::Done(InventoryReserved {
                customer: placed.customer.clone(),
                payment_method: placed.payment_method.clone(),
                ship_to: placed.ship_to.clone(),
                pieces: placed.pieces(),
                total: placed.total()?,
            })),
            Held::TooLittle(sku) => Ok(refused("out-of-stock", sku)),
            Held::UnknownSku(sku) => Ok(refused("unknown-sku", sku)),
            Held::Released => Err(StepError::Superseded),
        }
    }
}

impl<S: Stock> Undo for ReserveInventory<S> {
    type Undone = InventoryReleased;

    async fn undo(
        &self,
        _: &OrderPlaced,
        evidence: Evidence<&InventoryReserved>,
        context: &StepContext,
    ) -> Result<InventoryReleased, StepError> {
        match evidence {
            // The hold knows its own lines, and releasing it twice is releasing it once.
            Evidence::Recorded(_) => self.stock.release(context.saga_id()).await?,
            // If there is no hold, a released one keeps a late run from making it.
            Evidence::Unknown => self.stock.release(context.saga_id()).await?,
        }
        Ok(InventoryReleased {})
    }

    fn never_ran() -> InventoryReleased {
        InventoryReleased {}
    }
}

impl<S: Stock> ReserveInventory<S> {
    pub fn new(stock: S) -> Self {
        Self { stock }
    }
}

fn refused(reason: &str, sku: Sku) -> Outcome<InventoryReserved, InventoryRefused> {
    Outcome::Refused(InventoryRefused { reason: reason.to_owned(), sku: Some(sku) })
}
