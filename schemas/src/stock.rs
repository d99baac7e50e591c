//! What is asked of the stock, and what it answers: requests to the worker that keeps it, over its
//! endpoints `inventory.stock.set`, `.count`, `.receive`, `.delist` and `.show`.
//!
//! Not events: nothing of it is in the log. One definition for the worker and for its callers, and
//! one for the subjects of the stock's own records, which the flow's row gives to the worker. An
//! answer is a list of [`Shown`], or an error with a code as in HTTP: 400 for a request that cannot
//! be read, 409 for one that does not fit what is stocked, 503 for "try again".

use std::fmt;
use std::str::FromStr;

use quadrille_vocabulary::SagaId;
use serde::{Deserialize, Serialize};

use crate::Sku;
use crate::sku::subject_token;

/// The first tokens of the subject of each endpoint: `inventory.stock.set`.
pub const PREFIX: &str = "inventory.stock";
/// Takes [`Set`]; answers with what was set.
pub const SET: &str = "set";
/// Takes [`Count`]; answers with what was counted.
pub const COUNT: &str = "count";
/// Takes [`Receive`]; answers with what was received.
pub const RECEIVE: &str = "receive";
/// Takes [`Delist`]; answers with what was delisted.
pub const DELIST: &str = "delist";
/// Takes [`Show`], or nothing; answers with what was asked for.
pub const SHOW: &str = "show";
/// All there are.
pub const ENDPOINTS: &[&str] = &[SET, COUNT, RECEIVE, DELIST, SHOW];

/// SKUs in one request, at most, so that what is set fits one atomic batch of the broker.
pub const MOST_SKUS: usize = 1_000;

/// The stream of the stock's own records.
pub const STREAM: &str = "STOCK";
/// The subjects of its levels, one for each SKU: [`sku_subject`].
pub const SKUS: &str = "stock.sku.*";
/// The subjects of its holds, one for each order: [`hold_subject`].
pub const HOLDS: &str = "stock.hold.*";
/// A record whose subject begins so is no hold, because no order has such an id. It has no kind of
/// its own, so that a stream which was made before there were such records takes them.
pub const NO_HOLD: &str = "stock.hold.=";
/// How far shipped pieces were taken off the shelf.
pub const SHELF: &str = "stock.hold.=shelf";

/// Where the level of a SKU is: `stock.sku.ROSE-RED`.
pub fn sku_subject(sku: &Sku) -> String {
    SKUS.replace('*', &sku.subject_token())
}

/// Where the hold of an order is: `stock.hold.A123`.
pub fn hold_subject(order: &SagaId) -> String {
    HOLDS.replace('*', order.as_str())
}

/// Where a delivery is that was added: `stock.hold.=receipt-d1`.
pub fn receipt_subject(receipt: &str) -> String {
    format!("{NO_HOLD}receipt-{}", subject_token(receipt))
}

/// Sets what is stocked now, held pieces included, whatever was there: all of it or nothing.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Set {
    One(Item),
    /// 1 to [`MOST_SKUS`] items of different SKUs.
    Many {
        items: Vec<Item>,
    },
}

/// One SKU to set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    pub sku: Sku,
    /// Pieces.
    pub stocked: u64,
}

/// Says what lay on the shelf at a [`State`], held pieces included: all of it or nothing. What left
/// it with completed orders since is taken off.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Count {
    /// 1 to [`MOST_SKUS`] items of different SKUs.
    pub items: Vec<Counted>,
}

/// What was counted of one SKU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counted {
    pub sku: Sku,
    pub pieces: u64,
    pub state: State,
}

/// What a count is made against: `1000-48213` in JSON. Two shelves of one SKU with the same state
/// differ by no more than the pieces of orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct State {
    /// Pieces.
    pub stocked: u64,
    /// Names the last change of what is stocked that was no completed order's.
    pub edited: u64,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.stocked, self.edited)
    }
}

impl FromStr for State {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers = text.split_once('-').and_then(|(stocked, edited)| {
            Some(Self { stocked: stocked.parse().ok()?, edited: edited.parse().ok()? })
        });
        numbers.ok_or("must be two numbers, like 1000-48213")
    }
}

impl From<State> for String {
    fn from(state: State) -> Self {
        state.to_string()
    }
}

impl TryFrom<String> for State {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// Adds the pieces of a delivery: all of it or nothing, and once, however often it is repeated.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receive {
    /// What tells this delivery from every other one: 1 to 64 bytes.
    pub receipt: String,
    /// 1 to [`MOST_SKUS`] items of different SKUs.
    pub items: Vec<Received>,
}

/// Pieces of one SKU in a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Received {
    pub sku: Sku,
    pub pieces: u64,
}

/// Sells no more of these SKUs, 1 to [`MOST_SKUS`]: only what orders hold stays.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delist {
    pub skus: Vec<Sku>,
}

/// Shows these SKUs, at most [`MOST_SKUS`], or every SKU (up to 1,024) if it names none. Unknown
/// ones are left out.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Show {
    /// One more, for a request that is typed by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sku: Option<Sku>,
    pub skus: Vec<Sku>,
    /// With the [`State`] of each, for which the answer waits a moment until completed orders have
    /// left the shelf.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub states: bool,
}

/// The stock of one SKU, in pieces: `stocked` is `free` and `held` together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    pub sku: Sku,
    pub stocked: u64,
    pub free: u64,
    /// Of orders that are neither cancelled nor completed: still on the shelf.
    pub held: u64,
    /// For a [`Count`], if [`Show`] asked for it and no completed order is still on the shelf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// No more of it is sold, until some is received or counted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub delisted: bool,
    /// The receipt of the [`Receive`] that this answers was added before, so nothing was added now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub repeated: bool,
}
