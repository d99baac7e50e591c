//! What a group of requests does to the stock: pure arithmetic, no input or output.
//!
//! From what is known about holds and SKUs, a draft works out the answer to each request, and the
//! messages that make the answers true if all of them are stored, and none without the others.

use std::collections::BTreeMap;

use quadrille::SagaId;
use schemas::Sku;

use super::books::{Books, Changes, Counts, Hold, Known, No, Piece, Pieces, Want};
use super::level::Level;

/// The broker's limit on one atomic batch.
const MOST_MESSAGES: usize = 1_000;

/// The answers to the first of a group's requests, as many as fit one batch, and what these change.
#[derive(Debug)]
pub(super) struct Draft<'b> {
    books: &'b Books,
    pub(super) answers: Vec<Result<(), No>>,
    pub(super) changes: Changes,
    /// Pieces of completed orders that no level holds, so that none could be taken off.
    pub(super) unheld: Vec<(SagaId, Piece)>,
}

impl<'b> Draft<'b> {
    pub(super) fn of(books: &'b Books, wants: &[&Want]) -> Self {
        let (answers, changes, unheld) = Default::default();
        let mut draft = Self { books, answers, changes, unheld };
        for want in wants {
            if !draft.has_room_for(want) {
                break;
            }
            let answer = match want {
                Want::Hold { order, pieces } => draft.hold(order, pieces),
                Want::Release { order } => draft.release(order),
                Want::Ship { order } => draft.ship(order),
                Want::Set { stocked, opening } => draft.set(stocked, *opening),
                Want::Count { counted } => draft.count(counted),
                Want::Receive { pieces, receipt } => draft.receive(pieces, receipt),
                Want::Delist { skus } => draft.delist(skus),
            };
            draft.answers.push(answer);
        }
        draft
    }

    /// Counts messages, not requests: many orders of one SKU are few messages.
    fn has_room_for(&self, want: &Want) -> bool {
        let held = match want {
            Want::Release { order } | Want::Ship { order } => {
                self.find_hold(order).map_or_else(|| self.left_behind(order), |hold| &hold.pieces)
            }
            Want::Hold { order, .. } => self.left_behind(order),
            Want::Set { .. } | Want::Count { .. } => &[],
            Want::Receive { .. } | Want::Delist { .. } => &[],
        };
        let held = held.iter().map(|piece| &piece.sku);
        let fresh = |sku: &&Sku| !self.changes.levels.contains_key(*sku);
        let levels = want.skus().into_iter().chain(held).filter(fresh).count();
        let more = usize::from(want.order().is_some() || want.receipt().is_some()) + levels;
        let Changes { holds, receipts, levels } = &self.changes;
        holds.len() + receipts.len() + levels.len() + more <= MOST_MESSAGES
    }

    fn hold(&mut self, order: &SagaId, wanted: &Pieces) -> Result<(), No> {
        match self.find_hold(order) {
            Some(hold) if hold.released => return Err(No::Released),
            // An earlier attempt made it, in this or another replica.
            Some(_) => return Ok(()),
            None => {}
        }
        let left = self.left_behind(order).to_vec();
        for (sku, quantity) in wanted {
            let level = self.known_level(sku, No::UnknownSku)?;
            let comes_free = left.iter().filter(|piece| piece.sku == *sku);
            let comes_free: u64 = comes_free.map(|piece| level.frees(piece.quantity)).sum();
            if level.free + comes_free < *quantity {
                return Err(No::TooLittle(sku.clone()));
            }
        }
        for piece in &left {
            self.free(piece);
        }
        let mut pieces = Vec::with_capacity(wanted.len());
        for (sku, quantity) in wanted {
            self.change(sku, |level| level.free -= quantity);
            pieces.push(Piece { sku: sku.clone(), quantity: *quantity });
        }
        self.changes.holds.insert(order.clone(), Hold { pieces, ..Hold::default() });
        Ok(())
    }

    fn release(&mut self, order: &SagaId) -> Result<(), No> {
        let hold = match self.find_hold(order) {
            Some(hold) if hold.released => return Ok(()),
            Some(hold) => hold.clone(),
            None => Hold { pieces: self.left_behind(order).to_vec(), ..Hold::default() },
        };
        for Piece { sku, .. } in &hold.pieces {
            self.known_level(sku, No::NoLevel)?;
        }
        for piece in &hold.pieces {
            match hold.shipped {
                true => self.edit(&piece.sku, |level| level.take_back(piece.quantity)),
                false => self.free(piece),
            }
        }
        self.changes.holds.insert(order.clone(), Hold { released: true, shipped: false, ..hold });
        Ok(())
    }

    /// What was released or has been shipped already is left as it is. A hold that is not there may
    /// be one that an old leader does not show: a shipped one without pieces is written, and its
    /// guard finds out.
    fn ship(&mut self, order: &SagaId) -> Result<(), No> {
        let hold = match self.find_hold(order) {
            Some(Hold { released: false, shipped: false, pieces, .. }) => pieces.clone(),
            Some(_) => return Ok(()),
            None if self.books.holds.get(order).is_some_and(Known::is_junk) => return Ok(()),
            None => self.left_behind(order).to_vec(),
        };
        for piece in &hold {
            let taken = self.ship_piece(piece);
            if taken < piece.quantity {
                let quantity = piece.quantity - taken;
                self.unheld.push((order.clone(), Piece { sku: piece.sku.clone(), quantity }));
            }
        }
        let shipped = Hold { pieces: hold, shipped: true, ..Hold::default() };
        self.changes.holds.insert(order.clone(), shipped);
        Ok(())
    }

