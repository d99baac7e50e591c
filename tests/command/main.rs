//! The service that takes orders, as a process on a real server: over HTTP with sockets of our own,
//! because a client library sends nothing odd, and over NATS with a stock client.

#![expect(clippy::unwrap_used, reason = "every line of this crate is a test")]

mod desk;

mod answers;
mod odd_input;
mod repeats;

mod limits;
mod outages;
