//! How each step of the flow is doing: how many it decides, how long that takes from its trigger
//! (the *critical time*), and who waits for it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use quadrille::Flow;
use quadrille_projection::rusqlite::{self, Connection, params};
use serde_json::{Value, json};

use crate::found::{milliseconds, shown};

/// Events looked at, the newest first.
const EVENTS: u32 = 20_000;

/// One answer row for each step, in flow order.
pub(crate) fn steps(
    rows: &Connection,
    flow: &Flow,
    window: Duration,
    now: Timestamp,
) -> rusqlite::Result<Value> {
    let since = now.as_microsecond().saturating_sub(i64::try_from(window.as_micros()).unwrap_or(0));
    let mut recent = rows.prepare_cached(
        "SELECT source, kind, wait_us + work_us, stored_at, slot FROM events \
         WHERE sequence > (SELECT coalesce(max(sequence), 0) FROM events) - ?1 AND slot <> ?2",
    )?;
    let pivots: Vec<_> = flow.steps.iter().filter_map(|row| Some(row.pivot?.slot)).collect();
    // The signal repeats what the refusal has said.
    let mut decided: BTreeMap<String, Decided> = BTreeMap::new();
    let mut events = recent.query(params![EVENTS, flow.turns.slot])?;
    let mut first = i64::MAX;
    while let Some(event) = events.next()? {
        let stored_at: i64 = event.get(3)?;
        first = first.min(stored_at);
        if stored_at < since {
            continue;
        }
        // Passing the pivot is no outcome yet; the step's own follows.
        let (kind, slot): (String, String) = (event.get(1)?, event.get(4)?);
        if kind == "forward" && pivots.contains(&&*slot) {
            continue;
        }
        let of = decided.entry(event.get(0)?).or_default();
        match kind.as_str() {
            "forward" => of.done += 1,
            "refusal" => of.refused += 1,
            "undo" => of.undone += 1,
            _ => continue,
        }
        of.took.extend(event.get::<_, Option<i64>>(2)?);
    }
    // Where the newest events do not reach back so far, the rate is of the time that they do.
    let from = if first > since && first != i64::MAX { first.max(since) } else { since };
    let seconds = (milliseconds(from, now.as_microsecond()) as f64 / 1e3).max(1.0);
    let steps = flow.steps.iter().map(|step| {
        let of = decided.remove(step.worker).unwrap_or_default();
        waiting(rows, step.worker, now).map(|waiting| of.json(step, seconds, waiting))
    });
    Ok(Value::Array(steps.collect::<rusqlite::Result<_>>()?))
}

#[derive(Default)]
struct Decided {
    done: u64,
    refused: u64,
    undone: u64,
    /// Microseconds from the trigger's being stored to the event's.
    took: Vec<i64>,
}

impl Decided {
    fn json(mut self, step: &quadrille::flow::Row, seconds: f64, waiting: Value) -> Value {
        self.took.sort_unstable();
        let at = |share: f64| {
            let last = self.took.len().checked_sub(1)?;
            Some(self.took[(last as f64 * share).round() as usize] as f64 / 1e3)
        };
        let all = self.done + self.refused + self.undone;
        json!({
            "worker": step.worker,
            "slot": step.slot,
            "after": step.on,
            "done": self.done,
            "refused": self.refused,
            "undone": self.undone,
            "per_second": (all as f64 / seconds * 10.0).round() / 10.0,
            "critical_ms": { "p50": at(0.5), "p95": at(0.95), "max": at(1.0) },
            "waiting": waiting,
        })
    }
}

/// How many sagas wait for a worker, and since when the one that waits longest.
fn waiting(rows: &Connection, worker: &str, now: Timestamp) -> rusqlite::Result<Value> {
    let count: u64 = rows
        .prepare_cached("SELECT coalesce(sum(sagas), 0) FROM counts WHERE waits_for = ?1")?
        .query_row([worker], |row| row.get(0))?;
    let since: Option<i64> = rows
        .prepare_cached(
            "SELECT min(waits_since) FROM sagas \
             WHERE waits_for = ?1 AND waits_since IS NOT NULL",
        )?
        .query_row([worker], |row| row.get(0))?;
    Ok(json!({
        "count": count,
        "oldest_since": since.and_then(shown),
        "oldest_ms": since.map(|since| milliseconds(since, now.as_microsecond())),
    }))
}
