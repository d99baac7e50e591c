//! The circuit breaker without any service or broker: its rules one by one, its invariants as
//! properties, and fleets of replicas in simulated time.

mod properties;

mod fleet;
mod sim;
