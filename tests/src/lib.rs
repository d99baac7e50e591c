//! What the tests share: real nats-servers, alone and as a cluster; all of Quadrille as processes;
//! and what must be true no matter what happened to it.

pub mod cluster;
#[cfg(feature = "containers")]
pub mod container;
pub mod eventually;
pub mod proxy;
pub mod raw;
pub mod server;

pub mod stack;

pub mod invariants;

pub mod crash;
pub mod storm;
