//! What happened, in the order of the log, from a place on: as a stream of events for browsers, and
//! page by page for others. A reader that names the last place it saw misses nothing and sees
//! nothing twice.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::Stream;
use quadrille::log::token::Token;
use quadrille::service::Stopping;
use quadrille::service::problem::Problem;
use quadrille_projection::rusqlite::{self, Connection, Row, params};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::api::{Api, unavailable};
use crate::found::shown;
use crate::question::{Question, bad};

/// Events of one read.
const MOST: u64 = 500;
/// A reader that is further behind begins anew, because it is faster to read the lists again.
const FURTHEST: u64 = 10_000;
/// The wait after a read that failed.
const TROUBLE: Duration = Duration::from_millis(500);

/// Events after this sequence, and how far the rows are.
async fn after(api: &Api, sequence: u64, limit: u64) -> Result<(Vec<Value>, Token), Problem> {
    let query = move |rows: &Connection| {
        let mut events = rows.prepare_cached(
            "SELECT sequence, saga, slot, kind, type, source, reason, stored_at, wait_us, \
             work_us, state, waits_for FROM events WHERE sequence > ?1 ORDER BY sequence LIMIT ?2",
        )?;
        events.query_map(params![sequence, limit], event)?.collect::<rusqlite::Result<Vec<_>>>()
    };
    api.rows(&Question::default(), query).await
}

fn event(row: &Row<'_>) -> rusqlite::Result<Value> {
    let milliseconds = |at| -> rusqlite::Result<Option<f64>> {
        Ok(row.get::<_, Option<i64>>(at)?.map(|time| time as f64 / 1e3))
    };
    Ok(json!({
        "sequence": row.get::<_, u64>(0)?,
        "id": row.get::<_, String>(1)?,
        "slot": row.get::<_, String>(2)?,
        "kind": row.get::<_, String>(3)?,
        "type": row.get::<_, String>(4)?,
        "source": row.get::<_, String>(5)?,
        "reason": row.get::<_, Option<String>>(6)?,
        "stored_at": shown(row.get(7)?),
        "wait_ms": milliseconds(8)?,
        "work_ms": milliseconds(9)?,
        "state": row.get::<_, Option<String>>(10)?,
        "waits_for": row.get::<_, Option<String>>(11)?,
    }))
}

/// The place after these events. Where there are no more, it is that of the rows, because not every
/// message of the log is an event of a saga.
fn next(place: Token, events: &[Value], limit: u64, rows: Token) -> Token {
    let last = events.last().and_then(|event| event["sequence"].as_u64());
    let last = last.unwrap_or(place.sequence);
    let all = (events.len() as u64) < limit && rows.created == place.created;
    Token { sequence: if all { last.max(rows.sequence) } else { last }, ..place }
}

/// Where a reader begins.
enum From {
    Place(Token),
    /// Its place is in another log, beyond the end of this one, or too far back.
    Resync,
}

async fn from(api: &Api, text: Option<&str>, present: Token) -> Result<From, Problem> {
    let Some(text) = text else { return Ok(From::Place(present)) };
    let what = "must be the token of an earlier answer";
    let token = api.projection.token(text).map_err(|_| bad("after", what, Some("4711")))?;
    let too_far = present.sequence.saturating_sub(token.sequence) > FURTHEST;
    let other = token.created != present.created;
    let gone = too_far || other || is_beyond(api, token, present).await?;
    Ok(if gone { From::Resync } else { From::Place(token) })
}

/// Whether the log has no such place. One that these rows have not reached may be known to another
/// replica's.
async fn is_beyond(api: &Api, token: Token, present: Token) -> Result<bool, Problem> {
    if token.sequence <= present.sequence {
        return Ok(false);
    }
    let state = api.broker.state(api.flow.stream).await;
    let state = state.map_err(|error| unavailable(&error.to_string()))?;
    Ok(state.is_none_or(|state| state.last_sequence < token.sequence))
}

