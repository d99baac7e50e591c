//! Charges the card for a trip, and gives the money back.

use quadrille::step::{Evidence, Outcome, Step, StepContext, StepError, Undo};

use crate::bank::{Bank, Charge};
use crate::flow::{CardCharged, CardRefused, CardReleased, HotelBooked};

/// The step and what it depends on.
#[derive(Debug)]
pub struct ChargeCard<B>(pub B);

impl<B: Bank> Step for ChargeCard<B> {
    type On = HotelBooked;
    type Done = CardCharged;
    type Refused = CardRefused;

    async fn run(
        &self,
        booked: &HotelBooked,
        context: &StepContext,
    ) -> Result<Outcome<CardCharged, CardRefused>, StepError> {
        match self.0.charge(&booked.card, booked.price, context.key("charge")).await? {
            Charge::Charged => Ok(Outcome::Done(CardCharged {})),
            Charge::Declined(reason) => Ok(Outcome::Refused(CardRefused { reason })),
            Charge::Released => Err(StepError::Superseded),
        }
    }
}

impl<B: Bank> Undo for ChargeCard<B> {
    type Undone = CardReleased;

    /// Does the same for any evidence, as [`BookHotel`](crate::book_hotel::BookHotel) does.
    async fn undo(
        &self,
        _: &HotelBooked,
        _: Evidence<&CardCharged>,
        context: &StepContext,
    ) -> Result<CardReleased, StepError> {
        self.0.release(context.run_key("charge")).await?;
        Ok(CardReleased {})
    }

    fn never_ran() -> CardReleased {
        CardReleased {}
    }
}
