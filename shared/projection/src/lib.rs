//! Read projections (the *query* side of CQRS): the log of a flow, folded into the tables of one
//! SQLite file, which queries read.
//!
//! A projection never lies: its rows are exactly the fold of the log up to the place that every
//! answer names, even after a kill; a message that cannot be applied is recorded; a log that was
//! restored, cut or made anew is noticed, and the rows are built anew from it. It decides nothing:
//! no worker reads it.
//!
//! The runtime serves any flow. An author writes a [`ReadModel`]: tables, and one pure function
//! from an event to rows. Besides the model's tables each file has `checkpoint`, `events` and
//! `skipped`.

mod read_model;
pub mod sagas;
mod fold;
pub mod story;
mod store;
mod shelf;
mod reader;
mod status;
mod pages;
mod build;
mod follow;
mod served;
mod runner;
mod projection;

#[cfg(test)]
mod tests;

pub use fold::phase_name;
pub use projection::{OpenError, Projection, open};
pub use read_model::{Happened, ReadModel, Rows, Write, number, text, text_or_null, time};
pub use reader::ReadError;
pub use runner::Runner;
pub use rusqlite;
pub use shelf::ShelfError;
pub use status::{NotThere, Progress, Status};
pub use store::TABLES as EVERY_MODEL;
