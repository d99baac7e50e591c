//! Books the hotel of a trip, and frees the room again.

use quadrille::step::{Evidence, Outcome, Step, StepContext, StepError, Undo};

use crate::flow::{HotelBooked, HotelFreed, HotelRefused, TripRequested};
use crate::hotel::{Booking, Hotel};

/// The step and what it depends on.
#[derive(Debug)]
pub struct BookHotel<H>(pub H);

impl<H: Hotel> Step for BookHotel<H> {
    type On = TripRequested;
    type Done = HotelBooked;
    type Refused = HotelRefused;

    async fn run(
        &self,
        trip: &TripRequested,
        context: &StepContext,
    ) -> Result<Outcome<HotelBooked, HotelRefused>, StepError> {
        match self.0.book(&trip.hotel, context.key("book")).await? {
            Booking::Booked => {
                let (card, price) = (trip.card.clone(), trip.price);
                Ok(Outcome::Done(HotelBooked { card, price }))
            }
            Booking::Full => Ok(Outcome::Refused(HotelRefused { reason: "full".into() })),
            Booking::Cancelled => Err(StepError::Superseded),
        }
    }
}

impl<H: Hotel> Undo for BookHotel<H> {
    type Undone = HotelFreed;

    /// Does the same for any evidence: cancelling under the key of `run` frees the room that `run`
    /// booked, and keeps a late `run` from booking one.
    async fn undo(
        &self,
        _: &TripRequested,
        _: Evidence<&HotelBooked>,
        context: &StepContext,
    ) -> Result<HotelFreed, StepError> {
        self.0.cancel(context.run_key("book")).await?;
        Ok(HotelFreed {})
    }

    fn never_ran() -> HotelFreed {
        HotelFreed {}
    }
}
