//! The records of the stock, the requests to it, what is known about it, what a batch changes.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quadrille::SagaId;
use quadrille::broker::BatchMessage;
use schemas::Sku;
use schemas::stock::{State, hold_subject, receipt_subject, sku_subject};
use serde::{Deserialize, Serialize};

use super::level::Level;

/// Pieces of each SKU.
pub type Pieces = BTreeMap<Sku, u64>;

/// Pieces of each SKU that lay there at a state.
pub type Counts = BTreeMap<Sku, (u64, State)>;

/// What one order holds, or held: a released hold stays for ever, so that no late hold can pass it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    pub pieces: Vec<Piece>,
    pub released: bool,
    /// The order is completed: its pieces have left the shelf, and hold nothing any longer.
    #[serde(default, skip_serializing_if = "is_false")]
    pub shipped: bool,
    /// The log that the order is in, by its namespace of idempotency keys; `None` from a version
    /// that did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// It is of an order of that id in a log that is no more.
    #[serde(skip)]
    pub(super) left_behind: bool,
}

/// Pieces of one SKU in a hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    pub sku: Sku,
    pub quantity: u64,
}

/// A value, and the sequence of the message it was read from; 0 if there is none. A message without
/// a value is junk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known<T> {
    pub(super) revision: u64,
    pub(super) value: Option<T>,
}

impl<T> Known<T> {
    pub(super) const NONE: Self = Self { revision: 0, value: None };

    pub(super) fn is_junk(&self) -> bool {
        self.value.is_none() && self.revision > 0
    }
}

/// One request.
#[derive(Debug, Clone)]
pub(super) enum Want {
    Hold {
        order: SagaId,
        pieces: Pieces,
    },
    Release {
        order: SagaId,
    },
    /// Takes what a completed order holds off the shelf.
    Ship {
        order: SagaId,
    },
    /// Sets what lay there at a state of 1 to 1,000 SKUs.
    Count {
        counted: Counts,
    },
    /// Adds the pieces of a delivery.
    Receive {
        pieces: Pieces,
        receipt: String,
    },
    /// Sells no more of these; what orders hold stays for them.
    Delist {
        skus: Vec<Sku>,
    },
    /// Sets the pieces stocked of at most 1,000 SKUs; `opening` does not change SKUs that exist.
    Set {
        stocked: Pieces,
        opening: bool,
    },
}

/// Why a request is not granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum No {
    #[error("fewer pieces of {0} are free than are wanted")]
    TooLittle(Sku),
    #[error("there is no SKU {0}")]
    UnknownSku(Sku),
    #[error("it was released, so it can never be held again")]
    Released,
    #[error("orders hold {held} pieces of {sku}, so no fewer can be stocked")]
    BelowHeld { sku: Sku, held: u64 },
    /// The answer of an old leader; the next leader gives the right one.
    #[error("the level of {0} is not found, although pieces of it are held")]
    NoLevel(Sku),
    #[error("the level of {0} is no stock record: count its pieces and set them")]
    Junk(Sku),
    #[error(
        "{0} was set, counted, received or delisted since that state: see what is there now \
         (`quadrille stock show`), and count it again"
    )]
    Edited(Sku),
    #[error("the receipt {0} is of a delivery of other pieces: give this one another receipt")]
    OtherReceipt(String),
    #[error("more pieces of {0} than can be counted")]
    TooMany(Sku),
}

impl No {
    /// Whether it depends on levels, which may have changed since they were read.
    pub(super) fn rests_on_levels(&self) -> bool {
        match self {
            Self::Released | Self::OtherReceipt(_) => false,
            Self::TooLittle(_)
            | Self::UnknownSku(_)
            | Self::BelowHeld { .. }
            | Self::TooMany(_)
            | Self::NoLevel(_)
            | Self::Edited(_)
            | Self::Junk(_) => true,
        }
    }
}

impl Want {
    pub(super) fn order(&self) -> Option<&SagaId> {
        match self {
            Self::Hold { order, .. } | Self::Release { order } | Self::Ship { order } => {
                Some(order)
            }
            Self::Set { .. } | Self::Count { .. } => None,
            Self::Receive { .. } | Self::Delist { .. } => None,
        }
    }

