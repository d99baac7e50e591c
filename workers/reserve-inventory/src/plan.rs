//! What a group of requests does to the stock: pure arithmetic, no input or output.
//!
//! Given what the holds and SKUs are, it says what each request is answered and which messages make
//! it so, if all of them are stored and none without the others.

use std::collections::BTreeMap;

use bytes::Bytes;
use quadrille::broker::BatchMessage;
use schemas::{SagaId, Sku};
use serde::{Deserialize, Serialize};

/// Pieces of each SKU.
pub(crate) type Pieces = BTreeMap<Sku, u64>;

/// The stock of one SKU: `free` of `stocked` pieces are not held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    pub sku: Sku,
    pub stocked: u64,
    pub free: u64,
}

impl Level {
    /// Pieces held by orders; shipped ones among them.
    pub fn held(&self) -> u64 {
        self.stocked.saturating_sub(self.free)
    }
}

/// What one order holds, or held: a released hold stays for ever, so that no late one passes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    pub pieces: Vec<Piece>,
    pub released: bool,
}

/// Pieces of one SKU in a hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    pub sku: Sku,
    pub quantity: u64,
}

/// A value, and the sequence of the message it was read from; 0 where there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known<T> {
    pub(crate) revision: u64,
    pub(crate) value: Option<T>,
}

impl<T> Known<T> {
    pub(crate) const NONE: Self = Self { revision: 0, value: None };
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) enum Want {
    Hold {
        order: SagaId,
        pieces: Pieces,
    },
    Release {
        order: SagaId,
    },
    /// Sets what is stocked; `opening` leaves alone what is known.
    Set {
        sku: Sku,
        stocked: u64,
        opening: bool,
    },
}

/// What a request is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Held,
    TooLittle(Sku),
    Unknown(Sku),
    /// Of a release: it is. Of a hold: it may not be.
    Released,
    Set,
    /// Less than is held.
    BelowHeld(u64),
}

impl Want {
    /// Holds and SKUs it touches, and so the messages it adds at most.
    pub(crate) fn messages(&self) -> usize {
        match self {
            Self::Hold { pieces, .. } => 1 + pieces.len(),
            // Known only once its hold is read; an order has at most 200 lines.
            Self::Release { .. } => 1 + schemas::order_fulfilment::events::MAX_LINES,
            Self::Set { .. } => 1,
        }
    }
}

/// Everything a group needs to know, changed as the group is planned.
#[derive(Debug, Default)]
pub(crate) struct Books {
    pub(crate) holds: BTreeMap<SagaId, Known<Hold>>,
    pub(crate) levels: BTreeMap<Sku, Known<Level>>,
    changed_holds: Vec<SagaId>,
    changed_levels: Vec<Sku>,
}

impl Books {
    /// Books that know these levels, and no hold.
    pub(crate) fn with(levels: BTreeMap<Sku, Known<Level>>) -> Self {
        Self { levels, ..Self::default() }
    }

    /// Answers one request, and notes what that changes.
    pub(crate) fn enter(&mut self, want: &Want) -> Answer {
        match want {
            Want::Hold { order, pieces } => self.hold(order, pieces),
            Want::Release { order } => self.release(order),
            Want::Set { sku, stocked, opening } => self.set(sku, *stocked, *opening),
        }
    }

    fn hold(&mut self, order: &SagaId, wanted: &Pieces) -> Answer {
        match self.holds.get(order).and_then(|known| known.value.as_ref()) {
            Some(hold) if hold.released => return Answer::Released,
            Some(_) => return Answer::Held,
            None => {}
        }
        for (sku, quantity) in wanted {
            match self.level(sku) {
                None => return Answer::Unknown(sku.clone()),
                Some(level) if level.free < *quantity => return Answer::TooLittle(sku.clone()),
                Some(_) => {}
            }
        }
        for (sku, quantity) in wanted {
            self.change_level(sku, |level| level.free -= quantity);
        }
        let pieces =
            wanted.iter().map(|(sku, quantity)| Piece { sku: sku.clone(), quantity: *quantity });
        self.change_hold(order, Hold { pieces: pieces.collect(), released: false });
        Answer::Held
    }

    fn release(&mut self, order: &SagaId) -> Answer {
        let pieces = match self.holds.get(order).and_then(|known| known.value.as_ref()) {
            Some(hold) if hold.released => return Answer::Released,
            Some(hold) => hold.pieces.clone(),
            None => Vec::new(),
        };
        for Piece { sku, quantity } in &pieces {
            self.change_level(sku, |level| level.free += quantity);
        }
        self.change_hold(order, Hold { pieces, released: true });
        Answer::Released
    }

    fn set(&mut self, sku: &Sku, stocked: u64, opening: bool) -> Answer {
        let held = match self.level(sku) {
            Some(_) if opening => return Answer::Set,
            Some(level) => level.held(),
            None => 0,
        };
        if stocked < held {
            return Answer::BelowHeld(held);
        }
        let level = Level { sku: sku.clone(), stocked, free: stocked - held };
        self.levels.entry(sku.clone()).or_insert(Known::NONE).value = Some(level);
        note(&mut self.changed_levels, sku);
        Answer::Set
    }

    fn level(&self, sku: &Sku) -> Option<&Level> {
        self.levels.get(sku).and_then(|known| known.value.as_ref())
    }

    fn change_level(&mut self, sku: &Sku, change: impl FnOnce(&mut Level)) {
        if let Some(level) = self.levels.get_mut(sku).and_then(|known| known.value.as_mut()) {
            change(level);
            note(&mut self.changed_levels, sku);
        }
    }

    fn change_hold(&mut self, order: &SagaId, hold: Hold) {
        self.holds.entry(order.clone()).or_insert(Known::NONE).value = Some(hold);
        note(&mut self.changed_holds, order);
    }

    /// The messages that make the changes so: the deciding guards, the holds', come first.
    pub(crate) fn messages(&self) -> Vec<BatchMessage> {
        let holds = self.changed_holds.iter().map(|order| {
            let known = &self.holds[order];
            message(hold_subject(order), known.revision, known.value.as_ref())
        });
        let levels = self.changed_levels.iter().map(|sku| {
            let known = &self.levels[sku];
            message(level_subject(sku), known.revision, known.value.as_ref())
        });
        holds.chain(levels).collect()
    }

    /// The levels as they are once the messages are stored, the last one under `last`. A batch is
    /// stored as one run of sequences, and the levels are its end.
    pub(crate) fn stored(mut self, last: u64) -> BTreeMap<Sku, Known<Level>> {
        let first = last + 1 - self.changed_levels.len() as u64;
        for (sku, revision) in self.changed_levels.iter().zip(first..) {
            if let Some(known) = self.levels.get_mut(sku) {
                known.revision = revision;
            }
        }
        self.levels
    }
}

fn note<T: Clone + PartialEq>(changed: &mut Vec<T>, key: &T) {
    if !changed.contains(key) {
        changed.push(key.clone());
    }
}

fn message<T: Serialize>(subject: String, expected_last: u64, value: Option<&T>) -> BatchMessage {
    let payload = serde_json::to_vec(&value).expect("plain structs always serialise");
    BatchMessage { subject, expected_last, payload: Bytes::from(payload) }
}

pub(crate) fn hold_subject(order: &SagaId) -> String {
    format!("stock.hold.{order}")
}

pub(crate) fn level_subject(sku: &Sku) -> String {
    format!("stock.sku.{}", sku.subject_token())
}
