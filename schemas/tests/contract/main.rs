//! What the contract promises to whoever reads or writes the log.

#![expect(clippy::unwrap_used, reason = "every line of this crate is a test")]

mod bad_input;
mod flow;
mod generated;
mod mistakes;
mod money;
mod samples;
