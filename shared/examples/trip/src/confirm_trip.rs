//! Confirms a trip that is booked and paid. Nothing is left to do outside, so it never refuses.

use quadrille::step::{Never, Outcome, Step, StepContext, StepError};

use crate::flow::{CardCharged, TripConfirmed};

/// The step.
#[derive(Debug)]
pub struct ConfirmTrip;

impl Step for ConfirmTrip {
    type On = CardCharged;
    type Done = TripConfirmed;
    type Refused = Never;

    async fn run(
        &self,
        _: &CardCharged,
        _: &StepContext,
    ) -> Result<Outcome<TripConfirmed, Never>, StepError> {
        Ok(Outcome::Done(TripConfirmed {}))
    }
}
