//! How often each message in hand failed while the others were answered.
//!
//! A charge is *pending* until a call that began after it is answered: if the run of failures turns
//! out to be an outage, it is forgiven. So an outage charges nothing, not even to the message that
//! was at its last attempt but one when it began.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::breaker::MessageId;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Charges {
    certain: BTreeMap<MessageId, u32>,
    pending: Vec<(MessageId, Duration)>,
    totals: BTreeMap<u16, u64>,
}

impl Charges {
    /// Charges a failure, unless the message has as many as it may have.
    pub(super) fn charge(&mut self, message: MessageId, most: u32, now: Duration) {
        let pending = self.pending.iter().filter(|(pending, _)| *pending == message).count();
        if (self.of(message) as usize) + pending < most as usize {
            self.pending.push((message, now));
        }
    }

    /// A call that began at `began` was answered: what failed before that was the messages' own
    /// fault. A late answer to an early call proves nothing about what failed in between.
    pub(super) fn confirm(&mut self, began: Duration) {
        let Self { certain, pending, totals } = self;
        pending.retain(|(message, failed)| {
            let is_certain = *failed <= began;
            if is_certain {
                *certain.entry(*message).or_default() += 1;
                *totals.entry(message.source).or_default() += 1;
            }
            !is_certain
        });
    }

    /// It was the dependency, not the messages.
    pub(super) fn forgive(&mut self) {
        self.pending.clear();
    }

    pub(super) fn of(&self, message: MessageId) -> u32 {
        self.certain.get(&message).copied().unwrap_or_default()
    }

    pub(super) fn at_least(&self, charges: u32) -> impl Iterator<Item = MessageId> {
        let enough = self.certain.iter().filter(move |(_, certain)| **certain >= charges);
        enough.map(|(message, _)| *message)
    }

    pub(super) fn load(&mut self, message: MessageId, attempts: u32) {
        if attempts > 0 {
            let known = self.certain.entry(message).or_default();
            *known = attempts.max(*known);
        }
    }

    pub(super) fn forget(&mut self, message: MessageId) {
        self.certain.remove(&message);
        self.pending.retain(|(pending, _)| *pending != message);
    }

    /// By subscription.
    pub(super) fn totals(&self) -> impl Iterator<Item = (u16, u64)> {
        self.totals.iter().map(|(source, total)| (*source, *total))
    }
}
