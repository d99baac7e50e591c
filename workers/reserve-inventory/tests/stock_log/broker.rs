//! A stream in memory with the guards of the real one, for the group commit alone: batches are all
//! or nothing, and an answer can be lost before or after they are stored.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use quadrille::broker::{BatchMessage, Broker, Published, Stored, Unavailable, Unknown};
use quadrille::testing::Faults;
use reserve_inventory::stock::{Hold, Level};
use serde::de::DeserializeOwned;

/// What the tests ask of the stream afterwards.
#[derive(Default)]
pub(crate) struct MemoryStream {
    log: Mutex<Vec<BatchMessage>>,
    faults: Faults,
    /// One publish in so many loses its request or its answer; 0 for none.
    pub(crate) loses_one_in: u32,
    /// Reads of holds that show none, as an old leader's do.
    pub(crate) hides_holds: AtomicU64,
    /// The same of levels.
    pub(crate) hides_levels: AtomicU64,
    pub(crate) batches: AtomicU64,
    pub(crate) conflicts: AtomicU64,
    pub(crate) reads: AtomicU64,
    pub(crate) largest: AtomicU64,
}

impl MemoryStream {
    pub(crate) fn with(faults: Faults) -> Self {
        Self { faults, ..Self::default() }
    }

    pub(crate) fn losing_one_in(loses_one_in: u32) -> Self {
        Self { loses_one_in, ..Self::default() }
    }

    /// Begins with what another stream holds.
    pub(crate) fn begin_as(&self, other: &Self) {
        self.log().clone_from(&other.log());
    }

    pub(crate) fn levels(&self) -> Vec<Level> {
        self.newest("stock.sku.").into_values().collect()
    }

    /// By order.
    pub(crate) fn holds(&self) -> BTreeMap<String, Hold> {
        self.newest("stock.hold.")
    }

    /// Every hold that was ever stored, oldest first.
    pub(crate) fn hold_messages(&self) -> Vec<Hold> {
        let log = self.log();
        let holds = log.iter().filter(|message| message.subject.starts_with("stock.hold."));
        holds.map(|message| serde_json::from_slice(&message.payload).unwrap()).collect()
    }

    /// Pieces are neither lost nor made, and none is held twice.
    pub(crate) fn check(&self) {
        let holds = self.holds();
        for Level { sku, stocked, free, .. } in self.levels() {
            let holding = holds.values().filter(|hold| !hold.released && !hold.shipped);
            let held = holding.flat_map(|hold| &hold.pieces);
            let held: u64 = held.filter(|piece| piece.sku == sku).map(|piece| piece.quantity).sum();
            assert_eq!(stocked, free + held, "{sku}");
        }
    }

    fn newest<T: DeserializeOwned>(&self, prefix: &str) -> BTreeMap<String, T> {
        let log = self.log();
        let newest = log.iter().filter_map(|message| {
            let key = message.subject.strip_prefix(prefix)?.to_owned();
            Some((key, serde_json::from_slice(&message.payload).unwrap()))
        });
        newest.collect()
    }

    fn log(&self) -> MutexGuard<'_, Vec<BatchMessage>> {
        self.log.lock().unwrap()
    }

    fn last_of(&self, subject: &str) -> Option<Stored> {
        let log = self.log();
        let at = log.iter().rposition(|message| message.subject == subject)?;
        Some(Stored {
            subject: subject.to_owned(),
            sequence: at as u64 + 1,
            stored_at: Timestamp::UNIX_EPOCH,
            headers: Vec::new(),
            payload: log[at].payload.clone(),
        })
    }

    fn store(&self, messages: Vec<BatchMessage>) -> Published {
        assert!((1..=1_000).contains(&messages.len()), "{} messages", messages.len());
        self.batches.fetch_add(1, Relaxed);
        self.largest.fetch_max(messages.len() as u64, Relaxed);
        for message in &messages {
            let last = self.last_of(&message.subject).map_or(0, |stored| stored.sequence);
            if last != message.expected_last {
                self.conflicts.fetch_add(1, Relaxed);
                return Published::Conflict;
            }
        }
        let mut log = self.log();
        log.extend(messages);
        Published::Stored { sequence: log.len() as u64 }
    }

    fn strikes(&self) -> bool {
        self.loses_one_in > 0 && fastrand::u32(0..self.loses_one_in) == 0
    }
}

/// A round trip, which lets others in.
async fn travel() {
    tokio::time::sleep(Duration::from_micros(fastrand::u64(100..3_000))).await;
}

fn lost() -> Published {
    Published::Unknown(Unknown::NoAnswer("lost".into()))
}

/// One replica's connection.
pub(crate) struct MemoryBroker(pub(crate) Arc<MemoryStream>);

impl Broker for MemoryBroker {
    fn publish_batch(&self, messages: Vec<BatchMessage>) -> BoxFuture<'_, Published> {
        async move {
            travel().await;
            if self.0.strikes() {
                return lost();
            }
            let stored = self.0.faults.call(|| self.0.store(messages)).await;
            travel().await;
            if self.0.strikes() { lost() } else { stored.unwrap_or_else(|_| lost()) }
        }
        .boxed()
    }

    fn last<'a>(
        &'a self,
        _: &'a str,
        subject: &'a str,
    ) -> BoxFuture<'a, Result<Option<Stored>, Unavailable>> {
        async move {
            travel().await;
            self.0.reads.fetch_add(1, Relaxed);
            let read = self.0.faults.call(|| self.0.last_of(subject)).await;
            let hides = match subject.starts_with("stock.hold.") {
                true => &self.0.hides_holds,
                false => &self.0.hides_levels,
            };
            if hides.load(Relaxed) > 0 {
                hides.fetch_sub(1, Relaxed);
                return Ok(None);
            }
            read.map_err(|lost| Unavailable(lost.to_string()))
        }
        .boxed()
    }

    fn last_of_many<'a>(
        &'a self,
        _: &'a str,
        filters: Vec<String>,
    ) -> BoxFuture<'a, Result<Vec<Stored>, Unavailable>> {
        let found = filters.iter().filter_map(|subject| self.0.last_of(subject)).collect();
        async move { Ok(found) }.boxed()
    }

    fn subjects<'a>(
        &'a self,
        _: &'a str,
        filter: &'a str,
    ) -> BoxFuture<'a, Result<Vec<String>, Unavailable>> {
        let prefix = filter.strip_suffix('*').expect("a filter of one kind of record");
        let newest: BTreeMap<String, serde_json::Value> = self.0.newest(prefix);
        let subjects = newest.into_keys().map(|key| format!("{prefix}{key}")).collect();
        async move { Ok(subjects) }.boxed()
    }

    quadrille::unasked!(publish_once publish pull settle inspect serve);
    quadrille::unasked!(request flush);
}
