//! The stock, in the words of the step; the adapter and the scripted fake are beside it.

mod books;
mod counted;
mod draft;
mod level;
mod log;
mod reads;
mod scripted;
mod shown;

use std::future::Future;
use std::sync::Arc;

use quadrille::SagaId;
use quadrille::broker::Unavailable;
use quadrille::step::StepError;
use schemas::Sku;
use schemas::order_fulfilment::FLOW;
use schemas::stock::STREAM;

pub use books::{Counts, Hold, No, Piece, Pieces};
pub use level::Level;
pub use log::StockLog;
pub use scripted::ScriptedStock;
pub(crate) use shown::start_series;

/// Whether an order's stock is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    Yes,
    /// Fewer pieces are free than the order wants.
    TooLittle(Sku),
    UnknownSku(Sku),
    /// It was released, so it can never be held again.
    Released,
}

/// Keeps pieces for orders. Every call may be repeated.
///
/// Fails with [`StepError::TryAgain`] when the outcome could not be found out.
pub trait Stock: Send + Sync + 'static {
    /// Holds all of these pieces for an order, or none; if the order has a hold already, that one
    /// counts.
    fn hold(
        &self,
        order: &SagaId,
        pieces: Pieces,
    ) -> impl Future<Output = Result<Held, StepError>> + Send;

    /// Frees what an order holds, now and for ever: it can never have a hold again, whether or not
    /// there was one.
    fn release(&self, order: &SagaId) -> impl Future<Output = Result<(), StepError>> + Send;
}

impl<S: Stock> Stock for Arc<S> {
    async fn hold(&self, order: &SagaId, pieces: Pieces) -> Result<Held, StepError> {
        (**self).hold(order, pieces).await
    }

    async fn release(&self, order: &SagaId) -> Result<(), StepError> {
        (**self).release(order).await
    }
}

/// The stock cannot be read or changed now.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Trouble {
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    #[error(
        "each batch meets another change of the same stock, by another replica, or because the \
         broker stores nothing: is its disk full?"
    )]
    Contended,
    #[error("the broker gave no answer to a batch: {0}")]
    NoAnswer(String),
    #[error("the stream of the stock is full")]
    Full,
    #[error("the broker refused a batch ({code}): {description}")]
    Rejected { code: u64, description: String },
    #[error(
        "completed orders are still being taken off the shelf: up to message {read} of {of} of \
         the log; ask again"
    )]
    Behind { read: u64, of: u64 },
    #[error("the log of the orders is another one now")]
    OtherOrders,
    #[error(
        "the stream {stream} has no namespace of idempotency keys any more, so nobody can tell \
         which log it is. Set it again: `quadrille topology apply --keys {0} --write`",
        stream = FLOW.stream
    )]
    NoKeys(String),
    #[error("a hold is too large for the stream of the stock")]
    TooLarge,
    #[error("{0} had a level, and has none now: is it another stream {STREAM}?")]
    Gone(Sku),
}
