//! Gathers what may explain a wait: some requests to the broker, one to the awaited worker's
//! replicas. It changes nothing.

use std::time::Duration;

use futures::future::{join, join_all};
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::waiting::deadline;
use super::{Seen, Service, awaited};
use crate::Flow;
use crate::SagaId;
use crate::broker::{Broker, StreamState, Unavailable};
use crate::log::parked;
use crate::log::story::{self, Story};
use crate::topology::{BREAKERS, override_key, parked_stream_name};
use crate::worker::held::{self, Ask, Report};

/// How long the replicas may take to answer.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often a story is read again that went on meanwhile.
const LOOKS: usize = 3;

/// The story of a saga, and what may explain why it waits.
///
/// # Errors
/// When the log cannot be read; all else that has no answer is in [`Seen::unanswered`].
pub async fn look(
    broker: &dyn Broker,
    flow: &'static Flow,
    saga: &SagaId,
) -> Result<(Story, Seen), Unavailable> {
    let mut looks = 0;
    loop {
        looks += 1;
        let (story, seen) = once(broker, flow, saga).await?;
        // Between the two reads of the slot the saga went on; and what was set aside in between
        // looks as if it had never been delivered.
        let again = seen.slot_taken == Some(true)
            || looks == 1 && super::reason::is_lost(flow, &story, &seen);
        if !again || looks == LOOKS {
            return Ok((story, seen));
        }
    }
}

async fn once(
    broker: &dyn Broker,
    flow: &'static Flow,
    saga: &SagaId,
) -> Result<(Story, Seen), Unavailable> {
    let story = tell(broker, flow, saga).await?;
    let mut seen = Seen::of(broker.state(flow.stream).await?);
    seen.awaited = awaited(flow, &story);
    if let Some(awaited) = seen.awaited.clone() {
        seen.deadline = deadline(flow, &story, &awaited);
        ask_worker(broker, flow, awaited.worker, &mut seen).await;
        ask_durable(broker, &awaited.stream, &awaited.durable, &mut seen).await;
        // Asked last: what is settled by now and not here was never decided.
        match broker.last(flow.stream, &awaited.subject).await {
            Ok(stored) => {
                let known = story.events.iter().map(|line| line.sequence);
                let newer = |stored: &crate::broker::Stored| {
                    !known.clone().any(|sequence| sequence == stored.sequence)
                };
                seen.slot_taken = Some(stored.as_ref().is_some_and(newer));
            }
            Err(error) => seen.unanswered.push(error.0),
        }
    }
    Ok((story, seen))
}

impl Seen {
    /// Nothing but the log.
    pub(super) fn of(log: Option<StreamState>) -> Self {
        Self {
            now: log.as_ref().map_or(Timestamp::UNIX_EPOCH, |log| log.server_time),
            awaited: None,
            durable: None,
            log,
            replicas: Vec::new(),
            services: Vec::new(),
            slot_taken: None,
            deadline: None,
            unanswered: Vec::new(),
        }
    }
}

/// The story, as far as it goes.
async fn tell(broker: &dyn Broker, flow: &Flow, saga: &SagaId) -> Result<Story, Unavailable> {
    let parked_stream = parked_stream_name(flow);
    let events = broker.last_of_many(flow.stream, vec![flow.story(saga)]);
    let parked = broker.last_of_many(&parked_stream, parked::filters(flow, saga));
    let (events, parked) = join(events, parked).await;
    Ok(story::tell(flow, saga, &events?, &parked?))
}

/// What the replicas of a worker and the breakers of its services say.
pub(super) async fn ask_worker(
    broker: &dyn Broker,
    flow: &'static Flow,
    worker: &str,
    seen: &mut Seen,
) {
    let services = flow.row(worker).map_or(&[][..], |row| row.requires);
    let services = join_all(services.iter().map(|name| service(broker, name)));
    let subject = held::subject(worker);
    let question = serde_json::to_vec(&Ask::default()).unwrap_or_default();
    let replicas = broker.ask_each(&subject, question.into(), PATIENCE);
    let (services, replicas) = join(services, replicas).await;
    for service in services {
        match service {
            Ok(service) => seen.services.push(service),
            Err(error) => seen.unanswered.push(error.0),
        }
    }
    match replicas {
        Ok(answers) => {
            let reports = answers.iter().filter_map(|one| serde_json::from_slice(one).ok());
            seen.replicas = reports.filter(|one: &Report| one.saga == flow.saga).collect();
        }
        Err(error) => seen.unanswered.push(error.0),
    }
}

/// Asked after the replicas: what one of them held then may be settled by now, never the other way.
pub(super) async fn ask_durable(broker: &dyn Broker, stream: &str, name: &str, seen: &mut Seen) {
    match broker.durable(stream, name).await {
        Ok(durable) => seen.durable = durable,
        Err(error) => seen.unanswered.push(error.0),
    }
}

async fn service(broker: &dyn Broker, name: &'static str) -> Result<Service, Unavailable> {
    let key = read(broker, name).await?;
    let forced = read(broker, &override_key(name)).await?;
    Ok(Service { name, key, forced })
}

/// A key; one that cannot be read says nothing.
async fn read<T: DeserializeOwned>(
    broker: &dyn Broker,
    key: &str,
) -> Result<Option<T>, Unavailable> {
    let entry = broker.entry(BREAKERS, key).await?;
    Ok(entry.and_then(|entry| serde_json::from_slice(&entry.value).ok()))
}
