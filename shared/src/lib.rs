//! How a message of a saga is handled safely, once for all steps.
//!
//! Each step of a saga is a worker of its own, and no coordinator drives them: *choreography*. What
//! the textbooks call *compensation* is [`step::Undo`], an *idempotency key* is
//! [`step::StepContext::key`], a *dead letter* is a [parked message](log::parked).
//!
//! The modules stand in reading order: what an author of a step meets, then the way of a message,
//! then the process around it, then what all of it stands on. Start with [`step`] and `pipeline`.

pub use quadrille_vocabulary::{
    BadData, Contract, Currency, Event, Flow, IdempotencyKey, Money, Reason, Refusal, SagaId, Slot,
};
pub use quadrille_vocabulary::{contract, event, flow, id, ids, money, one_of, refusal};

// The author's side.
pub mod step;
pub mod testing;

// The way of a message.
mod pipeline;
mod undo;

pub mod log;

// The process.
pub mod worker;

pub mod process;

pub mod config;
pub mod telemetry;

mod clock;
mod failpoint;

// What it stands on.
pub mod broker;
pub mod topology;

pub mod nats;

pub mod http;
