//! The circuit breakers of one worker: one for each service that its step requires, shared by its
//! durables, and one watch of the fleet's keys for all of them.
//!
//! What is decided comes from the pure machines; here it is written, paused, read and logged. The
//! breaker is never in doubt about the log: without its bucket each replica decides for itself.

mod key;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, sleep, timeout};

use crate::breaker::fleet::{Effect, Entry, Phase};
use crate::breaker::gate::Limiter;
use crate::breaker::replica::Replica;
use crate::broker::{Published, Seen, Unavailable, Watch};
use crate::config::{BreakerSettings, WorkerSettings};
use crate::flow::Row;
use crate::pipeline::{Worker, retry};
use crate::telemetry;
use crate::topology::BREAKERS;

/// A write of the key gives way to the next decision after this.
const WRITE_TIME: Duration = Duration::from_secs(1);

/// A limiter for each service of the row, in its order.
pub(super) fn limiters(
    row: &Row,
    own: &BTreeMap<String, BreakerSettings>,
    worker: &WorkerSettings,
) -> anyhow::Result<Vec<Arc<Limiter>>> {
    let started = Instant::now();
    let me = format!("{}-{:08x}", row.worker, fastrand::u32(..));
    let limiter = |name: &&'static str| {
        let settings = own.get(*name).cloned().unwrap_or_default().settings(worker.concurrency);
        settings.check().with_context(|| format!("breaker.{name}"))?;
        telemetry::breaker_starts(name);
        Ok(Limiter::new(*name, me.as_str(), settings, started))
    };
    row.requires.iter().map(limiter).collect()
}

/// What drives the breakers of a worker.
pub(super) struct Breakers {
    worker: Arc<Worker>,
    limiters: Vec<Arc<Limiter>>,
    /// The durables that a breaker pauses.
    durables: Vec<String>,
    /// Until when this replica paused the durables of a service on the server.
    paused: Mutex<BTreeMap<String, Timestamp>>,
}

impl Breakers {
    pub(super) fn new(
        worker: Arc<Worker>,
        limiters: Vec<Arc<Limiter>>,
        durables: Vec<String>,
    ) -> Arc<Self> {
        Arc::new(Self { worker, limiters, durables, paused: Mutex::default() })
    }

    /// Keeps a breaker's time and does what it decides, for as long as the worker runs.
    pub(super) async fn drive(self: Arc<Self>, limiter: Arc<Limiter>) {
        loop {
            for effect in limiter.turn().await {
                match effect {
                    Effect::Write { expected, entry } => {
                        self.write(&limiter, expected, entry).await;
                    }
                    Effect::PauseServer(wait) => self.pause(limiter.name(), wait).await,
                    Effect::ResumeServer => self.resume(limiter.name()).await,
                    Effect::Log(news) => telemetry::breaker(limiter.name(), &news),
                }
            }
            let doubts = |replica: &Replica| replica.machine().doubting_since().is_some();
            telemetry::doubting(limiter.name(), limiter.look(doubts));
        }
    }

