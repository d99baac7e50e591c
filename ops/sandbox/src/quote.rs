//! The quote service: which carrier takes a parcel for the least money. It changes nothing, and one
//! parcel has one answer for ever, so that tests can say what it is.

use serde::{Deserialize, Serialize};

use crate::answer::Answer;
use crate::carrier::{Destination, check_parcel};

/// Parcels for this country (ISO 3166 code) do not cross a border.
const HOME: &str = "DE";

const CURRENCY: &str = "EUR";

/// What a carrier takes: for a parcel, for each item in it, and for a border. In cents.
const TARIFFS: [Tariff; 2] = [
    Tariff { carrier: "sandbox-post", parcel: 490, item: 90, border: 800 },
    Tariff { carrier: "sandbox-parcel", parcel: 690, item: 40, border: 600 },
];

struct Tariff {
    carrier: &'static str,
    parcel: u64,
    item: u64,
    border: u64,
}

/// A carrier and its price for one parcel.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rate {
    /// Its short name, 1 to 32 characters.
    pub(crate) carrier: String,
    pub(crate) price: Price,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Price {
    /// Minor units.
    amount: u64,
    currency: String,
}

/// A well-formed question for a rate.
#[derive(Debug)]
pub(crate) struct Parcel {
    /// The order.
    pub(crate) reference: String,
    pub(crate) ship_to: Destination,
    pub(crate) items: u32,
}

impl Rate {
    /// What a parcel costs that comes without a quote, whatever it is: more than most quotes.
    pub(crate) fn flat() -> Self {
        Self::new("sandbox-post", 990)
    }

    fn new(carrier: &str, amount: u64) -> Self {
        Self { carrier: carrier.into(), price: Price { amount, currency: CURRENCY.into() } }
    }
}

impl Parcel {
    /// # Errors
    ///
    /// The field that is out of its range, and the range, in words.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        check_parcel(&self.reference, &self.ship_to, self.items)
    }
}

/// The cheapest rate; of equal ones the first of [`TARIFFS`].
pub(crate) fn cheapest(parcel: &Parcel) -> Answer {
    let abroad = u64::from(parcel.ship_to.country != HOME);
    let items = u64::from(parcel.items);
    let price = |tariff: &Tariff| tariff.parcel + tariff.item * items + tariff.border * abroad;
    let prices = TARIFFS.iter().map(|tariff| (price(tariff), tariff.carrier));
    let (amount, carrier) = prices.min_by_key(|(amount, _)| *amount).expect("there are tariffs");
    Answer::new(200, &Rate::new(carrier, amount))
}
