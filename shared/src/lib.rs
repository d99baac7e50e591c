//! How a message of a saga is handled safely, once for all steps.
//!
//! Each step of a saga is a worker of its own, and no coordinator drives them: *choreography*. Some
//! of our words differ from the textbooks': *compensation* is [`step::Undo`], an *idempotency key*
//! is [`step::StepContext::key`], a *dead letter* is a [parked message](log::parked), *optimistic
//! concurrency* is the guard on a [`Slot`], and a message is delivered *at least once*.
//!
//! The modules are in reading order: what the author of a step needs, then the way of a message,
//! then the process around it, then what everything is built on. Start with [`step`] and
//! `pipeline`.

pub use quadrille_vocabulary::{
    BadData, Contract, Currency, Event, Flow, IdempotencyKey, KeyNamespace, Money, Reason,
    Reference, Refusal, SagaId, Slot,
};
pub use quadrille_vocabulary::{contract, event, flow, id, ids, money, one_of, refusal};

// The author's side.
pub mod step;
pub mod testing;

pub mod breaker;

// The way of a message.
mod pipeline;
mod undo;
pub mod log;

// The process.
pub mod worker;
pub mod why;
pub mod service;
pub mod process;
pub mod config;
pub mod telemetry;
mod clock;
#[doc(hidden)]
pub mod failpoint;

// What it is built on.
pub mod broker;
pub mod topology;
pub mod nats;
pub mod http;