/// One page, for readers over NATS; waits for the first event if there is none yet.
pub(crate) async fn page(api: &Api, question: &Question) -> Result<Value, Problem> {
    let limit = question.number("limit", 200, 1..=1_000)?;
    let wait = question.duration("wait")?.unwrap_or(api.settings.wait).min(api.settings.wait_max);
    let (_, present) = after(api, u64::MAX >> 1, 1).await?;
    let place = match from(api, question.text("after"), present).await? {
        From::Place(place) => place,
        From::Resync => {
            return Ok(json!({
                "resync": true, "changes": [], "after": present.to_string(),
                "as_of": api.as_of(Some(present)),
            }));
        }
    };
    if question.text("after").is_some() {
        let next = Token { sequence: place.sequence + 1, ..place };
        let _ = api.projection.wait(next, wait).await;
    }
    let (events, now) = after(api, place.sequence, limit).await?;
    let after = next(place, &events, limit, now);
    Ok(json!({
        "resync": false, "changes": events, "after": after.to_string(),
        "as_of": api.as_of(Some(now)),
    }))
}

/// A stream of events (`text/event-stream`) that ends when the process is to stop.
pub(crate) async fn stream(
    api: Arc<Api>,
    last: Option<String>,
    stopping: Stopping,
) -> Result<Body, Problem> {
    let (_, present) = after(&api, u64::MAX >> 1, 1).await?;
    let (place, first) = match from(&api, last.as_deref(), present).await? {
        From::Place(place) => (place, heartbeat(&api, place)),
        From::Resync => (present, resync(&api, present)),
    };
    let reader = Reader { api, place, rows: present, first: Some(first), stopping };
    Ok(Body::from_stream(events(reader)))
}

struct Reader {
    api: Arc<Api>,
    /// All up to here was sent.
    place: Token,
    /// What the rows were of, when they were last read.
    rows: Token,
    first: Option<String>,
    stopping: Stopping,
}

fn events(reader: Reader) -> impl Stream<Item = Result<Bytes, Infallible>> {
    futures::stream::unfold(reader, |mut reader| async move {
        let next = reader.next().await?;
        Some((Ok(Bytes::from(next)), reader))
    })
}

impl Reader {
    /// Some whole events; `None` at the end.
    async fn next(&mut self) -> Option<String> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        let mut stopping = self.stopping.clone();
        tokio::select! {
            () = stopping.asked() => None,
            text = self.text() => Some(text),
        }
    }

    async fn text(&mut self) -> String {
        let heartbeat_every = self.api.settings.heartbeat;
        let mut changes = self.api.projection.changes();
        loop {
            let (events, now) = match after(&self.api, self.place.sequence, MOST).await {
                Ok(read) => read,
                Err(_) => {
                    // Nothing serves now: the reader hears that it is still connected.
                    sleep(TROUBLE.min(heartbeat_every)).await;
                    return heartbeat(&self.api, self.place);
                }
            };
            // The rows go back only where the log was cut, and they were built anew.
            if now.created != self.place.created || now.sequence < self.rows.sequence {
                (self.place, self.rows) = (now, now);
                return resync(&self.api, now);
            }
            self.rows = now;
            let end = next(self.place, &events, MOST, now);
            if !events.is_empty() {
                let mut text = String::new();
                for event in events {
                    self.place.sequence = event["sequence"].as_u64().unwrap_or_default();
                    text.push_str(&frame("transition", self.place, &event));
                }
                self.place = end;
                return text;
            }
            self.place = end;
            let place = self.place;
            let new = |status: &quadrille_projection::Status| {
                let is = |at: Token| at.created != place.created || at.sequence > place.sequence;
                status.as_of.is_some_and(is)
            };
            if timeout(heartbeat_every, changes.wait_for(new)).await.is_err() {
                return heartbeat(&self.api, self.place);
            }
        }
    }
}

/// A heartbeat is an event, because a browser's script does not see comments.
fn heartbeat(api: &Api, place: Token) -> String {
    let as_of = api.as_of(api.projection.status().as_of);
    frame("heartbeat", place, &json!({ "as_of": as_of }))
}

/// Tells the reader to read its lists again.
fn resync(api: &Api, place: Token) -> String {
    frame("resync", place, &json!({ "as_of": api.as_of(Some(place)) }))
}

fn frame(event: &str, id: Token, data: &Value) -> String {
    // JSON has no line breaks.
    format!("id: {id}\nevent: {event}\ndata: {data}\n\n")
}
