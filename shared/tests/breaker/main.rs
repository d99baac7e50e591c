//! The circuit breaker without any service or broker: its rules one by one, its invariants as
//! properties, and fleets of replicas in simulated time.

#![expect(clippy::unwrap_used, reason = "every line of this crate is a test")]

mod properties;

mod fleet;
mod sim;
