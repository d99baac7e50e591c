//! What the tests share: real nats-servers, alone and as a cluster; the whole of Quadrille as
//! processes; and what must be true of whatever happened to it.
//!
//! How a process is started, seen to be ready and ended is in the crate `harness`.

pub use harness::{eventually, server};

pub mod cluster;
#[cfg(feature = "containers")]
pub mod container;
pub mod proxy;
pub mod raw;

pub mod stack;

pub mod invariants;

pub mod crash;
pub mod storm;
pub mod weather;
