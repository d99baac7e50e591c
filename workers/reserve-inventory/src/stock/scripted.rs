//! A stock in memory, for tests of the step.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use quadrille::SagaId;
use quadrille::step::StepError;
use quadrille::testing::Faults;
use schemas::Sku;

use super::{Held, Pieces, Stock};

/// Clones are the same stock.
#[derive(Debug, Clone, Default)]
pub struct ScriptedStock {
    faults: Faults,
    shelves: Arc<Mutex<Shelves>>,
}

#[derive(Debug, Default)]
struct Shelves {
    free: Pieces,
    /// `None` once released.
    holds: BTreeMap<SagaId, Option<Pieces>>,
    held: u32,
    released: u32,
}

impl ScriptedStock {
    /// A stock that is reached through `faults`, and knows no SKU.
    pub fn new(faults: Faults) -> Self {
        Self { faults, shelves: Arc::default() }
    }

    /// Adds a SKU with this many free pieces.
    #[must_use]
    pub fn with(self, sku: Sku, free: u64) -> Self {
        self.shelves().free.insert(sku, free);
        self
    }

    /// How many holds were made.
    pub fn held(&self) -> u32 {
        self.shelves().held
    }

    /// How many holds were released; a release without a hold does not count.
    pub fn released(&self) -> u32 {
        self.shelves().released
    }

    /// Pieces free of a SKU; 0 for an unknown one.
    pub fn free(&self, sku: &Sku) -> u64 {
        self.shelves().free.get(sku).copied().unwrap_or(0)
    }

    fn shelves(&self) -> MutexGuard<'_, Shelves> {
        self.shelves.lock().expect("no code panics while it holds the lock")
    }
}

impl Shelves {
    fn hold(&mut self, order: &SagaId, pieces: Pieces) -> Held {
        match self.holds.get(order) {
            Some(Some(_)) => return Held::Yes,
            Some(None) => return Held::Released,
            None => {}
        }
        for (sku, quantity) in &pieces {
            match self.free.get(sku) {
                None => return Held::UnknownSku(sku.clone()),
                Some(free) if free < quantity => return Held::TooLittle(sku.clone()),
                Some(_) => {}
            }
        }
        for (sku, quantity) in &pieces {
            self.free.entry(sku.clone()).and_modify(|free| *free -= quantity);
        }
        self.holds.insert(order.clone(), Some(pieces));
        self.held += 1;
        Held::Yes
    }

    fn release(&mut self, order: &SagaId) {
        let Some(Some(pieces)) = self.holds.insert(order.clone(), None) else { return };
        for (sku, quantity) in pieces {
            *self.free.entry(sku).or_default() += quantity;
        }
        self.released += 1;
    }
}

impl Stock for ScriptedStock {
    async fn hold(&self, order: &SagaId, pieces: Pieces) -> Result<Held, StepError> {
        Ok(self.faults.call(|| self.shelves().hold(order, pieces)).await?)
    }

    async fn release(&self, order: &SagaId) -> Result<(), StepError> {
        Ok(self.faults.call(|| self.shelves().release(order)).await?)
    }
}
