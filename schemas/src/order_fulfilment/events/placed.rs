//! What a customer wants: the one event that comes from outside, so the one that is checked.

use std::borrow::Cow;

use quadrille_vocabulary::event;
use quadrille_vocabulary::event::{BadData, Reason};
use quadrille_vocabulary::ids::{Reference, SagaId};
use quadrille_vocabulary::money::{Money, MoneyError};
use serde::{Deserialize, Deserializer, Serialize};

use crate::Sku;

/// Lines one order may have: keeps a hold within one atomic batch of the broker.
pub const MAX_LINES: usize = 200;

/// Charges one order may have; shops have one for shipping, and one for each tax and coupon.
pub const MAX_CHARGES: usize = 50;

/// Bytes the JSON of an [`OrderPlaced`] may have, without white space and fields that are not read:
/// half of what the log takes as one message, which leaves room for those and for an envelope.
pub const MAX_PLACED_BYTES: usize = 32 * 1024;

/// An order that is valid, for those who show one.
pub const SAMPLE: &str = include_str!("../../../samples/order_fulfilment/placed.v1.json");

/// [`SAMPLE`] with every field that a client may send, in the lists one element at least.
pub fn full_sample() -> serde_json::Value {
    let mut sample: serde_json::Value = serde_json::from_str(SAMPLE).expect("a test reads it");
    let placed: OrderPlaced = serde_json::from_str(SAMPLE).expect("a test reads it");
    let total = placed.total().expect("a test reads it");
    let shipping = Charge { kind: ChargeKind::Shipping, amount: Money { amount: 0, ..total } };
    sample["order_id"] = "A123".into();
    sample["charges"] = serde_json::json!([shipping]);
    sample["total"] = serde_json::json!(total);
    sample
}

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
    /// What the order costs beside its lines: at most 50, in the currency of the lines. Nothing of
    /// it is taken from stock.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub charges: Vec<Charge>,
    /// The price of the whole order. Optional; when given it must be what the lines and the charges
    /// make.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<Money>,
}
event!(
    OrderPlaced = "order.placed.v1",
    check = check,
    max_bytes = MAX_PLACED_BYTES,
    names = order_id,
    sample = full_sample
);

/// One line of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct OrderLine {
    /// A stock keeping unit: 1 to 64 bytes of printable text.
    pub sku: Sku,
    /// A whole number of pieces, from 1 to 4294967295.
    #[schemars(range(min = 1, max = 4_294_967_295_u32))]
    pub quantity: u32,
    /// The price of one piece, at least zero.
    #[schemars(extend("properties" = { "amount": { "minimum": 0 } }))]
    pub unit_price: Money,
}

/// An amount for the whole order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Charge {
    /// What it is for: `shipping`, `tax` or `discount`.
    pub kind: ChargeKind,
    /// At least zero; a discount is taken off, the others are added.
    #[schemars(extend("properties" = { "amount": { "minimum": 0 } }))]
    pub amount: Money,
}

/// What an amount for the whole order is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChargeKind {
    Shipping,
    Tax,
    Discount,
}

/// Where an order goes, as far as a carrier must know to accept or refuse it. White space around a
/// value does not count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Destination {
    /// Two upper-case letters of ISO 3166-1 alpha-2, such as DE.
    #[serde(deserialize_with = "trimmed")]
    #[schemars(regex(pattern = "^\\s*[A-Z]{2}\\s*$"))]
    pub country: String,
    /// 1 to 16 letters, digits, spaces or dashes; left out or empty where there is none.
    #[serde(default, deserialize_with = "trimmed_if_any", skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^\\s*([A-Za-z0-9-]([A-Za-z0-9\\s-]*[A-Za-z0-9-])?)?\\s*$"))]
    pub postcode: Option<String>,
}

/// One space for any white space within, and none around.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn trimmed<'de, D: Deserializer<'de>>(reader: D) -> Result<String, D::Error> {
    Cow::<'de, str>::deserialize(reader).map(|text| plain(&text))
}

fn trimmed_if_any<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<String>, D::Error> {
    let text = Option::<Cow<'de, str>>::deserialize(reader)?;
    Ok(text.map(|text| plain(&text)).filter(|text| !text.is_empty()))
}

