//! What a customer wants: the one event that comes from outside, so the one that is checked.

use quadrille_vocabulary::event;
use quadrille_vocabulary::event::{BadData, Reason};
use quadrille_vocabulary::ids::{Reference, SagaId};
use quadrille_vocabulary::money::{Money, MoneyError};
use serde::{Deserialize, Serialize};

use crate::Sku;

/// Lines one order may have: keeps a hold within one atomic batch of the broker.
pub const MAX_LINES: usize = 200;

/// Bytes the JSON of an [`OrderPlaced`] may have: half of what the log takes as one message, which
/// leaves room for an envelope.
pub const MAX_PLACED_BYTES: usize = 32 * 1024;

/// An order that is valid, for those who show one.
pub const SAMPLE: &str = include_str!("../../../samples/order_fulfilment/placed.v1.json");

/// A customer wants these lines, at these prices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct OrderPlaced {
    /// 1 to 64 of A-Z a-z 0-9 _ -. Optional; when given it must be the id in the subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<SagaId>,
    /// A reference, never a name: 1 to 128 printable ASCII characters without spaces.
    pub customer: Reference,
    /// The payment gateway's name for it: `pm_card_visa`.
    pub payment_method: Reference,
    pub ship_to: Destination,
    /// 1 to 200 lines, all in one currency, whose total fits 64 bits. Two lines may have one SKU.
    #[schemars(length(min = 1, max = 200))]
    pub lines: Vec<OrderLine>,
}
event!(
    OrderPlaced = "order.placed.v1",
    check = check,
    max_bytes = MAX_PLACED_BYTES,
    names = order_id
);

/// One line of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct OrderLine {
    /// A stock keeping unit: 1 to 64 bytes of printable text.
    pub sku: Sku,
    /// A whole number of pieces, at least 1.
    #[schemars(range(min = 1, max = 4_294_967_295_u32))]
    pub quantity: u32,
    /// The price of one piece, above zero.
    #[schemars(extend("properties" = { "amount": { "minimum": 1 } }))]
    pub unit_price: Money,
}

/// Where an order goes, as far as a carrier must know to accept or refuse it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Destination {
    /// Two upper-case letters of ISO 3166-1 alpha-2, such as DE.
    #[schemars(regex(pattern = "^[A-Z]{2}$"))]
    pub country: String,
    /// 1 to 16 letters, digits, spaces or dashes.
    #[schemars(regex(pattern = "^[A-Za-z0-9 -]{1,16}$"))]
    pub postcode: String,
}

impl OrderPlaced {
    /// The price of the whole order.
    ///
    /// # Errors
    /// When the lines mix currencies, the total does not fit, or there are no lines; never for an
    /// order that came through [`Event::from_data`](quadrille_vocabulary::Event::from_data).
    pub fn total(&self) -> Result<Money, MoneyError> {
        let prices = self.lines.iter().map(|line| line.unit_price.times(line.quantity));
        Money::sum(prices.collect::<Result<Vec<_>, _>>()?)
    }

    /// All pieces of all lines; at most 200 × `u32::MAX`.
    pub fn pieces(&self) -> u64 {
        self.lines.iter().map(|line| u64::from(line.quantity)).sum()
    }

    /// The same order without its own id: what two orders are compared by, because the subject
    /// names the id, and may do so alone.
    #[must_use]
    pub fn without_id(self) -> Self {
        Self { order_id: None, ..self }
    }

    fn check(&self) -> Result<(), BadData> {
        let Some(first) = self.lines.first() else {
            return Err(invalid("/lines", "an order has at least one line"));
        };
        if self.lines.len() > MAX_LINES {
            let what = "an order has at most 200 lines";
            return Err(BadData::new(Reason::Rule("too-many-lines"), "/lines", what));
        }
        self.ship_to.check()?;
        for (at, line) in self.lines.iter().enumerate() {
            line.check(at, first)?;
        }
        self.total().map(drop).map_err(|error| {
            BadData::new(Reason::Rule("total-overflows"), "/lines", error.to_string())
        })
    }
}

impl Destination {
    fn check(&self) -> Result<(), BadData> {
        let Self { country, postcode } = self;
        if country.len() != 2 || !country.bytes().all(|b| b.is_ascii_uppercase()) {
            return Err(invalid("/ship_to/country", "a country is two upper-case letters"));
        }
        let fits = |b: u8| b.is_ascii_alphanumeric() || b == b' ' || b == b'-';
        if !(1..=16).contains(&postcode.len()) || !postcode.bytes().all(fits) {
            let what = "a postcode is 1 to 16 letters, digits, spaces or dashes";
            return Err(invalid("/ship_to/postcode", what));
        }
        Ok(())
    }
}

fn invalid(place: impl Into<String>, what: &str) -> BadData {
    BadData::new(Reason::InvalidField, place, what)
}

impl OrderLine {
    fn check(&self, at: usize, first: &Self) -> Result<(), BadData> {
        if self.quantity == 0 {
            return Err(invalid(format!("/lines/{at}/quantity"), "a quantity is at least 1"));
        }
        if self.unit_price.amount <= 0 {
            let place = format!("/lines/{at}/unit_price/amount");
            return Err(invalid(place, "a price is above zero"));
        }
        if self.unit_price.currency != first.unit_price.currency {
            let place = format!("/lines/{at}/unit_price/currency");
            let what = "all lines have the currency of the first";
            return Err(BadData::new(Reason::Rule("mixed-currencies"), place, what));
        }
        Ok(())
    }
}