    /// How many of these pieces are taken off. A level that is junk does not know its holds, nor
    /// will the one that is set in its place. One that is not there is made, empty: then its guard
    /// finds out whether an old leader only does not show it.
    fn ship_piece(&mut self, Piece { sku, quantity }: &Piece) -> u64 {
        if self.is_junk(sku) {
            return 0;
        }
        let mut level = self.level(sku).cloned().unwrap_or_else(|| Level::new(sku.clone(), 0, 0));
        let taken = level.ship(*quantity);
        self.changes.levels.insert(sku.clone(), level);
        taken
    }

    fn count(&mut self, counted: &Counts) -> Result<(), No> {
        self.edit_all(counted, |draft, sku, (pieces, state)| {
            let mut level = draft.known_level(sku, No::UnknownSku)?.clone();
            level.count(*pieces, *state)?;
            Ok(level)
        })
    }

    fn receive(&mut self, pieces: &Pieces, receipt: &String) -> Result<(), No> {
        let stored = self.books.receipts.get(receipt);
        let known = stored.and_then(|known| known.value.as_ref());
        match self.changes.receipts.get(receipt).or(known) {
            Some(known) if known == pieces => return Ok(()),
            None if !stored.is_some_and(Known::is_junk) => {}
            Some(_) | None => return Err(No::OtherReceipt(receipt.clone())),
        }
        self.edit_all(pieces, |draft, sku, quantity| {
            let mut level = match draft.known_level(sku, No::UnknownSku) {
                Ok(level) => level.clone(),
                Err(No::UnknownSku(sku)) => Level::new(sku, 0, 0),
                Err(no) => return Err(no),
            };
            level.receive(*quantity)?;
            Ok(level)
        })?;
        self.changes.receipts.insert(receipt.clone(), pieces.clone());
        Ok(())
    }

    fn delist(&mut self, skus: &[Sku]) -> Result<(), No> {
        for sku in skus {
            self.known_level(sku, No::UnknownSku)?;
        }
        for sku in skus {
            self.edit(sku, Level::delist);
        }
        Ok(())
    }

    fn set(&mut self, wanted: &Pieces, opening: bool) -> Result<(), No> {
        let mut wanted = wanted.clone();
        // An opening leaves alone what is there, even if it is junk.
        wanted.retain(|sku, _| !(opening && (self.level(sku).is_some() || self.is_junk(sku))));
        self.edit_all(&wanted, |draft, sku, stocked| {
            // An operator may set a level that is junk, because only that mends it; the pieces that
            // orders hold are then not known, and count as sold.
            let level = draft.level(sku).cloned();
            let mut level = level.unwrap_or_else(|| Level::new(sku.clone(), 0, 0));
            level.set(*stocked)?;
            Ok(level)
        })
    }

    fn find_hold(&self, order: &SagaId) -> Option<&Hold> {
        let known = || self.known_hold(order).filter(|hold| !hold.left_behind);
        self.changes.holds.get(order).or_else(known)
    }

    fn known_hold(&self, order: &SagaId) -> Option<&Hold> {
        self.books.holds.get(order).and_then(|known| known.value.as_ref())
    }

    /// What an order of the same id still holds whose log is no more: it comes free when this one
    /// is written in its place.
    fn left_behind(&self, order: &SagaId) -> &[Piece] {
        let known = self.known_hold(order).filter(|_| !self.changes.holds.contains_key(order));
        match known {
            Some(Hold { left_behind: true, released: false, shipped: false, pieces, .. }) => pieces,
            Some(_) | None => &[],
        }
    }

    /// Frees what was held. Nothing can come free on a level that is not there.
    fn free(&mut self, Piece { sku, quantity }: &Piece) {
        match self.level(sku).map(|level| level.delisted) {
            Some(true) => self.edit(sku, |level| level.release(*quantity)),
            Some(false) => self.change(sku, |level| level.release(*quantity)),
            None => {}
        }
    }

    fn level(&self, sku: &Sku) -> Option<&Level> {
        let known = || self.books.levels.get(sku).and_then(|known| known.value.as_ref());
        self.changes.levels.get(sku).or_else(known)
    }

    /// The level of this SKU, or why there is none.
    fn known_level(&self, sku: &Sku, none: fn(Sku) -> No) -> Result<&Level, No> {
        match self.level(sku) {
            Some(level) => Ok(level),
            None if self.is_junk(sku) => Err(No::Junk(sku.clone())),
            None => Err(none(sku.clone())),
        }
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

    /// Changes what is stocked otherwise than by a completed order.
    fn edit(&mut self, sku: &Sku, change: impl FnOnce(&mut Level)) {
        let edited = self.books.levels.get(sku).map_or(0, |known| known.revision);
        self.change(sku, |level| {
            change(level);
            level.edited = edited;
        });
    }

    /// Edits all of these or none.
    fn edit_all<T>(
        &mut self,
        wanted: &BTreeMap<Sku, T>,
        edited: impl Fn(&Self, &Sku, &T) -> Result<Level, No>,
    ) -> Result<(), No> {
        let levels = wanted.iter().map(|(sku, wanted)| edited(self, sku, wanted));
        for level in levels.collect::<Result<Vec<_>, _>>()? {
            let sku = level.sku.clone();
            self.changes.levels.insert(sku.clone(), level);
            self.edit(&sku, |_| {});
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
