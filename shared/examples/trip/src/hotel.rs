//! The hotel, in the words of the step, and a fake one.

use std::future::Future;

use quadrille::IdempotencyKey;
use quadrille::step::StepError;

use crate::world::Book;

/// What came of asking for a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Booking {
    Booked,
    Full,
    /// This key was cancelled, perhaps before it was ever used.
    Cancelled,
}

/// Books rooms. A real hotel must keep two promises: one key books one room, however often it is
/// asked; and a cancelled key never books one again. The second lets `undo` overtake a late `run`.
pub trait Hotel: Send + Sync + 'static {
    /// Books a room in the hotel of this name, or finds the one that this key booked.
    fn book(
        &self,
        hotel: &str,
        key: IdempotencyKey,
    ) -> impl Future<Output = Result<Booking, StepError>> + Send;

    /// Frees the room that was or will be booked under this key; also a success if there is none.
    fn cancel(&self, booked: IdempotencyKey) -> impl Future<Output = Result<(), StepError>> + Send;
}

/// Has a room for every guest, except in the hotel named `Full House`.
#[derive(Debug, Clone)]
pub struct FakeHotel(pub Book);

impl Hotel for FakeHotel {
    async fn book(&self, hotel: &str, key: IdempotencyKey) -> Result<Booking, StepError> {
        if hotel == "Full House" {
            return Ok(Booking::Full);
        }
        Ok(if self.0.enter(key).await? { Booking::Booked } else { Booking::Cancelled })
    }

    async fn cancel(&self, booked: IdempotencyKey) -> Result<(), StepError> {
        self.0.strike(booked).await
    }
}
