//! What must be true of every history, no matter what was killed, stopped, lost or sent twice.
//!
//! A second opinion: the checker reads only the log, the stock and the sandbox's ledger. It knows
//! the contract but none of the runtime's code, and works out the state of an order by itself. So
//! it cannot share the runtime's mistakes.

mod endings;
mod ledger;
mod money;
mod stock;
mod story;

#[cfg(test)]
mod broken;

use std::fmt;

use jiff::Timestamp;
use quadrille::KeyNamespace;
use serde::Deserialize;

use crate::stack::Logged;
use story::Story;

/// Everything that is known about what happened, at rest.
#[derive(Debug, Clone)]
pub struct History {
    /// In which the idempotency keys of the log are derived.
    pub keys: KeyNamespace,
    /// The stream `ORDERS`.
    pub log: Vec<Logged>,
    /// The stream `ORDERS_PARKED`.
    pub parked: Vec<Logged>,
    /// The stream `STOCK`.
    pub stock: Vec<Logged>,
    /// What the sandbox did.
    pub ledger: Vec<Effect>,
}

/// A line of the sandbox's ledger.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Effect {
    pub at: Timestamp,
    /// `captured`, `label-bought`, …
    pub effect: String,
    pub order: Option<String>,
    /// The request's idempotency key.
    pub key: String,
    /// Minor units.
    pub amount: Option<u64>,
    pub currency: Option<String>,
    pub intent: Option<String>,
    pub label: Option<String>,
}

/// What a history must obey.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// One message per slot, in a log without holes.
    OnePerSlot,
    /// Type, source, subject and id of an event fit its slot.
    Contract,
    /// What caused an event is in the log before it.
    Cause,
    /// Every order is completed, cancelled, or parked with a reason.
    Ending,
    /// A completed order has done every step, and undone none.
    Completed,
    /// A cancelled order has undone, in reverse, all that it did or may have done.
    Cancelled,
    /// Stocked is free plus held; completed orders hold stock, and no others do.
    Stock,
    /// Money is held for completed orders, at their price, and for no others.
    Money,
    /// A parcel is sent if and only if the order is completed, and only after `go`.
    Parcel,
    /// Every effect has an idempotency key that follows from its order, and no key has two effects.
    OneEffectPerKey,
    /// What the log records has happened.
    Recorded,
}

/// A rule that a history breaks, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub rule: Rule,
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.what)
    }
}

/// Every violation; empty for a sound history.
pub fn check(history: &History) -> Vec<Violation> {
    let mut found = Findings::default();
    let stories = story::stories(history, &mut found);
    for story in stories.values() {
        story::causes(story, &mut found);
        endings::check(story, &mut found);
        ledger::keys(history.keys, story, &mut found);
        ledger::recorded(story, &mut found);
        money::check(story, &mut found);
    }
    ledger::strangers(history, &stories, &mut found);
    stock::check(history, &stories, &mut found);
    found.0
}

/// At most twenty of them, one per line.
pub fn listing(violations: &[Violation]) -> String {
    let lines: Vec<_> = violations.iter().take(20).map(ToString::to_string).collect();
    format!("{} violations of invariants:\n  {}", violations.len(), lines.join("\n  "))
}

/// Violations as they are found.
#[derive(Debug, Default)]
struct Findings(Vec<Violation>);

impl Findings {
    fn add(&mut self, rule: Rule, what: impl Into<String>) {
        self.0.push(Violation { rule, what: what.into() });
    }

    /// Adds a violation of an order unless `holds`.
    fn demand(&mut self, holds: bool, rule: Rule, story: &Story<'_>, what: impl fmt::Display) {
        if !holds {
            self.add(rule, format!("order {}: {what}", story.id));
        }
    }
}
