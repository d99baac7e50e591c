//! Parked messages: each has a reason, and the bytes as they were.

use std::collections::{HashMap, HashSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use quadrille::broker::Stored;
use serde::Deserialize;

use super::part::fingerprint;
use super::verdict::{Invariant, Verdict};

#[derive(Deserialize)]
struct Entry {
    reason: String,
    sequence: u64,
    payload_base64: String,
}

/// The orders of which something is parked.
#[derive(Debug, Default)]
pub(super) struct Entries(HashSet<String>);

impl Entries {
    pub(super) fn has(&self, order: &str) -> bool {
        self.0.contains(order)
    }

    /// `payloads` are those of the log, by their sequences, of orders that are not closed.
    pub(super) fn take(
        &mut self,
        message: &Stored,
        order: &str,
        payloads: &HashMap<u64, u64>,
        found: &mut Verdict,
    ) {
        // The same stream has what was released, and the operators' own notes.
        if !message.subject.starts_with("parked.") {
            return;
        }
        let mut wrong = |what: &str| {
            let what = format!("entry {} {what}", message.sequence);
            found.add(Invariant::Parked, Some(order), what);
        };
        let Ok(entry) = serde_json::from_slice::<Entry>(&message.payload) else {
            return wrong("has no reason, or no bytes");
        };
        if entry.reason.is_empty() {
            return wrong("has no reason");
        }
        let Ok(payload) = STANDARD.decode(&entry.payload_base64) else {
            return wrong("has bytes that are not base64");
        };
        if payloads.get(&entry.sequence).is_some_and(|known| *known != fingerprint(&payload)) {
            return wrong("has other bytes than the log");
        }
        self.0.insert(order.to_owned());
    }
}
