//! The loop that the projection is compared with.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use quadrille::broker::{Broker, Care, Stored};
use quadrille::nats::NatsBroker;
use quadrille_projection::rusqlite::{Connection, params};
use query::orders::ORDERS;
use schemas::order_fulfilment::FLOW;
use serde::Deserialize;

/// As much of an event as its rows need.
#[derive(Deserialize)]
struct Event {
    id: String,
    #[serde(rename = "type")]
    event_type: String,
    source: String,
    causationseq: u64,
    attempt: u64,
    startedat: String,
    traceparent: String,
    data: serde_json::Value,
}

pub(crate) async fn run(broker: Arc<NatsBroker>, folder: &Path) -> anyhow::Result<PathBuf> {
    let file = folder.join("bare.db");
    let mut rows = Connection::open(&file)?;
    rows.execute_batch(
        "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -65536; \
         PRAGMA locking_mode = EXCLUSIVE;",
    )?;
    rows.execute_batch(quadrille_projection::EVERY_MODEL)?;
    rows.execute_batch(&ORDERS.model.tables.concat())?;
    rows.set_prepared_statement_cache_capacity(64);
    let mut next = 1;
    loop {
        let mut ready = Vec::new();
        let mut left = 1;
        while ready.len() < 8_192 && left > 0 {
            let page = broker.read_page(FLOW.stream, next, 1_024, Care::Fast).await?;
            next = page.messages.last().map_or(next, |last| last.sequence + 1);
            left = page.left;
            ready.extend(page.messages);
        }
        rows = tokio::task::spawn_blocking(move || insert(rows, &ready)).await??;
        if left == 0 {
            break;
        }
    }
    tokio::task::spawn_blocking(move || rows.execute_batch(&ORDERS.model.indexes.concat()))
        .await??;
    Ok(file)
}

fn insert(mut rows: Connection, messages: &[Stored]) -> anyhow::Result<Connection> {
    let transaction = rows.transaction()?;
    for stored in messages {
        let (slot, id) = FLOW.parse_subject(&stored.subject).context("an event of the flow")?;
        let event: Event = serde_json::from_slice(&stored.payload)?;
        let at = stored.stored_at.as_microsecond();
        let (id, sequence) = (id.as_str(), stored.sequence);
        transaction
            .prepare_cached(
                "INSERT INTO events (sequence, saga, slot, kind, type, source, event, stored_at, \
                 cause, attempt, state, waits_for) VALUES (?1, ?2, ?3, 'forward', ?4, ?5, ?6, ?7, \
                 ?8, ?9, 'open', ?5)",
            )?
            .execute(params![
                sequence,
                id,
                slot,
                event.event_type,
                event.source,
                event.id,
                at,
                event.causationseq,
                event.attempt,
            ])?;
        std::hint::black_box(&event.startedat);
        let found = |value: &str, kind: &str| {
            let mut refs = transaction
                .prepare_cached("INSERT INTO refs (value, kind, saga) VALUES (?1, ?2, ?3)")?;
            refs.execute(params![value, kind, id])
        };
        let text = |name: &str| event.data[name].as_str().unwrap_or_default();
        match slot {
            "placed" => {
                transaction
                    .prepare_cached(
                        "INSERT INTO sagas (saga, opened, opened_at, state, changed, changed_at, \
                         details) VALUES (?1, ?2, ?3, 'open', ?2, ?3, ?4)",
                    )?
                    .execute(params![id, sequence, at, event.data["lines"].to_string()])?;
                let sku = event.data["lines"][0]["sku"].as_str().unwrap_or_default();
                for (name, value) in
                    [("customer", text("customer")), ("sku", sku), ("country", "DE")]
                {
                    transaction
                        .prepare_cached(
                            "INSERT INTO tags (name, value, saga, opened, opened_at) \
                             VALUES (?1, ?2, ?3, ?4, ?5)",
                        )?
                        .execute(params![name, value, id, sequence, at])?;
                }
                let number = id.rsplit('-').next().unwrap_or_default();
                for (value, kind) in [
                    (id, "order"),
                    (number, "order"),
                    (event.traceparent.get(3..35).unwrap_or_default(), "trace"),
                    (text("customer"), "customer"),
                    (sku, "sku"),
                ] {
                    found(value, kind)?;
                }
            }
            "payment" => drop(found(text("payment"), "payment")?),
            "shipment" => {
                found(text("label"), "label")?;
                found(text("tracking"), "tracking")?;
            }
            _ => {}
        }
    }
    transaction.commit()?;
    Ok(rows)
}
