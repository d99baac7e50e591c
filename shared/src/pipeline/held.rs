//! The messages in hand that wait, or that have failed, for whoever asks about them. A message that
//! is decided at once is never noted, so that it costs nothing.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::time::Instant;

use super::worker::Worker;
use crate::SagaId;
use crate::breaker::MessageId;

/// Longest error that is kept, in characters.
pub(super) const MAX_ERROR: usize = 200;

/// The notes of a process.
#[derive(Debug, Default)]
pub(crate) struct Held(Mutex<BTreeMap<MessageId, Note>>);

/// What is known of one message.
#[derive(Debug, Clone)]
pub(crate) struct Note {
    pub(crate) saga: SagaId,
    /// Attempts that were made.
    pub(crate) attempt: u32,
    pub(crate) last_error: Option<String>,
    /// By the broker's clock.
    pub(crate) since: Timestamp,
    /// Where no breaker says it.
    pub(crate) next_try: Option<Instant>,
}

impl Held {
    /// Notes a message for as long as the returned value lives. A second delivery of a message that
    /// is noted already leaves the note to the first.
    pub(crate) fn note<'h>(
        &'h self,
        worker: &Worker,
        message: MessageId,
        saga: &SagaId,
    ) -> Option<Noted<'h>> {
        match self.lock().entry(message) {
            Entry::Occupied(_) => None,
            Entry::Vacant(place) => {
                let (saga, since) = (saga.clone(), worker.clock.now());
                place.insert(Note { saga, attempt: 0, last_error: None, since, next_try: None });
                Some(Noted { held: self, message })
            }
        }
    }

    /// All notes, in the order of the durables, then of the stream.
    pub(crate) fn notes(&self) -> Vec<(MessageId, Note)> {
        self.lock().iter().map(|(id, note)| (*id, note.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<MessageId, Note>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A message that is noted; its end takes the note away.
#[derive(Debug)]
pub(crate) struct Noted<'h> {
    held: &'h Held,
    message: MessageId,
}

impl Noted<'_> {
    pub(crate) fn failed(&self, attempt: u32, why: &str) {
        self.change(|note| {
            note.attempt = attempt;
            note.last_error = Some(one_line(why, MAX_ERROR));
            note.next_try = None;
        });
    }

    /// Of the last attempt that failed.
    pub(crate) fn last_error(&self) -> Option<String> {
        self.held.lock().get(&self.message).and_then(|note| note.last_error.clone())
    }

    pub(crate) fn waits_until(&self, next_try: Instant) {
        self.change(|note| note.next_try = Some(next_try));
    }

    fn change(&self, change: impl FnOnce(&mut Note)) {
        if let Some(note) = self.held.lock().get_mut(&self.message) {
            change(note);
        }
    }
}

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        self.held.lock().remove(&self.message);
    }
}

/// Text of others as one line of at most `longest` characters.
pub(crate) fn one_line(text: &str, longest: usize) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(plain).take(longest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_service_says_is_cut_to_one_line() {
        assert_eq!(one_line("a\r\nb\u{1b}[31m", 100), "a  b [31m");
        assert_eq!(one_line(&"ä".repeat(300), MAX_ERROR).chars().count(), MAX_ERROR);
    }
}
