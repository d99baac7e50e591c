//! Who is called next, and how many new messages may be pulled.

use std::time::Duration;

use super::{NEW_WORK_FIRST, Replica};
use crate::breaker::machine::{Offer, State};
use crate::breaker::{Message, MessageId};

impl Replica {
    /// How many new messages may be pulled now. Zero: the gate is shut.
    pub fn room(&self, now: Duration) -> u32 {
        let in_hand_first = || self.held.values().any(|held| held.not_before <= now);
        let room = match self.machine.offer(now) {
            Offer::Nothing => return 0,
            Offer::Free { free, .. } => free,
            Offer::Single { .. } => 1,
            Offer::Probe { first: true, .. } if in_hand_first() => return 0,
            Offer::Probe { .. } => 1,
        };
        let waiting = self.held.values().filter(|held| held.is_first_try()).count();
        room.saturating_sub(u32::try_from(waiting).unwrap_or(u32::MAX))
    }

    /// Whether one call may now show whether the dependency answers, and it is to be of a message
    /// ahead of its turn. Every third single call is by turn, and an undo in hand goes first.
    pub fn wants_ahead(&self, now: Duration) -> bool {
        let allowed = || self.held.values().filter(|held| held.not_before <= now);
        let new_undo = || allowed().any(|held| held.is_first_try() && held.undo);
        self.looks_ahead
            && match self.machine.offer(now) {
                Offer::Nothing | Offer::Free { .. } => false,
                Offer::Single { .. } => self.ahead_in_a_row < 2 && !new_undo(),
                Offer::Probe { first: true, .. } => allowed().next().is_none(),
                Offer::Probe { first: false, .. } => !new_undo(),
            }
    }

    /// Whether somebody here waits for a message that is on its way.
    pub fn waits_for_expected(&self) -> bool {
        let doubts = self.machine.doubting_since().is_some();
        self.machine.is_probing() || self.looks_ahead && doubts
    }

    pub(super) fn choose(&self, now: Duration) -> Option<MessageId> {
        let allowed = || self.held.values().filter(|held| held.not_before <= now);
        let untried = || allowed().filter(|held| held.is_first_try());
        let late = |since: Duration| now >= since + NEW_WORK_FIRST;
        // One ahead of its turn goes before them, and needs a moment to be found and to come here.
        let comes = |since| self.expects || !self.more.is_empty() && !late(since);
        let waits = |since| self.wants_ahead(now) && comes(since);
        let new = |since| untried().filter(move |held| held.undo || !waits(since));
        match self.machine.offer(now) {
            Offer::Nothing => None,
            Offer::Free { retries, .. } => {
                let new_work = !self.more.is_empty() || untried().next().is_some();
                let due = allowed().filter(|held| held.due <= now);
                let undo_first = !self.machine.is_full_speed();
                let by_turn = |held: &&Message| (undo_first && !held.undo, held.due);
                let due = due.filter(|held| held.is_first_try() || retries > 0 || !new_work);
                due.min_by_key(by_turn).map(|held| held.id)
            }
            Offer::Single { since } => {
                first(new(since)).or_else(|| late(since).then(|| first(allowed())).flatten())
            }
            Offer::Probe { first: true, since } => {
                first(allowed()).or_else(|| late(since).then(|| first(untried())).flatten())
            }
            Offer::Probe { first: false, since } => {
                let left = || allowed().filter(|held| !self.had_its_turn(held));
                first(new(since)).or_else(|| late(since).then(|| first(left())).flatten())
            }
        }
    }

    /// The prober looked for new work and has none of its own left.
    pub(super) fn has_nothing_to_probe(&self, now: Duration) -> bool {
        match self.machine.offer(now) {
            Offer::Nothing | Offer::Free { .. } | Offer::Single { .. } => false,
            Offer::Probe { since, .. } => {
                let is_late = now >= since + self.settings.nothing_after();
                is_late && !self.expects && self.choose(now).is_none()
            }
        }
    }

    pub(super) fn had_its_turn(&self, message: &Message) -> bool {
        match self.machine.state() {
            State::Probing(probe) => probe.has_tried(message.id),
            State::Flowing | State::Doubting(_) | State::Shut => false,
        }
    }
}

/// What may decide something, undo before forward, then the one due first.
fn first<'a>(held: impl Iterator<Item = &'a Message>) -> Option<MessageId> {
    held.min_by_key(|held| (held.neutral, !held.undo, held.due)).map(|held| held.id)
}
