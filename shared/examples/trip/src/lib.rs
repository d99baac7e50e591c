//! A trip, as a saga: book the hotel, charge the card, confirm; or take everything back in reverse.
//!
//! Read [`flow`] first, then [`book_hotel`], a step with its undo. The worker of each step is a
//! program in `src/bin`.

pub mod flow;

pub mod book_hotel;
pub mod charge_card;
pub mod confirm_trip;

// What people see of it.
pub mod trips;

// What the steps talk to: traits in their own words, each with its fake.
pub mod bank;
pub mod hotel;
pub mod world;
