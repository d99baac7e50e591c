//! One search box: whatever identifies an event or a saga finds the saga.

use std::collections::BTreeMap;

use jiff::Timestamp;
use quadrille_projection::rusqlite::{self, Connection, OptionalExtension, params};
use serde_json::{Value, json};

use crate::found::Found;

/// Values looked at, and sagas in an answer.
const VALUES: u32 = 200;
const SAGAS: usize = 20;

/// A saga that was found.
struct Hit {
    /// What the text is to it: `customer`, `tracking`, `sequence`.
    by: String,
    value: String,
    exact: bool,
}

/// Sagas that the text identifies, or whose ids, references or their parts begin with it; exact
/// ones first. And whether there may be more.
pub(crate) fn find(
    rows: &Connection,
    text: &str,
    now: Timestamp,
) -> rusqlite::Result<(Vec<Value>, bool)> {
    let mut hits: BTreeMap<(bool, String), Hit> = BTreeMap::new();
    let mut hit = |saga: String, by: &str, value: &str, exact: bool| {
        let new = Hit { by: by.to_owned(), value: value.to_owned(), exact };
        // The first one that is found of a saga stays; an exact one is first in the map.
        if !hits.contains_key(&(false, saga.clone())) {
            hits.entry((!exact, saga)).or_insert(new);
        }
    };
    if let Ok(sequence) = text.parse::<i64>() {
        let saga = rows
            .prepare_cached("SELECT saga FROM events WHERE sequence = ?1")?
            .query_row([sequence], |row| row.get(0))
            .optional()?;
        saga.into_iter().for_each(|saga| hit(saga, "sequence", text, true));
    }
    let mut events =
        rows.prepare_cached("SELECT saga FROM events WHERE event IN (?1, ?2) LIMIT 20")?;
    for saga in events.query_map([text, &text.to_lowercase()], |row| row.get(0))? {
        hit(saga?, "event", text, true);
    }
    let low = text.to_lowercase();
    let mut refs = rows.prepare_cached(
        "SELECT saga, kind, value FROM refs WHERE value >= ?1 AND value < ?2 \
         ORDER BY value LIMIT ?3",
    )?;
    // No reference has a character beyond this one.
    let end = format!("{low}\u{10FFFF}");
    let mut seen = 0;
    for found in refs.query_map(params![low, end, VALUES], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
    })? {
        let (saga, kind, value) = found?;
        seen += 1;
        hit(saga, &kind, &value, value == low);
    }
    let more = hits.len() > SAGAS || seen == VALUES;
    let sql = format!("SELECT {} FROM sagas s WHERE s.saga = ?1", Found::COLUMNS);
    let mut sagas = rows.prepare_cached(&sql)?;
    let mut answer = Vec::new();
    for ((_, saga), hit) in hits.into_iter().take(SAGAS) {
        let found = sagas.query_row([&saga], Found::of).optional()?;
        let Hit { by, value, exact } = hit;
        answer.push(json!({
            "id": saga, "by": by, "value": value, "exact": exact,
            "saga": found.map(|found| found.json(now)),
        }));
    }
    Ok((answer, more))
}