    /// Hears what other replicas and operators decide, for as long as the worker runs.
    pub(super) async fn hear(self: Arc<Self>) {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let began = Instant::now();
            match self.worker.broker.watch(BREAKERS, "").await {
                Ok(mut watch) => self.follow(&mut *watch).await,
                Err(Unavailable(why)) => {
                    tracing::debug!(why, "the breakers' bucket is not watched")
                }
            }
            for limiter in &self.limiters {
                limiter.unreadable();
            }
            if began.elapsed() > Duration::from_secs(10) {
                attempt = 1;
            }
            sleep(retry::BROKER.wait(attempt)).await;
        }
    }

    /// Tells the breakers what the bucket says, until the watch ends.
    async fn follow(&self, watch: &mut dyn Watch) {
        let mut present = BTreeMap::new();
        loop {
            match watch.next().await {
                Ok(Seen::Set(entry)) => drop(present.insert(entry.key.clone(), entry)),
                Ok(Seen::Gone { key }) => drop(present.remove(&key)),
                Ok(Seen::AllPresent) => break,
                Err(_) => return,
            }
        }
        for limiter in &self.limiters {
            // An operator's word first: it holds before the first pull.
            let forced = present.get(&key::of_override(limiter.name()));
            limiter.overridden(forced.and_then(|entry| key::read_override(entry, self.now())));
            let entry = present.get(limiter.name());
            let (entry, revision) = entry.map_or((Entry::default(), 0), key::read);
            limiter.seen(entry, revision);
        }
        while let Ok(seen) = watch.next().await {
            match seen {
                Seen::Set(entry) => self.tell(&entry.key, Some(&entry)),
                Seen::Gone { key } => self.tell(&key, None),
                Seen::AllPresent => {}
            }
        }
    }

    fn tell(&self, key: &str, entry: Option<&crate::broker::Entry>) {
        for limiter in &self.limiters {
            if key == limiter.name() {
                if entry.is_none() {
                    // It was deleted by hand. Revisions only grow, unless the key is lost.
                    limiter.unreadable();
                }
                let (entry, revision) = entry.map_or((Entry::default(), 0), key::read);
                limiter.seen(entry, revision);
            } else if key == key::of_override(limiter.name()) {
                limiter.overridden(entry.and_then(|entry| key::read_override(entry, self.now())));
            }
        }
    }

    async fn write(&self, limiter: &Arc<Limiter>, expected: u64, entry: Entry) {
        let name = limiter.name();
        let now = self.now();
        let mut entry = Entry { since_ms: key::milliseconds(now), ..entry };
        if entry.phase == Phase::Paused {
            // Before the write: the pause on the server must not outlast the fleet's own.
            let until = later(now, Duration::from_millis(entry.wait_ms));
            let pause = |durable: &String| (durable.clone(), key::milliseconds(until));
            entry.pauses = self.durables.iter().map(pause).collect();
            self.paused().insert(name.to_owned(), until);
        }
        let value = key::write(&entry);
        let broker = &self.worker.broker;
        let written = broker.compare_and_set(BREAKERS, name, expected, value, None);
        match timeout(WRITE_TIME, written).await {
            Ok(Published::Stored { sequence }) => limiter.seen(entry, sequence),
            // The watch brings what is stored, but it says nothing of a key that was purged.
            Ok(Published::Conflict) => {
                if let Ok(Ok(found)) = timeout(WRITE_TIME, broker.entry(BREAKERS, name)).await {
                    self.tell(name, found.as_ref());
                }
            }
            // The proposal is made again.
            Ok(_) | Err(_) => {}
        }
    }

    async fn pause(&self, dependency: &str, wait: Duration) {
        let written = self.paused().get(dependency).copied();
        let until = written.unwrap_or_else(|| later(self.now(), wait));
        let worker = &self.worker;
        for durable in &self.durables {
            match worker.broker.pause(worker.flow.stream, durable, until).await {
                Ok(pause) if pause.is_longer_than(until) => {
                    tracing::info!(durable, "foreign_pause: paused for longer by an operator");
                }
                Ok(_) => {}
                Err(Unavailable(why)) => {
                    tracing::warn!(durable, why, "not paused on the server; the gate is shut");
                }
            }
        }
    }

    async fn resume(&self, dependency: &str) {
        let Some(until) = self.paused().remove(dependency) else { return };
        for durable in &self.durables {
            // It ends by itself in any case.
            let _ = self.worker.broker.resume(self.worker.flow.stream, durable, until).await;
        }
    }

    fn now(&self) -> Timestamp {
        self.worker.clock.now()
    }

    fn paused(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Timestamp>> {
        self.paused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn later(now: Timestamp, wait: Duration) -> Timestamp {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    now.saturating_add(wait).unwrap_or(Timestamp::MAX)
}
