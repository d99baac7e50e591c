//! What can go wrong with a choreographed saga, one test each: `tests/HAZARDS.md` lists them.
//!
//! Every test runs real worker processes against a real server and the sandbox, breaks one thing on
//! purpose, and looks at what is left. A test's name begins with the hazard's id.

#![expect(clippy::unwrap_used, reason = "every line of this crate is a test")]

mod by_hand;
mod crashes;

mod slots;

mod refusals;
mod cancels;
mod parkings;
mod deadlines;

mod acknowledgements;
mod durables;
mod log;

mod calls;
mod keys;
mod outages;
mod killers;
mod pauses;
mod neighbours;
mod pulls;
mod passed;
mod overload;
mod causes;

mod fences;
mod gateways;
mod undo;
mod refunds;

mod endings;

mod clocks;
mod restarts;

mod bad_input;
mod malformed;
