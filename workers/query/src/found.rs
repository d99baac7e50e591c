//! A saga as lists and the search show it.

use jiff::Timestamp;
use quadrille_projection::rusqlite::{self, Row};
use serde_json::{Value, json};

/// A saga as a list shows it.
pub(crate) struct Found {
    saga: String,
    state: String,
    waits_for: Option<String>,
    pub(crate) waits_since: Option<i64>,
    reason: Option<String>,
    refused_at: Option<String>,
    refused_by: Option<String>,
    pub(crate) opened: i64,
    pub(crate) opened_at: i64,
    changed: i64,
    changed_at: i64,
    details: String,
}

impl Found {
    pub(crate) const COLUMNS: &'static str = "s.saga, s.state, s.waits_for, s.waits_since, \
        s.reason, s.refused_at, s.refused_by, s.opened, s.opened_at, s.changed, s.changed_at, \
        s.details";

    pub(crate) fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            saga: row.get(0)?,
            state: row.get(1)?,
            waits_for: row.get(2)?,
            waits_since: row.get(3)?,
            reason: row.get(4)?,
            refused_at: row.get(5)?,
            refused_by: row.get(6)?,
            opened: row.get(7)?,
            opened_at: row.get(8)?,
            changed: row.get(9)?,
            changed_at: row.get(10)?,
            details: row.get(11)?,
        })
    }

    pub(crate) fn id(&self) -> &str {
        &self.saga
    }

    /// Whether it is not over.
    pub(crate) fn waits(&self) -> bool {
        self.waits_for.is_some()
    }

    pub(crate) fn json(&self, now: Timestamp) -> Value {
        let closed = self.waits_for.is_none();
        let until = if closed { self.changed_at } else { now.as_microsecond() };
        json!({
            "id": self.saga,
            "state": self.state,
            "waits_for": self.waits_for,
            "waits_since": self.waits_since.map(shown),
            "waits_ms": self.waits_since.map(|since| milliseconds(since, now.as_microsecond())),
            "reason": self.reason,
            "refused_at": self.refused_at,
            "refused_by": self.refused_by,
            "opened": self.opened,
            "opened_at": shown(self.opened_at),
            "changed": self.changed,
            "changed_at": shown(self.changed_at),
            "age_ms": milliseconds(self.opened_at, until),
            "details": serde_json::from_str::<Value>(&self.details).unwrap_or_default(),
        })
    }
}

/// Microseconds since 1970, as RFC 3339.
pub(crate) fn shown(microseconds: i64) -> Option<String> {
    Timestamp::from_microsecond(microseconds).ok().map(|time| time.to_string())
}

/// From one time to another, in microseconds; never negative, because clocks differ.
pub(crate) fn milliseconds(from: i64, to: i64) -> i64 {
    to.saturating_sub(from).max(0) / 1_000
}
