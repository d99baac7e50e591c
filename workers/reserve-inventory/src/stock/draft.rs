//! What a group of requests does to the stock: pure arithmetic, no input or output.
//!
//! From what is known about holds and SKUs, a draft works out the answer to each request, and the
//! messages that make the answers true if all of them are stored, and none without the others.

use quadrille::SagaId;
use schemas::Sku;

use super::books::{Books, Changes, Hold, Known, Level, No, Piece, Pieces, Want};

/// The broker's limit on one atomic batch.
const MOST_MESSAGES: usize = 1_000;

/// The answers to the first of a group's requests, as many as fit one batch, and what these change.
#[derive(Debug)]
pub(super) struct Draft<'b> {
    books: &'b Books,
    pub(super) answers: Vec<Result<(), No>>,
    pub(super) changes: Changes,
}

impl<'b> Draft<'b> {
    pub(super) fn of(books: &'b Books, wants: &[&Want]) -> Self {
        let mut draft = Self { books, answers: Vec::new(), changes: Changes::default() };
        for want in wants {
            if !draft.has_room_for(want) {
                break;
            }
            let answer = match want {
                Want::Hold { order, pieces } => draft.hold(order, pieces),
                Want::Release { order } => draft.release(order),
                Want::Set { stocked, opening } => draft.set(stocked, *opening),
            };
            draft.answers.push(answer);
        }
        draft
    }

    /// Counts messages, not requests: many orders of one SKU are few messages.
    fn has_room_for(&self, want: &Want) -> bool {
        let held = match want {
            Want::Release { order } => self.find_hold(order).map(|hold| &hold.pieces[..]),
            Want::Hold { .. } | Want::Set { .. } => None,
        };
        let held = held.into_iter().flatten().map(|piece| &piece.sku);
        let fresh = |sku: &&Sku| !self.changes.levels.contains_key(*sku);
        let more =
            usize::from(want.order().is_some()) + want.skus().chain(held).filter(fresh).count();
        self.changes.holds.len() + self.changes.levels.len() + more <= MOST_MESSAGES
    }

    fn hold(&mut self, order: &SagaId, wanted: &Pieces) -> Result<(), No> {
        match self.find_hold(order) {
            Some(hold) if hold.released => return Err(No::Released),
            // An earlier attempt made it, in this or another replica.
            Some(_) => return Ok(()),
            None => {}
        }
        for (sku, quantity) in wanted {
            match self.level(sku) {
                None if self.is_junk(sku) => return Err(No::Junk(sku.clone())),
                None => return Err(No::UnknownSku(sku.clone())),
                Some(level) if level.free < *quantity => return Err(No::TooLittle(sku.clone())),
                Some(_) => {}
            }
        }
        let mut pieces = Vec::with_capacity(wanted.len());
        for (sku, quantity) in wanted {
            self.change(sku, |level| level.free -= quantity);
            pieces.push(Piece { sku: sku.clone(), quantity: *quantity });
        }
        self.changes.holds.insert(order.clone(), Hold { pieces, released: false });
        Ok(())
    }

    fn release(&mut self, order: &SagaId) -> Result<(), No> {
        let pieces = match self.find_hold(order) {
            Some(hold) if hold.released => return Ok(()),
            Some(hold) => hold.pieces.clone(),
            None => Vec::new(),
        };
        if let Some(piece) = pieces.iter().find(|piece| self.level(&piece.sku).is_none()) {
            let sku = piece.sku.clone();
            return Err(if self.is_junk(&sku) { No::Junk(sku) } else { No::NoLevel(sku) });
        }
        for Piece { sku, quantity } in &pieces {
            // A hold that was never made may claim any number of pieces; no more come free than
            // are stocked.
            self.change(sku, |level| {
                level.free = level.free.saturating_add(*quantity).min(level.stocked);
            });
        }
        self.changes.holds.insert(order.clone(), Hold { pieces, released: true });
        Ok(())
    }

    fn set(&mut self, wanted: &Pieces, opening: bool) -> Result<(), No> {
        let held = |level: Option<&Level>| level.map_or(0, Level::held);
        for (sku, stocked) in wanted {
            let held = held(self.level(sku));
            if !opening && *stocked < held {
                return Err(No::BelowHeld { sku: sku.clone(), held });
            }
        }
        for (sku, stocked) in wanted {
            let level = self.level(sku);
            // An operator may set a level that is junk, because only that mends it; the pieces that
            // orders hold are then not known, and count as sold.
            if !(opening && (level.is_some() || self.is_junk(sku))) {
                let (stocked, free) = (*stocked, *stocked - held(level));
                let level = Level { sku: sku.clone(), stocked, free };
                self.changes.levels.insert(sku.clone(), level);
            }
        }
        Ok(())
    }

    fn find_hold(&self, order: &SagaId) -> Option<&Hold> {
        let known = || self.books.holds.get(order).and_then(|known| known.value.as_ref());
        self.changes.holds.get(order).or_else(known)
    }

    fn level(&self, sku: &Sku) -> Option<&Level> {
        let known = || self.books.levels.get(sku).and_then(|known| known.value.as_ref());
        self.changes.levels.get(sku).or_else(known)
    }

    fn is_junk(&self, sku: &Sku) -> bool {
        let known = || self.books.levels.get(sku).is_some_and(Known::is_junk);
        !self.changes.levels.contains_key(sku) && known()
    }

    fn change(&mut self, sku: &Sku, change: impl FnOnce(&mut Level)) {
        let mut level = self.level(sku).cloned().expect("checked before anything is changed");
        change(&mut level);
        self.changes.levels.insert(sku.clone(), level);
    }
}

#[cfg(test)]
mod tests;
