//! The level of one SKU: its record, and what each request does to its numbers.

use schemas::Sku;
use schemas::stock::State;
use serde::{Deserialize, Serialize};

use super::books::{No, is_false};

/// The stock of one SKU: `free` of `stocked` pieces are not held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    pub sku: Sku,
    pub stocked: u64,
    pub free: u64,
    /// The revision that the last change of `stocked` replaced which was no completed order's: what
    /// is counted before such a change does not fit what is there after it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub edited: u64,
    /// No more of it is sold: what an order holds does not come back when it is cancelled.
    #[serde(default, skip_serializing_if = "is_false")]
    pub delisted: bool,
}

impl Level {
    pub(super) fn new(sku: Sku, stocked: u64, free: u64) -> Self {
        Self { sku, stocked, free, edited: 0, delisted: false }
    }

    /// What a count is made against.
    pub fn state(&self) -> State {
        State { stocked: self.stocked, edited: self.edited }
    }

    /// Sets what lies there, and sells what orders do not hold of it.
    ///
    /// # Errors
    /// If they hold more.
    pub(super) fn set(&mut self, stocked: u64) -> Result<(), No> {
        let held = self.held();
        let Some(free) = stocked.checked_sub(held) else {
            return Err(No::BelowHeld { sku: self.sku.clone(), held });
        };
        (self.stocked, self.free, self.delisted) = (stocked, free, false);
        Ok(())
    }

    /// Sets what lay there at `state`, less what left it since: only completed orders change what
    /// is stocked and leave `edited` alone.
    ///
    /// # Errors
    /// If something else changed it, or orders hold more, or held more until they were completed.
    pub(super) fn count(&mut self, pieces: u64, state: State) -> Result<(), No> {
        let left = state.stocked.checked_sub(self.stocked);
        let Some(left) = left.filter(|_| state.edited == self.edited) else {
            return Err(No::Edited(self.sku.clone()));
        };
        let held = self.held().saturating_add(left);
        match pieces.checked_sub(left).map(|stocked| self.set(stocked)) {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) | None => Err(No::BelowHeld { sku: self.sku.clone(), held }),
        }
    }

    /// Adds the pieces of a delivery, and sells them.
    ///
    /// # Errors
    /// If they do not fit.
    pub(super) fn receive(&mut self, quantity: u64) -> Result<(), No> {
        let stocked = self.stocked.checked_add(quantity);
        let stocked = stocked.ok_or_else(|| No::TooMany(self.sku.clone()))?;
        // Free is never more than stocked.
        (self.stocked, self.free, self.delisted) = (stocked, self.free + quantity, false);
        Ok(())
    }

    /// Sells no more of it: what lies there for nobody is no longer counted.
    pub(super) fn delist(&mut self) {
        (self.stocked, self.free, self.delisted) = (self.held(), 0, true);
    }

    /// Frees what an order held. A hold that was never made may claim any number of pieces; no more
    /// come free than are held.
    pub(super) fn release(&mut self, quantity: u64) {
        let quantity = quantity.min(self.held());
        if self.delisted {
            self.stocked -= quantity;
        } else {
            self.free += quantity;
        }
    }

    /// How many of these pieces can be sold again once they are released.
    pub(super) fn frees(&self, quantity: u64) -> u64 {
        if self.delisted { 0 } else { quantity.min(self.held()) }
    }

    /// Takes what an order held off the shelf, and says how much that is: never more than is held,
    /// because a level that was junk, or lost, was set without the pieces of its orders.
    pub(super) fn ship(&mut self, quantity: u64) -> u64 {
        let quantity = quantity.min(self.held());
        self.stocked -= quantity;
        quantity
    }

    /// Puts back what was shipped for an order that is then cancelled: its log had lost its end.
    pub(super) fn take_back(&mut self, quantity: u64) {
        if !self.delisted {
            self.stocked = self.stocked.saturating_add(quantity);
            self.free = self.free.saturating_add(quantity);
        }
    }

    /// Pieces held by orders that are not shipped yet.
    pub fn held(&self) -> u64 {
        self.stocked.saturating_sub(self.free)
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
