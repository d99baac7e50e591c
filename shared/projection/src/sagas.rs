//! The tables that most read models want: where each saga stands, by what it is found, and how many
//! there are. A model that uses them says only what is special about its own events.
//!
//! `sagas` has a row for each saga that was opened; `tags` what lists are filtered by (*customer*);
//! `refs` what the search finds a saga by, in lower case; `counts` how many stand where.

use quadrille::log::story::State;
use rusqlite::types::Value;
use serde_json::Map;

use crate::fold::phase_name;
use crate::read_model::{Happened, Rows, number, text, text_or_null, time};

/// For [`ReadModel::tables`](crate::ReadModel::tables).
pub const TABLES: &str = "
CREATE TABLE sagas (
  saga TEXT PRIMARY KEY,
  opened INTEGER NOT NULL, opened_at INTEGER NOT NULL,  -- sequence, and microseconds since 1970
  state TEXT NOT NULL,          -- open, cancelling, completed or cancelled
  waits_for TEXT,               -- the worker whose turn it is
  waits_since INTEGER,
  reason TEXT, refused_at TEXT, refused_by TEXT,        -- what turned it around
  changed INTEGER NOT NULL, changed_at INTEGER NOT NULL,
  details TEXT NOT NULL         -- JSON
);
CREATE TABLE tags (
  name TEXT NOT NULL, value TEXT NOT NULL, saga TEXT NOT NULL,
  opened INTEGER NOT NULL, opened_at INTEGER NOT NULL
);
CREATE TABLE refs (value TEXT NOT NULL, kind TEXT NOT NULL, saga TEXT NOT NULL);
CREATE TABLE counts (
  state TEXT NOT NULL, waits_for TEXT NOT NULL, sagas INTEGER NOT NULL,
  PRIMARY KEY (state, waits_for)
) WITHOUT ROWID;
";

/// For [`ReadModel::indexes`](crate::ReadModel::indexes).
pub const INDEXES: &str = "
CREATE INDEX sagas_opened ON sagas (opened_at, opened);
CREATE INDEX sagas_state ON sagas (state, opened_at, opened);
CREATE INDEX sagas_waits_for ON sagas (waits_for, opened_at, opened)
  WHERE waits_for IS NOT NULL;
CREATE INDEX sagas_reason ON sagas (reason, opened_at, opened) WHERE reason IS NOT NULL;
CREATE INDEX sagas_refused_at ON sagas (refused_at, opened_at, opened)
  WHERE refused_at IS NOT NULL;
CREATE INDEX sagas_worst ON sagas (waits_since, opened) WHERE waits_since IS NOT NULL;
CREATE INDEX sagas_state_worst ON sagas (state, waits_since, opened)
  WHERE waits_since IS NOT NULL;
CREATE INDEX sagas_waits_for_worst ON sagas (waits_for, waits_since, opened)
  WHERE waits_since IS NOT NULL;
CREATE INDEX tags_value ON tags (name, value, opened_at, opened);
CREATE INDEX tags_saga ON tags (saga);
CREATE INDEX refs_value ON refs (value);
CREATE INDEX events_event ON events (event) WHERE event IS NOT NULL;
";

const OPEN: &str = "INSERT INTO sagas (saga, opened, opened_at, state, waits_for, waits_since, \
    reason, refused_at, refused_by, changed, changed_at, details) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) \
    ON CONFLICT DO NOTHING";
const CHANGE: &str = "UPDATE sagas SET state = ?2, waits_for = ?3, waits_since = ?4, reason = ?5, \
    refused_at = ?6, refused_by = ?7, changed = ?8, changed_at = ?9 WHERE saga = ?1";
const DETAILS: &str = "UPDATE sagas SET details = json_patch(details, ?2) WHERE saga = ?1";
const TAG: &str =
    "INSERT INTO tags (name, value, saga, opened, opened_at) VALUES (?1, ?2, ?3, ?4, ?5)";
const REF: &str = "INSERT INTO refs (value, kind, saga) VALUES (?1, ?2, ?3)";
const COUNT: &str = "INSERT INTO counts (state, waits_for, sagas) VALUES (?1, ?2, ?3) \
    ON CONFLICT DO UPDATE SET sagas = sagas + excluded.sagas";

