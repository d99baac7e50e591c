//! Reads slots: from the leader to decide, from any replica to show.
//!
//! The leader's answer is JSON with the stored bytes in base64, so headers that no client could
//! read do no harm here.

use async_nats::{Client, Message};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::StreamExt;
use jiff::Timestamp;
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use super::api::{self, ANSWER_TIME, code};
use super::message::{parse_headers, useful};
use crate::broker::{Page, Stored, Unavailable};

#[derive(Deserialize)]
struct Answer {
    message: Raw,
}

#[derive(Deserialize)]
struct Raw {
    subject: String,
    seq: u64,
    time: Timestamp,
    /// Absent if there are none.
    #[serde(default)]
    hdrs: Base64,
    #[serde(default)]
    data: Base64,
}

#[derive(Default, Deserialize)]
struct Base64(String);

impl Base64 {
    fn bytes(&self) -> Result<Vec<u8>, Unavailable> {
        let decoded = BASE64_STANDARD.decode(&self.0);
        decoded.map_err(|error| Unavailable(format!("base64: {error}")))
    }
}

pub(super) async fn last(
    client: &Client,
    stream: &str,
    subject: &str,
) -> Result<Option<Stored>, Unavailable> {
    Ok(last_with_headers(client, stream, subject).await?.map(|(stored, _)| stored))
}

/// The last message of an exact subject, and its header bytes as they are stored.
pub(super) async fn last_with_headers(
    client: &Client,
    stream: &str,
    subject: &str,
) -> Result<Option<(Stored, Vec<u8>)>, Unavailable> {
    leader_read(client, stream, serde_json::json!({ "last_by_subj": subject })).await
}

async fn leader_read(
    client: &Client,
    stream: &str,
    question: serde_json::Value,
) -> Result<Option<(Stored, Vec<u8>)>, Unavailable> {
    let subject = format!("$JS.API.STREAM.MSG.GET.{stream}");
    let answer = api::request::<Answer>(client, subject, question.to_string());
    let Some(Answer { message }) = answer.await.found(&[code::MESSAGE_NOT_FOUND])? else {
        return Ok(None);
    };
    let headers = message.hdrs.bytes()?;
    let stored = Stored {
        headers: parse_headers(&headers),
        payload: message.data.bytes()?.into(),
        subject: message.subject,
        sequence: message.seq,
        stored_at: message.time,
    };
    Ok(Some((stored, headers)))
}

pub(super) async fn last_of_many(
    client: &Client,
    stream: &str,
    filters: Vec<String>,
) -> Result<Vec<Stored>, Unavailable> {
    if filters.is_empty() {
        return Ok(Vec::new());
    }
    let got = direct_get(client, stream, serde_json::json!({ "multi_last": filters })).await?;
    // The server stops early at 64 MB, and says how much is left.
    if got.left > 0 {
        return Err(Unavailable(format!("direct get from {stream}: {} left", got.left)));
    }
    let mut found = got.messages;
    found.sort_by_key(|stored| stored.sequence);
    Ok(found)
}

/// Of a page: several are kept at a time. The last message may go beyond it.
const PAGE_BYTES: usize = 4 << 20;

/// Messages from a sequence on, in one request.
pub(super) async fn page(
    client: &Client,
    stream: &str,
    from: u64,
    most: usize,
) -> Result<Page, Unavailable> {
    let question = serde_json::json!({
        "seq": from.max(1), "batch": most, "max_bytes": PAGE_BYTES, "next_by_subj": ">"
    });
    direct_get(client, stream, question).await
}

/// The same, message by message, from the leader.
pub(super) async fn careful_page(
    client: &Client,
    stream: &str,
    from: u64,
    most: usize,
) -> Result<Page, Unavailable> {
    let mut page = Page::default();
    let mut next = from.max(1);
    while page.messages.len() < most {
        let question = serde_json::json!({ "seq": next, "next_by_subj": ">" });
        let Some((stored, _)) = leader_read(client, stream, question).await? else {
            return Ok(page);
        };
        next = stored.sequence + 1;
        page.messages.push(stored);
    }
    // This read does not say how many there are; a reader that is not done asks again.
    page.left = 1;
    Ok(page)
}

/// One request, many answers, up to the status that ends them.
async fn direct_get(
    client: &Client,
    stream: &str,
    question: serde_json::Value,
) -> Result<Page, Unavailable> {
    let unavailable = |error: &dyn std::fmt::Display| Unavailable(error.to_string());
    let inbox = client.new_inbox();
    let subject = format!("$JS.API.DIRECT.GET.{stream}");
    let mut answers = client.subscribe(inbox.clone()).await.map_err(|error| unavailable(&error))?;
    let sent = client.publish_with_reply(subject, inbox, question.to_string().into());
    sent.await.map_err(|error| unavailable(&error))?;
    let mut page = Page::default();
    loop {
        let end = Instant::now() + ANSWER_TIME;
        let Ok(Some(message)) = timeout_at(end, answers.next()).await else {
            return Err(Unavailable(format!("the direct get from {stream} timed out")));
        };
        if let Some(stored) = direct(&message) {
            page.messages.push(stored);
            continue;
        }
        page.left = number(&message, "Nats-Num-Pending").unwrap_or(0);
        match message.status.map(|status| status.as_u16()) {
            Some(204 | 404) => return Ok(page),
            status => {
                let why = message.description.unwrap_or_default();
                let why = format!("direct get from {stream}: {status:?} {why}");
                return Err(Unavailable(why));
            }
        }
    }
}

/// A message of a direct get; `None` for a status.
fn direct(message: &Message) -> Option<Stored> {
    Some(Stored {
        subject: said(message, "Nats-Subject")?.to_owned(),
        sequence: number(message, "Nats-Sequence")?,
        stored_at: said(message, "Nats-Time-Stamp")?.parse().ok()?,
        headers: useful(message.headers.as_ref()?),
        payload: message.payload.clone(),
    })
}

fn number(message: &Message, header: &str) -> Option<u64> {
    said(message, header)?.parse().ok()
}

/// What the server says about a message. It adds its own headers after the stored ones, among which
/// a publisher may have put headers of the same names.
fn said<'m>(message: &'m Message, header: &str) -> Option<&'m str> {
    Some(message.headers.as_ref()?.get_last(header)?.as_str())
}
