//! The words that describe a saga: the flow table, events, ids, money, and the contract made of
//! them.
//!
//! Plain types: no async runtime, no broker, no input or output, so that any tool may read a log
//! with this crate alone. A saga's own table and events are written with it. The crate `quadrille`
//! re-exports all of it, so a step names only `quadrille`.

pub mod flow;
pub mod event;
pub mod ids;
pub mod money;
pub mod contract;
pub mod parked;

pub use contract::Contract;
pub use event::{BadData, Event, Reason, Refusal};
pub use flow::{Flow, Slot};
pub use ids::{IdempotencyKey, KeyNamespace, Reference, SagaId};
pub use money::{Currency, Money};

#[doc(hidden)] // For `id!`.
pub use schemars;
