//! The read side as its users meet it: the query worker as a process, on a real server, killed,
//! restarted and lied to, and compared with a fold of the log that shares no code with it.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod asked;
mod fold;
mod writer;

mod kills;
mod versions;
mod logs;
mod tokens;
mod answers;
mod one;
mod events;
mod page;
mod flow;
mod held;
