//! What is asked of the stock, and what it answers: requests to the worker that keeps it, over its
//! endpoints `inventory.stock.set` and `inventory.stock.show`.
//!
//! Not events: nothing of it is in the log. One definition for the worker and for its callers, and
//! one for the subjects of the stock's own records, which the flow's row gives to the worker. An
//! answer is a list of [`Shown`], or an error with a code as in HTTP: 400 for a request that cannot
//! be read, 409 for fewer pieces than orders hold, 503 for "try again".

use quadrille_vocabulary::SagaId;
use serde::{Deserialize, Serialize};

use crate::Sku;

/// The first tokens of the subject of each endpoint: `inventory.stock.set`.
pub const PREFIX: &str = "inventory.stock";
/// Takes [`Set`]; answers with what was set.
pub const SET: &str = "set";
/// Takes [`Show`], or nothing; answers with what was asked for.
pub const SHOW: &str = "show";
/// All there are.
pub const ENDPOINTS: &[&str] = &[SET, SHOW];

/// SKUs in one request, at most, so that what is set fits one atomic batch of the broker.
pub const MOST_SKUS: usize = 1_000;

/// The stream of the stock's own records.
pub const STREAM: &str = "STOCK";
/// The subjects of its levels, one for each SKU: [`sku_subject`].
pub const SKUS: &str = "stock.sku.*";
/// The subjects of its holds, one for each order: [`hold_subject`].
pub const HOLDS: &str = "stock.hold.*";

/// Where the level of a SKU is: `stock.sku.ROSE-RED`.
pub fn sku_subject(sku: &Sku) -> String {
    SKUS.replace('*', &sku.subject_token())
}

/// Where the hold of an order is: `stock.hold.A123`.
pub fn hold_subject(order: &SagaId) -> String {
    HOLDS.replace('*', order.as_str())
}

/// Sets what is stocked, held pieces included: all of it or nothing.
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

/// Shows these SKUs, at most [`MOST_SKUS`], or every SKU (up to 1,024) if it names none. Unknown
/// ones are left out.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Show {
    /// One more, for a request that is typed by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sku: Option<Sku>,
    pub skus: Vec<Sku>,
}

/// The stock of one SKU, in pieces: `stocked` is `free` and `held` together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    pub sku: Sku,
    pub stocked: u64,
    pub free: u64,
    /// Of orders that were not cancelled; shipped pieces among them.
    pub held: u64,
}
