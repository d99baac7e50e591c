//! Reads slots: from the leader to decide, from any replica to show.
//!
//! The leader's answer is JSON with the stored bytes in base64, so headers that no client could
//! read do no harm here.

use std::collections::HashMap;

use async_nats::{Client, Message};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::StreamExt;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::api::{self, ANSWER_TIME, code};
use super::connection::Link;
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
    Ok(last_raw(client, stream, subject).await?.map(|read| read.stored))
}

/// A message as the leader has it.
pub(super) struct Read {
    pub(super) stored: Stored,
    /// Its header bytes as they are stored.
    pub(super) raw_headers: Vec<u8>,
}

/// The last message of a subject or a filter.
pub(super) async fn last_raw(
    client: &Client,
    stream: &str,
    subject: &str,
) -> Result<Option<Read>, Unavailable> {
    leader_read(client, stream, json!({ "last_by_subj": subject })).await
}

/// The first message that matches `filter`, from a sequence on.
pub(super) async fn next_raw(
    client: &Client,
    stream: &str,
    filter: &str,
    from: u64,
) -> Result<Option<Read>, Unavailable> {
    leader_read(client, stream, json!({ "seq": from, "next_by_subj": filter })).await
}

async fn leader_read(
    client: &Client,
    stream: &str,
    question: Value,
) -> Result<Option<Read>, Unavailable> {
    let subject = format!("$JS.API.STREAM.MSG.GET.{stream}");
    let answer = api::request::<Answer>(client, subject, question.to_string());
    let Some(Answer { message }) = answer.await.found(&[code::MESSAGE_NOT_FOUND])? else {
        return Ok(None);
    };
    let raw_headers = message.hdrs.bytes()?;
    let stored = Stored {
        headers: parse_headers(&raw_headers),
        payload: message.data.bytes()?.into(),
        subject: message.subject,
        sequence: message.seq,
        stored_at: message.time,
    };
    Ok(Some(Read { stored, raw_headers }))
}

/// In one request, from any replica. A message that no client can read ends such a read; then the
/// leader is asked for one message after the other, because its answers do no harm.
pub(super) async fn last_of_many(
    link: &Link,
    leader: &Client,
    stream: &str,
    filters: Vec<String>,
) -> Result<Vec<Stored>, Unavailable> {
    if filters.is_empty() {
        return Ok(Vec::new());
    }
    let mut found = match direct_get(link, stream, json!({ "multi_last": filters })).await {
        // The server stops early at 64 MB, and says how much is left.
        Ok(got) if got.left > 0 => {
            return Err(Unavailable(format!("direct get from {stream}: {} left", got.left)));
        }
        Ok(got) => got.messages,
        Err(Failed::Answered(error)) => return Err(error),
        Err(Failed::Unread(_)) => careful_last_of_many(leader, stream, &filters).await?,
    };
    found.sort_by_key(|stored| stored.sequence);
    Ok(found)
}

async fn careful_last_of_many(
    leader: &Client,
    stream: &str,
    filters: &[String],
) -> Result<Vec<Stored>, Unavailable> {
    let mut last = HashMap::new();
    for filter in filters {
        let mut next = 1;
        while let Some(read) = next_raw(leader, stream, filter, next).await? {
            next = read.stored.sequence + 1;
            last.insert(read.stored.subject.clone(), read.stored);
        }
    }
    Ok(last.into_values().collect())
}

/// Of a page: several are kept at a time. The last message may go beyond it.
const PAGE_BYTES: usize = 4 << 20;

/// Messages that match `filter`, from a sequence on, in one request.
pub(super) async fn page(
    link: &Link,
    stream: &str,
    filter: &str,
    from: u64,
    most: usize,
) -> Result<Page, Unavailable> {
    let question = json!({
        "seq": from.max(1), "batch": most, "max_bytes": PAGE_BYTES, "next_by_subj": filter
    });
    direct_get(link, stream, question).await.map_err(|failed| match failed {
        Failed::Unread(error) | Failed::Answered(error) => error,
    })
}

/// The same, message by message, from the leader.
pub(super) async fn careful_page(
    client: &Client,
    stream: &str,
    filter: &str,
    from: u64,
    most: usize,
) -> Result<Page, Unavailable> {
    let mut page = Page::default();
    let mut next = from.max(1);
    while page.messages.len() < most {
        let Some(Read { stored, .. }) = next_raw(client, stream, filter, next).await? else {
            return Ok(page);
        };
        next = stored.sequence + 1;
        page.messages.push(stored);
    }
    // This read does not say how many there are; a reader that is not done asks again.
    page.left = 1;
    Ok(page)
}

/// Why a direct get brought nothing.
enum Failed {
    /// The connection was lost, or an answer never came: perhaps because of a message in it.
    Unread(Unavailable),
    /// The server says so.
    Answered(Unavailable),
}

/// One request, many answers, up to the status that ends them.
async fn direct_get(link: &Link, stream: &str, question: Value) -> Result<Page, Failed> {
    let unread = |error: &dyn std::fmt::Display| Failed::Unread(Unavailable(error.to_string()));
    let Link { client, disconnects, .. } = link;
    // What was asked on a connection that is lost is never answered.
    let mut disconnects = disconnects.subscribe();
    let inbox = client.new_inbox();
    let subject = format!("$JS.API.DIRECT.GET.{stream}");
    let mut answers = client.subscribe(inbox.clone()).await.map_err(|error| unread(&error))?;
    let sent = client.publish_with_reply(subject, inbox, question.to_string().into());
    sent.await.map_err(|error| unread(&error))?;
    let mut page = Page::default();
    loop {
        let end = Instant::now() + ANSWER_TIME;
        let message = tokio::select! {
            biased;
            answer = timeout_at(end, answers.next()) => match answer {
                Ok(Some(message)) => message,
                Ok(None) => return Err(unread(&"the connection was lost")),
                Err(_) => return Err(unread(&format!("the direct get from {stream} timed out"))),
            },
            _ = disconnects.changed() => return Err(unread(&"the connection was lost")),
        };
        if let Some(stored) = direct(&message) {
            page.messages.push(stored);
            continue;
        }
        page.left = number(&message, "Nats-Num-Pending").unwrap_or(0);
        match message.status.map(|status| status.as_u16()) {
            Some(204 | 404) => return Ok(page),
            // Our server has not heard yet of who answers for this stream, or nobody does.
            Some(503) => return Err(unread(&format!("nobody answers direct gets of {stream}"))),
            status => {
                let why = message.description.unwrap_or_default();
                let why = format!("direct get from {stream}: {status:?} {why}");
                return Err(Failed::Answered(Unavailable(why)));
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
