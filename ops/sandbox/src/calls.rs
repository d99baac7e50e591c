//! How many requests arrived, by operation: what a test counts to prove that no extra call was
//! made. A request is counted on arrival, whatever a fault or a bad parameter makes of it later.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::operation::Operation;

type Counts = [u64; Operation::ALL.len()];

#[derive(Debug, Default)]
pub(crate) struct Calls {
    total: Counts,
    by_order: HashMap<String, Counts>,
}

impl Calls {
    pub(crate) fn count(&mut self, operation: Operation, order: Option<&str>) {
        self.total[operation as usize] += 1;
        let Some(order) = order else { return };
        // Looked up before it is inserted, so that only the first call of an order allocates.
        match self.by_order.get_mut(order) {
            Some(counts) => counts[operation as usize] += 1,
            None => {
                self.by_order.entry(order.to_owned()).or_default()[operation as usize] += 1;
            }
        }
    }

    /// Counts by operation, of one order or of all requests, zeros included.
    pub(crate) fn report(&self, order: Option<&str>) -> Map<String, Value> {
        let none = Counts::default();
        let counts = match order {
            Some(order) => self.by_order.get(order).unwrap_or(&none),
            None => &self.total,
        };
        Operation::ALL
            .into_iter()
            .map(|o| (o.name().to_owned(), counts[o as usize].into()))
            .collect()
    }
}
