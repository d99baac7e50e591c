//! Every effect the services had, in order: the ground truth of tests.
//!
//! An effect is something that happened to money or parcels, or was refused for good. Replays,
//! faults and bad requests leave no trace here; they are counted in `calls`.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Effect {
    IntentCreated,
    Captured,
    Declined,
    Canceled,
    Refunded,
    OverRefundRefused,
    LabelBought,
    DestinationRefused,
}

/// What happened, to whom, under which key. Amounts are minor units.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fact {
    pub(crate) effect: Effect,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) order: Option<String>,
    pub(crate) key: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) amount: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) currency: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) intent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) label: Option<String>,
}

/// One line of the ledger: a fact with its number, from 1 without gaps, and its time.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Entry {
    pub(crate) n: u64,
    pub(crate) at: Timestamp,
    #[serde(flatten)]
    pub(crate) fact: Fact,
}

#[derive(Debug, Serialize)]
pub(crate) struct Balance {
    captured: u64,
    refunded: u64,
    balance: u64,
}

/// Sums by currency in minor units, and how often each effect happened.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Summary {
    captured: BTreeMap<String, u64>,
    refunded: BTreeMap<String, u64>,
    labels: u64,
    effects: BTreeMap<Effect, u64>,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    entries: Vec<Entry>,
    by_order: HashMap<String, Vec<usize>>,
    summary: Summary,
}

impl Ledger {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The lines for these facts, without writing them yet.
    pub(crate) fn number(&self, at: Timestamp, facts: &[Fact]) -> Vec<Entry> {
        let next = self.entries.len() as u64 + 1;
        (next..).zip(facts).map(|(n, fact)| Entry { n, at, fact: fact.clone() }).collect()
    }

    pub(crate) fn append(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            self.summary.add(&entry.fact);
            if let Some(order) = &entry.fact.order {
                self.by_order.entry(order.clone()).or_default().push(self.entries.len());
            }
            self.entries.push(entry);
        }
    }

    pub(crate) fn entries_from(&self, first: usize) -> &[Entry] {
        &self.entries[first..]
    }

    /// The lines of one order or of all, and of one effect or of any.
    pub(crate) fn select(&self, order: Option<&str>, effect: Option<Effect>) -> Vec<&Entry> {
        let wanted = |entry: &&Entry| effect.is_none_or(|effect| entry.fact.effect == effect);
        match order {
            Some(order) => self.of_order(order).filter(wanted).collect(),
            None => self.entries.iter().filter(wanted).collect(),
        }
    }

    pub(crate) fn summary(&self) -> &Summary {
        &self.summary
    }

    /// What the service holds for this order: captured minus refunded, in minor units.
    pub(crate) fn balance(&self, order: &str) -> Balance {
        let sum = |effect| {
            self.of_order(order)
                .filter(|entry| entry.fact.effect == effect)
                .filter_map(|entry| entry.fact.amount)
                .sum::<u64>()
        };
        let (captured, refunded) = (sum(Effect::Captured), sum(Effect::Refunded));
        // Cannot go below zero: a refund above what is held is refused.
        Balance { captured, refunded, balance: captured - refunded }
    }

    fn of_order(&self, order: &str) -> impl Iterator<Item = &Entry> {
        let places = self.by_order.get(order).map_or(&[][..], Vec::as_slice);
        places.iter().map(|&place| &self.entries[place])
    }
}

impl Summary {
    fn add(&mut self, fact: &Fact) {
        *self.effects.entry(fact.effect).or_default() += 1;
        let sums = match fact.effect {
            Effect::Captured => &mut self.captured,
            Effect::Refunded => &mut self.refunded,
            Effect::LabelBought => {
                self.labels += 1;
                return;
            }
            Effect::IntentCreated
            | Effect::Declined
            | Effect::Canceled
            | Effect::OverRefundRefused
            | Effect::DestinationRefused => return,
        };
        if let (Some(currency), Some(amount)) = (&fact.currency, fact.amount) {
            // Looked up before it is inserted: the currency is nearly always known.
            match sums.get_mut(currency) {
                Some(sum) => *sum += amount,
                None => {
                    sums.insert(currency.clone(), amount);
                }
            }
        }
    }
}
