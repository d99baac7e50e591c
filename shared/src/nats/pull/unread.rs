//! Messages that were delivered and that no client can read, because the server stores any header
//! bytes. Each delivery of one ends the connection that it comes on, and with it whatever arrives
//! behind it.
//!
//! So after a start and after each loss of the connection, what is delivered and not settled is
//! read from the leader, whose answer in JSON does no harm. A message of this kind is handed out
//! with its header bytes, as any other delivery, and settled for good by whoever takes it.

use std::collections::VecDeque;
use std::future::pending;
use std::time::Duration;

use async_nats::Client;
use futures::future::BoxFuture;
use serde::Deserialize;
use tokio::time::sleep;

use crate::broker::{Delivered, Receipt, Unavailable};
use crate::nats::Names;
use crate::nats::api::{self, code};
use crate::nats::message::unreadable;
use crate::nats::read::{self, Read};

/// Before the next look, if the server does not answer.
const WAIT_MS: std::ops::RangeInclusive<u64> = 250..=1_000;

/// Where a durable is.
#[derive(Deserialize)]
struct Info {
    config: Config,
    delivered: Place,
    /// Everything up to here is settled.
    ack_floor: Place,
    num_ack_pending: u64,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    filter_subject: Option<String>,
    #[serde(default)]
    filter_subjects: Vec<String>,
}

#[derive(Deserialize)]
struct Place {
    stream_seq: u64,
    consumer_seq: u64,
}

/// The search, and what it found.
pub(super) struct Unread {
    leader: Client,
    names: Names,
    /// As the broker calls it.
    stream: String,
    durable: String,
    search: Option<BoxFuture<'static, Vec<Delivered>>>,
    found: VecDeque<Delivered>,
}

impl Unread {
    /// Looks for the first time.
    pub(super) fn new(leader: Client, names: Names, stream: &str, durable: &str) -> Self {
        let (stream, durable) = (stream.to_owned(), durable.to_owned());
        let found = VecDeque::new();
        let mut this = Self { leader, names, stream, durable, search: None, found };
        this.look();
        this
    }

    /// A message that no client can read may be among those delivered last.
    pub(super) fn look(&mut self) {
        let (stream, durable) = (self.stream.clone(), self.durable.clone());
        self.search = Some(Box::pin(find(self.leader.clone(), stream, durable)));
    }

    /// Resolves once the search has ended, if one is under way. Safe to cancel.
    pub(super) async fn found(&mut self) {
        let Some(search) = &mut self.search else { return pending().await };
        self.found = search.await.into();
        self.search = None;
    }

    pub(super) fn next(&mut self, free: usize) -> Option<Delivered> {
        let mut delivered = if free > 0 { self.found.pop_front()? } else { return None };
        delivered.message = self.names.stored(delivered.message);
        Some(delivered)
    }
}

/// Looks until the server has answered; may be dropped at any time.
async fn find(leader: Client, stream: String, durable: String) -> Vec<Delivered> {
    loop {
        match look(&leader, &stream, &durable).await {
            Ok(found) => return found,
            Err(error) => {
                tracing::debug!(%error, durable, "cannot look for unreadable messages");
                sleep(Duration::from_millis(fastrand::u64(WAIT_MS))).await;
            }
        }
    }
}

/// One read a message that is not settled, and one a message that was settled out of turn, because
/// the server does not say which is which. Mostly these are few.
async fn look(leader: &Client, stream: &str, durable: &str) -> Result<Vec<Delivered>, Unavailable> {
    let subject = format!("$JS.API.CONSUMER.INFO.{stream}.{durable}");
    let info = api::request::<Info>(leader, subject, "").await;
    let gone = &[code::CONSUMER_NOT_FOUND, code::STREAM_NOT_FOUND];
    let Some(info) = info.found(gone)?.filter(|info| info.num_ack_pending > 0) else {
        return Ok(Vec::new());
    };
    let Config { filter_subject, filter_subjects } = info.config;
    let mut found = Vec::new();
    for filter in filter_subject.into_iter().chain(filter_subjects) {
        let mut next = info.ack_floor.stream_seq + 1;
        while let Some(read) = read::next_raw(leader, stream, &filter, next).await? {
            next = read.stored.sequence + 1;
            if read.stored.sequence > info.delivered.stream_seq {
                break;
            }
            let receipt = receipt(stream, durable, read.stored.sequence, &info.delivered);
            found.extend(harmful(read, receipt));
        }
    }
    Ok(found)
}

/// Of a delivery that nobody saw. The server takes it by the sequence in the stream, and wants the
/// number of the delivery to be one that may still be open.
fn receipt(stream: &str, durable: &str, sequence: u64, delivered: &Place) -> Receipt {
    let delivery = delivered.consumer_seq;
    Receipt(format!("$JS.ACK.{stream}.{durable}.1.{sequence}.{delivery}.0.0"))
}

/// `None` for a message that every client can read.
fn harmful(read: Read, receipt: Receipt) -> Option<Delivered> {
    let Read { stored, raw_headers } = read;
    let what = unreadable(&raw_headers)?;
    Some(Delivered {
        message: stored,
        deliveries: 1,
        pending: 0,
        receipt,
        unreadable: Some(crate::broker::Unreadable { what, raw_headers: raw_headers.into() }),
    })
}
