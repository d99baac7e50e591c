//! What the rows hold of one saga: its events as a story tells them, without their payloads.

use jiff::Timestamp;
use quadrille::SagaId;
use quadrille::log::story::{Cause, Fact, Line};
use rusqlite::{Connection, Row};

use crate::fold::kind_of;

const SELECT: &str = "SELECT slot, kind, source, reason, sequence, stored_at, type, attempt, \
    wait_us, work_us, cause FROM events WHERE saga = ?1 ORDER BY sequence";

/// The events of a saga, for [`retell`](quadrille::log::story::retell), by one index, so that
/// they cost the same with a million sagas in the rows. Times are to the microsecond.
///
/// # Errors
/// Those of SQLite.
pub fn lines(rows: &Connection, saga: &SagaId) -> rusqlite::Result<Vec<Line>> {
    let line = |row: &Row<'_>| {
        let Fact { slot, kind, source, reason, sequence, stored_at } = fact(row)?;
        let ms = |at| -> rusqlite::Result<Option<f64>> {
            Ok(row.get::<_, Option<i64>>(at)?.map(|time| time as f64 / 1e3))
        };
        let cause: Option<u64> = row.get(10)?;
        Ok(Line {
            sequence,
            slot: slot.into_owned(),
            kind,
            event_type: row.get(6)?,
            source: source.into_owned(),
            reason: Some(reason.into_owned()).filter(|reason| !reason.is_empty()),
            stored_at,
            since_opened_ms: None,
            cause: cause.map(|sequence| Cause { sequence, slot: None }),
            attempt: row.get(7)?,
            wait_ms: ms(8)?,
            work_ms: ms(9)?,
        })
    };
    rows.prepare_cached(SELECT)?.query_map([saga.as_str()], line)?.collect()
}

/// Its facts, as far as the fold has come.
pub(crate) fn facts(rows: &Connection, saga: &SagaId) -> rusqlite::Result<Vec<Fact>> {
    rows.prepare_cached(SELECT)?.query_map([saga.as_str()], fact)?.collect()
}

fn fact(row: &Row<'_>) -> rusqlite::Result<Fact> {
    let kind: String = row.get(1)?;
    let reason: Option<String> = row.get(3)?;
    Ok(Fact {
        slot: row.get::<_, String>(0)?.into(),
        kind: kind_of(&kind),
        source: row.get::<_, String>(2)?.into(),
        reason: reason.unwrap_or_default().into(),
        sequence: row.get(4)?,
        stored_at: Timestamp::from_microsecond(row.get(5)?).unwrap_or(Timestamp::UNIX_EPOCH),
    })
}
