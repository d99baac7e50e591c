//! How a message of a saga is handled safely, once for all steps.
//!
//! Modules in the order a message meets them; start with [`step`] and `pipeline`.

pub use quadrille_vocabulary::{
    BadData, Contract, Currency, Event, Flow, IdempotencyKey, Money, Reason, Refusal, SagaId, Slot,
};
pub use quadrille_vocabulary::{contract, event, flow, id, ids, money, one_of, refusal};

pub mod step;

mod attempts;
mod cause;
mod commit;
mod decode;
mod delivery;
pub mod envelope;
mod idempotency;
mod park;
mod pipeline;
mod pivot;
mod retry;
pub mod slots;

mod closing;
mod undo;

mod kernel;
mod lookup;
mod shutdown;
pub mod worker;

mod clock;
pub mod config;
mod failpoint;
pub mod health;
pub mod telemetry;

pub mod broker;
pub mod nats;
pub mod topology;

pub mod http;
pub mod testing;