/// What is special about one event.
#[derive(Debug, Default)]
pub struct Shown {
    /// Shown with the saga in lists: added to what its earlier events gave.
    pub details: Map<String, serde_json::Value>,
    /// What lists are filtered by, by the name of the filter.
    pub tags: Vec<(&'static str, String)>,
    /// What the saga is found by, and what that is: `("tracking", "JD0142")`.
    pub refs: Vec<(&'static str, String)>,
}

impl Shown {
    /// Adds a detail.
    pub fn detail(&mut self, name: &str, value: impl Into<serde_json::Value>) {
        self.details.insert(name.to_owned(), value.into());
    }

    /// Adds something to filter by, and to be found by.
    pub fn tag(&mut self, name: &'static str, value: impl Into<String>) {
        let value = value.into();
        self.tags.push((name, value.clone()));
        self.refs.push((name, value));
    }

    /// Adds something to be found by.
    pub fn found_by(&mut self, kind: &'static str, value: impl Into<String>) {
        self.refs.push((kind, value.into()));
    }
}

/// Changes the rows of the saga that something happened to. Its own id, the ends of
/// it that people type, and its trace are found without being named in `shown`.
pub fn apply(happened: &Happened<'_>, shown: Shown, rows: &mut Rows) {
    let saga = text(happened.saga.as_str());
    let opens = happened.fact.slot == happened.flow.opens.slot;
    if let (Some(state), Some(opening)) = (happened.after, happened.opening) {
        let [changed, changed_at] = [number(happened.fact.sequence), time(happened.fact.stored_at)];
        let [phase, waits_for, since, reason, refused_at, refused_by] = stands(state);
        let [opened, opened_at] = [number(opening.sequence), time(opening.stored_at)];
        let details = || text(serde_json::Value::Object(shown.details.clone()).to_string());
        if opens {
            rows.write(
                OPEN,
                [
                    saga.clone(),
                    opened.clone(),
                    opened_at.clone(),
                    phase,
                    waits_for,
                    since,
                    reason,
                    refused_at,
                    refused_by,
                    changed,
                    changed_at,
                    details(),
                ],
            );
        } else {
            let saga = saga.clone();
            rows.write(
                CHANGE,
                [
                    saga, phase, waits_for, since, reason, refused_at, refused_by, changed,
                    changed_at,
                ],
            );
            if !shown.details.is_empty() {
                rows.write(DETAILS, [text(happened.saga.as_str()), details()]);
            }
        }
        for (name, value) in &shown.tags {
            let [opened, opened_at] = [opened.clone(), opened_at.clone()];
            rows.write(TAG, [text(name), text(value), saga.clone(), opened, opened_at]);
        }
        count(happened.before, state, rows);
    }
    let mut found_by = |kind: &str, value: &str| {
        rows.write(REF, [text(value.to_lowercase()), text(kind), saga.clone()]);
    };
    if opens {
        parts(happened.saga.as_str()).for_each(|part| found_by(happened.flow.saga, part));
        found_by("trace", &happened.trace());
    }
    for (kind, value) in &shown.refs {
        found_by(kind, value);
    }
}

/// An id and its ends: each that follows a dash or an underscore, and the number (`A123`: `123`).
fn parts(id: &str) -> impl Iterator<Item = &str> {
    let separated = id.match_indices(['-', '_']).map(|(at, _)| at + 1);
    let number = id.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let number = Some(number).filter(|at| *at > 0 && !id[..*at].ends_with(['-', '_']));
    let starts = std::iter::once(0).chain(separated).chain(number);
    starts.filter(|at| *at < id.len()).map(|at| &id[at..])
}

fn stands(state: &State) -> [Value; 6] {
    let waits = state.waits_for.as_ref();
    let turn = state.turned_by.as_ref();
    [
        text(phase_name(state.phase)),
        text_or_null(waits.map(|waits| &waits.worker)),
        waits.map_or(Value::Null, |waits| time(waits.since)),
        text_or_null(turn.map(|turn| &turn.reason)),
        text_or_null(turn.map(|turn| &turn.slot)),
        text_or_null(turn.map(|turn| &turn.by)),
    ]
}

fn count(before: Option<&State>, after: &State, rows: &mut Rows) {
    let place = |state: &State| {
        let waits = state.waits_for.as_ref().map_or("", |waits| &waits.worker);
        [phase_name(state.phase).to_owned(), waits.to_owned()]
    };
    let (from, to) = (before.map(place), place(after));
    if from.as_ref() == Some(&to) {
        return;
    }
    for (place, by) in from.into_iter().map(|from| (from, -1)).chain([(to, 1)]) {
        let [state, waits_for] = place.map(Value::Text);
        rows.write(COUNT, [state, waits_for, Value::Integer(by)]);
    }
}
