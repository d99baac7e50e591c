//! Who reacts to what, what it decides, and what takes that back; below it, the events.

use std::time::Duration;

use quadrille::flow::{Flow, opens, step};
use quadrille::{Money, Reference, SagaId, event, refusal};
use serde::{Deserialize, Serialize};

#[rustfmt::skip]
pub static FLOW: Flow = Flow {
    saga: "trip",
    stream: "TRIPS",
    subjects: "trips",
    opens: opens("requested", "trip.requested.v1"),
    turns: opens("refused", "trip.refused.v1"),
    steps: &[
        step("book-hotel")
            .on("requested")
            .writes("hotel", "hotel.booked.v1", "hotel.refused.v1")
            .undone_by("hotel-undo", &["hotel.freed.v1"]),
        step("charge-card")
            .on("hotel")
            .writes("card", "card.charged.v1", "card.refused.v1")
            .undone_by("card-undo", &["card.released.v1"])
            .within(Duration::from_mins(10)),
        step("confirm-trip")
            .on("card")
            .closes("closed", "trip.confirmed.v1", "trip.cancelled.v1")
            .cancels(
                opens("cancel", "trip.cancel-requested.v1"),
                opens("cancel-refused", "trip.cancel-refused.v1"),
            )
            .within(Duration::from_hours(24)),
    ],
};

/// A customer wants to travel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TripRequested {
    /// Must be the id in the subject, where it is given.
    pub trip: Option<SagaId>,
    pub hotel: String,
    pub card: Reference,
    pub price: Money,
}
event!(TripRequested = "trip.requested.v1", names = trip);

/// A room waits for the guest. Carries what the next step needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HotelBooked {
    pub card: Reference,
    pub price: Money,
}
event!(HotelBooked = "hotel.booked.v1");

/// There is no room.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HotelRefused {
    pub reason: String,
}
event!(HotelRefused = "hotel.refused.v1");

/// No room was booked, or its booking is cancelled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HotelFreed {}
event!(HotelFreed = "hotel.freed.v1");

/// The trip is paid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CardCharged {}
event!(CardCharged = "card.charged.v1");

/// The bank does not pay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CardRefused {
    pub reason: String,
}
event!(CardRefused = "card.refused.v1");

/// Nothing was charged, or it was given back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CardReleased {}
event!(CardReleased = "card.released.v1");

/// Have a good trip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TripConfirmed {}
event!(TripConfirmed = "trip.confirmed.v1");

refusal!(HotelRefused, CardRefused);

#[cfg(test)]
mod tests {
    #[test]
    fn the_table_is_legal() {
        assert_eq!(super::FLOW.check(), []);
    }
}
