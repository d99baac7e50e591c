//! What an audit found, in bounded memory: all are counted, the first are kept.

use std::collections::BTreeMap;

use serde::Serialize;

/// Violations that are kept in words.
const KEPT: usize = 100;

/// What must be true of every history. The numbers are those of `tests/HAZARDS.md`'s checker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Invariant {
    /// One message a slot, in a log without holes.
    Slots,
    /// Type, source and id of an event fit its slot.
    Contract,
    /// What caused an event is in the log before it.
    Causes,
    /// An order at rest is completed, cancelled, or parked with a reason.
    Ending,
    /// A completed order did every step, and undid none.
    Completed,
    /// A cancelled order took back, in reverse, all that it did or may have done.
    Cancelled,
    /// What is stocked is free or held; completed orders hold, cancelled ones do not.
    Stock,
    /// Money is held for completed orders, at their price, and for no others.
    Money,
    /// A parcel is sent if and only if the order is completed, and only after `go`.
    Parcels,
    /// Every effect has a key that follows from its order, and a cause; none happens twice.
    Effects,
    /// What the log records has happened.
    Recorded,
    /// A parked message has its bytes and a reason.
    Parked,
}

/// Where a history breaks an invariant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Violation {
    pub(super) invariant: Invariant,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) order: Option<String>,
    pub(super) what: String,
}

/// All that an audit says.
#[derive(Debug, Default, Serialize)]
pub(super) struct Verdict {
    pub(super) sound: bool,
    pub(super) messages: u64,
    pub(super) orders: u64,
    pub(super) completed: u64,
    pub(super) cancelled: u64,
    pub(super) open: u64,
    /// Of those that are open.
    pub(super) parked: u64,
    /// Ids without an opening, of which other events are there: none of the orders above.
    pub(super) unopened: u64,
    pub(super) effects: u64,
    /// How often each was broken.
    pub(super) broken: BTreeMap<Invariant, u64>,
    /// What was not looked at, and why.
    pub(super) not_checked: BTreeMap<Invariant, String>,
    /// The first hundred.
    pub(super) violations: Vec<Violation>,
}

impl Verdict {
    pub(super) fn add(&mut self, invariant: Invariant, order: Option<&str>, what: String) {
        *self.broken.entry(invariant).or_default() += 1;
        if self.violations.len() < KEPT {
            let order = order.map(str::to_owned);
            self.violations.push(Violation { invariant, order, what });
        }
    }

    /// Adds a violation of an order unless `holds`.
    pub(super) fn demand(
        &mut self,
        holds: bool,
        of: Invariant,
        order: &str,
        what: impl Fn() -> String,
    ) {
        if !holds {
            self.add(of, Some(order), what());
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.broken.values().sum()
    }
}