impl OrderPlaced {
    /// The price of the whole order: its lines and charges; for an order that came through
    /// [`Event::from_data`](quadrille_vocabulary::Event::from_data) it is at least zero.
    ///
    /// # Errors
    /// When lines and charges mix currencies, the total does not fit, or there are no lines; never
    /// for an order that came through `Event::from_data`.
    pub fn total(&self) -> Result<Money, MoneyError> {
        let prices = self.lines.iter().map(|line| line.unit_price.times(line.quantity));
        let charges = self.charges.iter().map(Charge::signed);
        Money::sum(prices.chain(charges).collect::<Result<Vec<_>, _>>()?)
    }

    /// All pieces of all lines; at most 200 × `u32::MAX`.
    pub fn pieces(&self) -> u64 {
        self.lines.iter().map(|line| u64::from(line.quantity)).sum()
    }

    /// What a new order may not have, though an order that is in a log already may.
    ///
    /// # Errors
    /// The currency, if it has been withdrawn.
    pub fn must_be_of_today(&self) -> Result<(), BadData> {
        match self.lines.iter().position(|line| !line.unit_price.currency.is_active()) {
            None => Ok(()),
            Some(at) => {
                let what = "ISO 4217 has withdrawn this currency";
                Err(invalid(format!("/lines/{at}/unit_price/currency"), what))
            }
        }
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
        if self.charges.len() > MAX_CHARGES {
            let what = "an order has at most 50 charges";
            return Err(BadData::new(Reason::Rule("too-many-charges"), "/charges", what));
        }
        for (at, charge) in self.charges.iter().enumerate() {
            charge.check(at, first)?;
        }
        self.check_total()
    }

    fn check_total(&self) -> Result<(), BadData> {
        let total = self.total().map_err(|error| {
            BadData::new(Reason::Rule("total-overflows"), "/lines", error.to_string())
        })?;
        if total.amount < 0 {
            let what = "the discounts are more than all the rest: a total is at least zero";
            return Err(BadData::new(Reason::Rule("total-below-zero"), "/charges", what));
        }
        match self.total {
            Some(given) if given != total => {
                let what = format!("the lines and the charges make {total}");
                Err(BadData::new(Reason::Rule("total-disagrees"), "/total", what))
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl Destination {
    fn check(&self) -> Result<(), BadData> {
        let Self { country, postcode } = self;
        if country.len() != 2 || !country.bytes().all(|b| b.is_ascii_uppercase()) {
            return Err(invalid("/ship_to/country", "a country is two upper-case letters"));
        }
        let fits = |b: u8| b.is_ascii_alphanumeric() || b == b' ' || b == b'-';
        let postcode = postcode.as_deref().unwrap_or("-");
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
        if self.unit_price.amount < 0 {
            let place = format!("/lines/{at}/unit_price/amount");
            return Err(invalid(place, "a price is at least zero; a discount is a charge"));
        }
        same_currency(self.unit_price, first, || format!("/lines/{at}/unit_price"))
    }
}

impl Charge {
    fn signed(&self) -> Result<Money, MoneyError> {
        match self.kind {
            ChargeKind::Shipping | ChargeKind::Tax => Ok(self.amount),
            ChargeKind::Discount => self.amount.negated(),
        }
    }

    fn check(&self, at: usize, first: &OrderLine) -> Result<(), BadData> {
        if self.amount.amount < 0 {
            let what = "a charge is at least zero, and a discount of 5.00 is 500: it is taken off";
            return Err(invalid(format!("/charges/{at}/amount/amount"), what));
        }
        same_currency(self.amount, first, || format!("/charges/{at}/amount"))
    }
}

fn same_currency(
    money: Money,
    first: &OrderLine,
    place: impl Fn() -> String,
) -> Result<(), BadData> {
    if money.currency == first.unit_price.currency {
        return Ok(());
    }
    let first = first.unit_price.currency.code();
    let what = format!("all have the currency of the first line, {first}");
    let place = format!("{}/currency", place());
    Err(BadData::new(Reason::Rule("mixed-currencies"), place, what))
}
