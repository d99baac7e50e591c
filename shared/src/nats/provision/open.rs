//! Which sagas of a stream are open, and where a new durable must start for them.
//!
//! Reads every subject of two slots: acceptable for provisioning, not for anything that runs often.

use std::collections::HashSet;

use async_nats::Client;
use serde::Deserialize;

use crate::Flow;
use crate::broker::Unavailable;
use crate::nats::api::{self, code};
use crate::nats::{inspect, read};

/// Where a new durable starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// The stream is empty.
    Beginning,
    /// No saga that began before this sequence is open.
    At(u64),
}

/// Sagas that were opened and are not closed yet.
pub(super) struct OpenSagas {
    pub(super) count: u64,
    /// Sequence of the oldest one's opening.
    oldest: Option<u64>,
}

pub(super) async fn start(client: &Client, flow: &Flow) -> Result<Start, Unavailable> {
    // Asked before the sagas are read, so that a saga that opens meanwhile is delivered.
    let end = match inspect::stream(client, flow.stream).await? {
        Some(info) if info.state.last_seq > 0 => info.state.last_seq + 1,
        Some(_) | None => return Ok(Start::Beginning),
    };
    let open = open_sagas(client, flow).await?;
    Ok(Start::At(open.oldest.unwrap_or(end)))
}

pub(super) async fn open_sagas(client: &Client, flow: &Flow) -> Result<OpenSagas, Unavailable> {
    // Closed ones first: a saga that ends in between is counted as open, which is safe.
    let closed = sagas(client, flow, flow.closing().slot).await?;
    let opened = sagas(client, flow, flow.opens.slot).await?;
    let open: Vec<_> = opened.difference(&closed).collect();
    let mut oldest = None;
    // At most 1,024 subjects per request.
    for ids in open.chunks(1_000) {
        let subjects =
            ids.iter().map(|id| format!("{}.{}.{id}", flow.subjects, flow.opens.slot)).collect();
        let first = first(client, flow, subjects).await?;
        oldest = [oldest, first].into_iter().flatten().min();
    }
    let count = u64::try_from(open.len()).unwrap_or(u64::MAX);
    Ok(OpenSagas { count, oldest })
}

/// The lowest sequence of these subjects.
async fn first(
    client: &Client,
    flow: &Flow,
    subjects: Vec<String>,
) -> Result<Option<u64>, Unavailable> {
    if let Ok(found) = read::last_of_many(client, flow.stream, subjects.clone()).await {
        return Ok(found.iter().map(|stored| stored.sequence).min());
    }
    // A stream made by hand may not allow direct gets until this plan is applied.
    let mut first = None;
    for subject in subjects {
        let stored = read::last(client, flow.stream, &subject).await?;
        first = [first, stored.map(|stored| stored.sequence)].into_iter().flatten().min();
    }
    Ok(first)
}

/// Ids of the sagas that have something in `slot`.
async fn sagas(client: &Client, flow: &Flow, slot: &str) -> Result<HashSet<String>, Unavailable> {
    #[derive(Deserialize)]
    struct Page {
        state: State,
        #[serde(default)]
        total: usize,
    }
    #[derive(Deserialize)]
    struct State {
        #[serde(default)]
        subjects: std::collections::HashMap<String, u64>,
    }
    let (mut ids, mut read) = (HashSet::new(), 0);
    loop {
        let body = serde_json::json!({ "subjects_filter": flow.filter(slot), "offset": read });
        let subject = format!("$JS.API.STREAM.INFO.{}", flow.stream);
        let page = api::request::<Page>(client, subject, body.to_string()).await;
        let Some(page) = page.found(&[code::STREAM_NOT_FOUND])? else { return Ok(ids) };
        let count = page.state.subjects.len();
        let id = |subject: String| subject.rsplit('.').next().map(str::to_owned);
        ids.extend(page.state.subjects.into_keys().filter_map(id));
        read += count;
        if count == 0 || read >= page.total {
            return Ok(ids);
        }
    }
}
