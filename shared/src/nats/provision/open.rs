//! Which sagas of a stream are open, and where a new durable must start for them.
//!
//! Reads every subject of two slots: acceptable for provisioning, not for anything that runs often.
//! A saga whose opening no worker can read never began, so it holds nothing up.

use std::collections::HashSet;
use std::fmt;

use futures::stream::{self, StreamExt, TryStreamExt};
use jiff::Timestamp;
use serde::de::IgnoredAny;

use crate::broker::{Broker, Unavailable};
use crate::log::envelope::Envelope;
use crate::log::parked;
use crate::nats::message;
use crate::nats::read::{self, Read};
use crate::nats::{NatsBroker, inspect};
use crate::topology::parked_stream_name;
use crate::{Flow, SagaId};

/// Subjects of one request; the server takes 1,024.
const OF_ONE_REQUEST: usize = 1_000;

/// How many open sagas a sentence names.
const NAMED: usize = 10;

/// Reads under way at once.
const AT_ONCE: usize = 64;

/// Where a new durable starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// The stream is empty.
    Beginning,
    /// No saga that began before this sequence is open.
    At(u64),
}

/// Sagas that were opened and are not closed yet.
#[derive(Debug, Default)]
pub(super) struct OpenSagas {
    /// The oldest first.
    open: Vec<Opening>,
    /// Sequence of the first opening that a worker has still to handle, be it to set it aside.
    first: Option<u64>,
}

#[derive(Debug)]
struct Opening {
    id: SagaId,
    sequence: u64,
    since: Timestamp,
    is_parked: bool,
}

impl OpenSagas {
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

impl fmt::Display for OpenSagas {
    /// `one saga is open (A1 since 2026-11-25 10:00 UTC)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.open.len() {
            1 => f.write_str("one saga is open (")?,
            count => write!(f, "{count} sagas are open (")?,
        }
        for (at, Opening { id, since, is_parked, .. }) in self.open.iter().take(NAMED).enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            let parked = if *is_parked { ", set aside" } else { "" };
            write!(f, "{comma}{id} since {}{parked}", since.strftime("%Y-%m-%d %H:%M UTC"))?;
        }
        match self.open.len().saturating_sub(NAMED) {
            0 => f.write_str(")"),
            more => write!(f, ", and {more} more)"),
        }
    }
}

pub(super) async fn start(broker: &NatsBroker, flow: &Flow) -> Result<Start, Unavailable> {
    // Asked before the sagas are read, so that a saga that opens meanwhile is delivered.
    let stream = broker.names.stream(flow.stream);
    let end = match inspect::stream(&broker.client, &stream).await? {
        Some(info) if info.state.last_seq > 0 => info.state.last_seq + 1,
        Some(_) | None => return Ok(Start::Beginning),
    };
    let open = open_sagas(broker, flow).await?;
    Ok(Start::At(open.first.unwrap_or(end)))
}

pub(super) async fn open_sagas(broker: &NatsBroker, flow: &Flow) -> Result<OpenSagas, Unavailable> {
    // Closed ones first: a saga that ends in between is counted as open, which is safe.
    let closed = sagas(broker, flow, flow.closing().slot).await?;
    let opened = sagas(broker, flow, flow.opens.slot).await?;
    let open: Vec<_> = opened.difference(&closed).collect();
    let mut found = OpenSagas::default();
    for ids in open.chunks(OF_ONE_REQUEST) {
        let (unreadable, parked) = set_aside(broker, flow, ids).await?;
        for Read { stored, raw_headers } in openings(broker, flow, ids).await? {
            let stored = broker.names.stored(stored);
            let Some((slot, id)) = flow.parse_subject(&stored.subject) else { continue };
            if unreadable.contains(&id) {
                continue;
            }
            let (sequence, since) = (stored.sequence, stored.stored_at);
            found.first = [found.first, Some(sequence)].into_iter().flatten().min();
            if message::unreadable(&raw_headers).is_some() {
                continue;
            }
            match Envelope::read(flow, slot, &id, flow.opens.event, &stored) {
                Err(bad) if NEVER_READ.contains(&bad.reason.code()) => {}
                Ok(envelope) if serde_json::from_str::<IgnoredAny>(envelope.data).is_err() => {}
                Ok(_) | Err(_) => {
                    let is_parked = parked.contains(&id);
                    found.open.push(Opening { id, sequence, since, is_parked });
                }
            }
        }
    }
    found.open.sort_by_key(|opening| opening.sequence);
    Ok(found)
}

/// The first events of these sagas, from the leader, because a stream made by hand may not allow
/// direct gets until this plan is applied, and one of them may have headers that no client can
/// read.
async fn openings(
    broker: &NatsBroker,
    flow: &Flow,
    ids: &[&SagaId],
) -> Result<Vec<Read>, Unavailable> {
    let stream = broker.names.stream(flow.stream);
    let subject = |id: &&SagaId| format!("{}.{}.{id}", flow.subjects, flow.opens.slot);
    let subjects: Vec<_> = ids.iter().map(subject).collect();
    let reads = broker.names.subjects(subjects).into_iter().map(|subject| {
        let stream = &stream;
        async move { read::last_raw(&broker.client, stream, &subject).await }
    });
    let found = stream::iter(reads).buffer_unordered(AT_ONCE);
    found.try_filter_map(|read| std::future::ready(Ok(read))).try_collect().await
}

/// Sagas whose opening was set aside: those that no worker of any build will read, and all.
async fn set_aside(
    broker: &NatsBroker,
    flow: &Flow,
    ids: &[&SagaId],
) -> Result<(HashSet<SagaId>, HashSet<SagaId>), Unavailable> {
    let (mut unreadable, mut parked) = (HashSet::new(), HashSet::new());
    let first = flow.steps.iter().find(|row| row.on == flow.opens.slot);
    let Some(first) = first else { return Ok((unreadable, parked)) };
    let stream = parked_stream_name(flow);
    if inspect::stream(&broker.client, &broker.names.stream(&stream)).await?.is_none() {
        return Ok((unreadable, parked));
    }
    let subjects = ids.iter().map(|id| parked::subject(flow, first.worker, Some(id))).collect();
    // Without an answer, as from a stream made by hand, all of them count as readable.
    let found = broker.last_of_many(&stream, subjects).await.unwrap_or_default();
    for stored in found {
        let Ok(entry) = serde_json::from_slice::<parked::Entry>(&stored.payload) else { continue };
        let Some((_, id)) = flow.parse_subject(&entry.parked.subject) else { continue };
        if NEVER_READ.contains(&entry.parked.reason.as_str()) {
            unreadable.insert(id.clone());
        }
        parked.insert(id);
    }
    Ok((unreadable, parked))
}

/// Reasons that lie in the bytes, and that no later build takes back: within a version, no
/// validation is narrowed or widened.
const NEVER_READ: [&str; 4] = ["not-json", "too-large", "invalid-field", "id-mismatch"];

/// Ids of the sagas that have something in `slot`; what is no id began no saga.
async fn sagas(
    broker: &NatsBroker,
    flow: &Flow,
    slot: &str,
) -> Result<HashSet<SagaId>, Unavailable> {
    let filter = flow.filter(slot);
    let (stream, filter) = (broker.names.stream(flow.stream), broker.names.subject(&filter));
    let subjects = inspect::subjects(&broker.client, &stream, &filter).await?;
    let id = |subject: &String| SagaId::parse(subject.rsplit('.').next()?).ok();
    Ok(subjects.iter().filter_map(id).collect())
}
