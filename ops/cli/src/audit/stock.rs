//! Stock: nothing lost, nothing held twice, nothing held for an order that was taken back.

use std::collections::{BTreeMap, HashMap};

use quadrille::broker::Stored;
use schemas::stock::NO_HOLD;
use serde::Deserialize;

use super::fold::Order;
use super::verdict::{Invariant, Verdict};

#[derive(Debug, Deserialize)]
struct Level {
    sku: String,
    stocked: u64,
    free: u64,
}

#[derive(Debug, Deserialize)]
struct Hold {
    pieces: Vec<Piece>,
    released: bool,
    /// Its order is completed, and its pieces are no longer on the shelf.
    #[serde(default)]
    shipped: bool,
}

#[derive(Debug, Deserialize)]
struct Piece {
    sku: String,
    quantity: u64,
}

/// Levels and holds; the holds of one part's orders, and the sums of all.
#[derive(Debug, Default)]
pub(super) struct Stock {
    levels: Vec<Level>,
    held: BTreeMap<String, u64>,
    holds: HashMap<String, Hold>,
}

impl Stock {
    /// `first` if this is the part that adds up; `mine` says which orders are of this part.
    pub(super) fn take(
        &mut self,
        message: &Stored,
        first: bool,
        mine: impl Fn(&str) -> bool,
        found: &mut Verdict,
    ) {
        if message.subject.starts_with(NO_HOLD) {
            return;
        }
        let Some(order) = message.subject.strip_prefix("stock.hold.") else {
            if first {
                match serde_json::from_slice(&message.payload) {
                    Ok(level) => self.levels.push(level),
                    Err(_) => unreadable(message, found),
                }
            }
            return;
        };
        let Ok(hold) = serde_json::from_slice::<Hold>(&message.payload) else {
            if first {
                unreadable(message, found);
            }
            return;
        };
        if first && !hold.released && !hold.shipped {
            for piece in &hold.pieces {
                *self.held.entry(piece.sku.clone()).or_default() += piece.quantity;
            }
        }
        if mine(order) {
            self.holds.insert(order.to_owned(), hold);
        }
    }

    pub(super) fn forget_levels(&mut self) {
        self.levels.clear();
        self.held.clear();
    }

    pub(super) fn adds_up(mut self, found: &mut Verdict) {
        for Level { sku, stocked, free } in &self.levels {
            let held = self.held.remove(sku).unwrap_or_default();
            if free.checked_add(held) != Some(*stocked) {
                let what = format!("{sku}: {stocked} stocked are not {free} free and {held} held");
                found.add(Invariant::Stock, None, what);
            }
        }
        for (sku, pieces) in self.held {
            found.add(Invariant::Stock, None, format!("{pieces} held of {sku}, which is unknown"));
        }
    }

    pub(super) fn holds_what_it_should(&self, id: &str, order: &Order, found: &mut Verdict) {
        let hold = self.holds.get(id).filter(|hold| !hold.released);
        if order.cancelled() {
            let what = || "cancelled, and yet it holds stock".to_owned();
            return found.demand(hold.is_none(), Invariant::Stock, id, what);
        }
        if !order.completed() {
            return;
        }
        let mut pieces: BTreeMap<&str, u64> = BTreeMap::new();
        for piece in hold.map_or(&[][..], |hold| &hold.pieces) {
            *pieces.entry(&piece.sku).or_default() += piece.quantity;
        }
        let wanted = order.pieces.iter().map(|(sku, quantity)| (sku.as_str(), *quantity));
        let holds = pieces == wanted.collect();
        let what = || "completed, and it does not hold what was ordered".to_owned();
        found.demand(holds, Invariant::Stock, id, what);
    }
}

fn unreadable(message: &Stored, found: &mut Verdict) {
    let what = format!("{} is no record of the stock", message.subject);
    found.add(Invariant::Stock, None, what);
}
