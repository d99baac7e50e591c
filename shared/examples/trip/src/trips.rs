//! How people look at trips: by what a trip is found, and what a list shows of it.

use quadrille_projection::sagas::{self, Shown};
use quadrille_projection::{Happened, ReadModel, Rows};
use query::{Filter, View};

use crate::flow::TripRequested;

pub static TRIPS: View = View {
    many: "trips",
    model: ReadModel {
        name: "trips",
        version: 2,
        readable_from: 1,
        tables: &[sagas::TABLES],
        indexes: &[sagas::INDEXES],
        apply,
    },
    filters: &[Filter {
        name: "hotel",
        about: "Where the guest sleeps",
        example: "Ritz",
        reads: |text| Some(text.to_owned()),
    }],
    stock: false,
    verbs: &[],
};

fn apply(happened: &Happened<'_>, rows: &mut Rows) {
    let mut shown = Shown::default();
    if happened.event_type() == Some("trip.requested.v1") {
        match happened.read::<TripRequested>() {
            Ok(trip) => {
                shown.tag("hotel", &trip.hotel);
                shown.found_by("card", trip.card.as_str());
                shown.detail("hotel", trip.hotel);
                shown.detail("amount", trip.price.amount);
                shown.detail("currency", trip.price.currency.to_string());
            }
            Err(bad) => rows.skip(bad),
        }
    }
    sagas::apply(happened, shown, rows);
}