    /// The delivery that it adds.
    pub(super) fn receipt(&self) -> Option<&String> {
        match self {
            Self::Receive { receipt, .. } => Some(receipt),
            Self::Hold { .. } | Self::Release { .. } | Self::Ship { .. } => None,
            Self::Set { .. } | Self::Count { .. } | Self::Delist { .. } => None,
        }
    }

    /// The SKUs that it names itself; those of a release and of a shipment are in the hold.
    pub(super) fn skus(&self) -> Vec<&Sku> {
        match self {
            Self::Hold { pieces, .. } | Self::Receive { pieces, .. } => pieces.keys().collect(),
            Self::Set { stocked, .. } => stocked.keys().collect(),
            Self::Count { counted } => counted.keys().collect(),
            Self::Delist { skus } => skus.iter().collect(),
            Self::Release { .. } | Self::Ship { .. } => Vec::new(),
        }
    }
}

/// What is known about the stock. A hold that was not read is assumed not to exist, and the guard
/// of its message (*optimistic concurrency*) finds out.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) holds: BTreeMap<SagaId, Known<Hold>>,
    pub(super) receipts: BTreeMap<String, Known<Pieces>>,
    pub(super) levels: BTreeMap<Sku, Known<Level>>,
}

impl Books {
    /// Forgets the levels of what this request names.
    pub(super) fn forget_skus(&mut self, want: &Want) {
        for sku in want.skus() {
            self.levels.remove(sku);
        }
    }

    /// SKUs whose level is not known and is needed to answer `wants`.
    pub(super) fn unknown_skus(&self, wants: &[&Want]) -> BTreeSet<Sku> {
        let of_holds = self.holds.values().filter_map(|known| known.value.as_ref());
        let of_holds = of_holds.flat_map(|hold| &hold.pieces).map(|piece| &piece.sku);
        let of_wants = wants.iter().flat_map(|want| want.skus());
        let unknown = of_wants.chain(of_holds).filter(|sku| !self.levels.contains_key(*sku));
        unknown.cloned().collect()
    }

    /// Remembers changes that were stored as a run of sequences that ends with `last`.
    pub(super) fn stored(&mut self, changes: Changes, last: u64) {
        // The levels are at the end of a batch.
        let first = last + 1 - changes.levels.len() as u64;
        for (revision, (sku, level)) in (first..).zip(changes.levels) {
            self.levels.insert(sku, Known { revision, value: Some(level) });
        }
    }
}

/// What becomes of holds, receipts and levels, all of it or nothing.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) holds: BTreeMap<SagaId, Hold>,
    pub(super) receipts: BTreeMap<String, Pieces>,
    pub(super) levels: BTreeMap<Sku, Level>,
}

impl Changes {
    /// The messages that make these changes. Those of the holds come first, because their guards
    /// decide.
    pub(super) fn messages(&self, books: &Books) -> Vec<BatchMessage> {
        let holds = self.holds.iter().map(|(order, hold)| {
            let revision = books.holds.get(order).map_or(0, |known| known.revision);
            message(hold_subject(order), revision, hold)
        });
        let receipts = self.receipts.iter().map(|(receipt, pieces)| {
            let revision = books.receipts.get(receipt).map_or(0, |known| known.revision);
            message(receipt_subject(receipt), revision, pieces)
        });
        let levels = self.levels.iter().map(|(sku, level)| {
            let revision = books.levels.get(sku).map_or(0, |known| known.revision);
            message(sku_subject(sku), revision, level)
        });
        holds.chain(receipts).chain(levels).collect()
    }
}

pub(super) fn is_false(flag: &bool) -> bool {
    !flag
}

fn message<T: Serialize>(subject: String, expected_last: u64, value: &T) -> BatchMessage {
    let payload = serde_json::to_vec(value).expect("plain structs always serialise");
    BatchMessage { subject, expected_last, payload: Bytes::from(payload) }
}
