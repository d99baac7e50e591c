//! The log of sagas: what its messages look like, what its slots say, and how both are read.

pub mod envelope;
pub mod slots;
pub mod story;
pub mod open;
pub mod spent;
pub mod cancel;
pub mod token;
pub(crate) mod lookup;
pub mod parked;
