//! The orders that are looked at together: those whose ids fall into one of so many parts.

use std::collections::{BTreeMap, HashMap};

use quadrille::KeyNamespace;
use quadrille::broker::Stored;
use schemas::order_fulfilment::FLOW;

use super::endings;
use super::fold::{Order, unread};
use super::ledger::{self, Effect};
use super::parked::Entries;
use super::stock::Stock;
use super::verdict::{Invariant, Verdict};

/// A part of the orders.
#[derive(Debug)]
pub(super) struct Part {
    number: u64,
    of: u64,
    keys: Option<KeyNamespace>,
    at_rest: bool,
    orders: BTreeMap<String, Order>,
    entries: Entries,
    stock: Stock,
    /// Hashes of the payloads of this part's messages that may have been parked.
    payloads: HashMap<u64, u64>,
    last: u64,
    /// Whether the log has all orders, as far as it has been read.
    whole: bool,
}

impl Part {
    pub(super) fn new(number: u64, of: u64, at_rest: bool, keys: Option<KeyNamespace>) -> Self {
        Self {
            number,
            of,
            keys,
            at_rest,
            orders: BTreeMap::new(),
            entries: Entries::default(),
            stock: Stock::default(),
            payloads: HashMap::new(),
            last: 0,
            whole: false,
        }
    }

    pub(super) fn is_the_last(&self) -> bool {
        self.number + 1 == self.of
    }

    pub(super) fn is_empty(&self) -> bool {
        self.orders.values().all(|order| order.told.is_empty())
    }

    fn has(&self, order: &str) -> bool {
        hash(order.as_bytes()) % self.of == self.number
    }

    /// What is of no order is counted once.
    fn is_first(&self) -> bool {
        self.number == 0
    }

    /// A message of the log; `whole` if none may be missing before it.
    pub(super) fn message(&mut self, message: &Stored, whole: bool, found: &mut Verdict) {
        self.whole = whole;
        let (sequence, subject) = (message.sequence, &message.subject);
        if self.is_first() {
            found.messages += 1;
            if whole && sequence != self.last + 1 {
                let what = format!("{sequence} follows {}", self.last);
                found.add(Invariant::Slots, None, what);
            }
            self.last = sequence;
        }
        let Some((slot, id)) = FLOW.parse_subject(subject) else {
            if self.is_first() {
                found.add(Invariant::Contract, None, unread(message));
            }
            return;
        };
        if self.has(id.as_str()) {
            self.payloads.insert(sequence, hash(&message.payload));
            let order = self.orders.entry(id.to_string()).or_default();
            order.take(slot, &id, message, found);
            // Of a closed order nothing is looked up any more.
            if order.is_closed() {
                for told in order.told.values() {
                    self.payloads.remove(&told.sequence);
                }
            }
        }
    }

    pub(super) fn effect(&mut self, effect: Effect, found: &mut Verdict) {
        if self.is_first() {
            found.effects += 1;
        }
        match effect.order.clone() {
            Some(order) if self.has(&order) => {
                self.orders.entry(order).or_default().effects.push(effect);
            }
            Some(_) => {}
            None if self.is_first() => {
                let what = format!("{} for no order", effect.effect);
                found.add(Invariant::Effects, None, what);
            }
            None => {}
        }
    }

    pub(super) fn parked(&mut self, message: &Stored, found: &mut Verdict) {
        let order = message.subject.rsplit('.').next().unwrap_or_default();
        if self.has(order) {
            self.entries.take(message, order, &self.payloads, found);
        }
    }

    pub(super) fn stock(&mut self, message: &Stored, found: &mut Verdict) {
        let (first, number, of) = (self.is_first(), self.number, self.of);
        let mine = |order: &str| hash(order.as_bytes()) % of == number;
        self.stock.take(message, first, mine, found);
    }

    pub(super) fn forget_levels(&mut self) {
        self.stock.forget_levels();
    }

    /// Judges every order of this part.
    pub(super) fn judge(mut self, by_ledger: bool, by_stock: bool, found: &mut Verdict) {
        for (id, order) in &mut self.orders {
            if !order.is_in_the_log() {
                // What happened after the end of the log was looked up is of later orders.
                for effect in order.effects.iter().filter(|effect| self.whole && !effect.late) {
                    let what = format!("{} for an order that is not in the log", effect.effect);
                    found.add(Invariant::Effects, Some(id), what);
                }
                continue;
            }
            order.parked = self.entries.has(id);
            order.causes(id, found);
            endings::check(id, order, self.at_rest, found);
            if by_ledger {
                ledger::check(id, order, self.keys, found);
            }
            if by_stock {
                self.stock.holds_what_it_should(id, order, found);
            }
        }
        self.stock.adds_up(found);
    }
}

/// FNV-1a: the same in each pass, and cheap.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// As the payload of a parked message is compared.
pub(super) fn fingerprint(payload: &[u8]) -> u64 {
    hash(payload)
}
