//! The contract of Quadrille's sagas: events, ids, money and the flow table.
//!
//! Plain types: no async runtime, no broker, no input or output, so that any tool may read the log
//! with this crate alone. Read [`order_fulfilment`] first: it is the whole saga on one screen.

pub mod event;
pub mod flow;
pub mod ids;
pub mod money;
pub mod order_fulfilment;

pub use event::{BadData, Event, Reason, Refusal};
pub use flow::{Flow, Slot};
pub use ids::{IdempotencyKey, SagaId, Sku};
pub use money::{Currency, Money};

/// Every flow this build knows. A new saga is one new file and one line here.
pub static FLOWS: &[&Flow] = &[&order_fulfilment::FLOW];
