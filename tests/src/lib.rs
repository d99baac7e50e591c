//! What the tests share: real nats-servers, alone and as a cluster.

pub mod cluster;
pub mod eventually;
pub mod raw;
pub mod server;
