//! The price of one atomic batch: what an order's stock costs at the very least.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use async_nats::{Client, HeaderMap};
use quadrille::SagaId;
use schemas::Sku;
use schemas::stock::{hold_subject, sku_subject};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::connect;

/// As many bytes as a SKU or a hold takes in the log.
const PAYLOAD: [u8; 120] = [b'x'; 120];

/// Commits `count` batches of two messages, `rate` a second, one after the other, and returns the
/// time of each.
pub(crate) async fn batches(url: &str, rate: u32, count: usize) -> anyhow::Result<Vec<Duration>> {
    let client = connect(url, "bench").await?;
    let first = Instant::now();
    let mut sku_at = 0;
    let mut times = Vec::with_capacity(count);
    for number in 0..count {
        let due = first + Duration::from_secs(1) * number as u32 / rate;
        let pause = due.duration_since(Instant::now());
        spawn_blocking(move || std::thread::sleep(pause)).await?;
        let began = Instant::now();
        sku_at = batch(&client, number, sku_at).await?;
        times.push(began.elapsed());
    }
    Ok(times)
}

/// A hold that must be new, and a SKU that must be unchanged; returns the SKU's new sequence.
async fn batch(client: &Client, number: usize, sku_at: u64) -> anyhow::Result<u64> {
    let id = format!("batch-{number}");
    let hold = headers(&id, 1, 0);
    let subject = hold_subject(&SagaId::parse(&number.to_string())?);
    client.publish_with_headers(subject, hold, PAYLOAD.to_vec().into()).await?;
    let mut sku = headers(&id, 2, sku_at);
    sku.insert("Nats-Batch-Commit", "1");
    let subject = sku_subject(&Sku::parse("BENCH")?);
    let answer = client.request_with_headers(subject, sku, PAYLOAD.to_vec().into()).await?;
    let answer: serde_json::Value = serde_json::from_slice(&answer.payload)?;
    ensure!(answer.get("error").is_none(), "a batch of two messages was refused: {answer}");
    answer["seq"].as_u64().context("a batch was acknowledged without a sequence")
}

fn headers(id: &str, at: u64, expected_last: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Batch-Id", id);
    headers.insert("Nats-Batch-Sequence", at.to_string());
    headers.insert("Nats-Expected-Last-Subject-Sequence", expected_last.to_string());
    headers
}
