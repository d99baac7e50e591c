//! The circuit breakers of one worker: one for each service that its step requires, shared by its
//! durables, and one watch of the fleet's keys for all of them.
//!
//! What is decided comes from the pure machines; here it is written, paused, read and logged. The
//! breaker is never in doubt about the log: without its bucket each replica decides for itself.

mod hear;
mod key;
mod report;
mod server;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::breaker::fleet::{Effect, Entry, Phase};
use crate::breaker::gate::Limiter;
use crate::breaker::{FleetMode, call};
use crate::broker::Published;
use crate::config::{BreakerSettings, Settings, WorkerSettings};
use crate::flow::{Role, Row};
use crate::pipeline::Worker;
use crate::telemetry;
use crate::topology::BREAKERS;
use report::Stopwatch;
use server::{Foreign, Wanted};

/// A write of the key gives way to the next decision after this.
const WRITE_TIME: Duration = Duration::from_secs(1);

/// After so many writes of the key without an answer, one a second, a replica decides alone.
const WRITES: u32 = 10;
/// And so many seconds later it tries to decide with the others again.
const WRITES_AGAIN: u32 = 60;

/// How a process names itself among the replicas: it differs after a restart.
pub(super) fn instance(worker: &str) -> String {
    format!("{worker}-{:08x}", fastrand::u32(..))
}

/// A limiter for each service of the row, in its order.
pub(super) fn limiters(
    row: &Row,
    own: &BTreeMap<String, BreakerSettings>,
    worker: &WorkerSettings,
    instance: &str,
) -> anyhow::Result<Vec<Arc<Limiter>>> {
    let started = Instant::now();
    let limiter = |name: &&'static str| {
        let settings = own.get(*name).cloned().unwrap_or_default().settings(worker.concurrency);
        settings.check().with_context(|| format!("breaker.{name}"))?;
        Ok(Limiter::new(*name, instance, settings, started))
    };
    row.requires.iter().map(limiter).collect()
}

/// The breaker around the calls of a service that the row prefers.
pub(super) fn of_calls(
    row: Option<&Row>,
    dependency: &str,
    settings: &Settings,
) -> anyhow::Result<call::Breaker> {
    let preferred = row.and_then(|row| row.prefers.iter().find(|name| **name == dependency));
    let name = preferred.with_context(|| format!("the flow row does not prefer {dependency}"))?;
    let own = settings.breaker.get(*name).cloned().unwrap_or_default();
    let own = own.settings(settings.worker.concurrency);
    own.check().with_context(|| format!("breaker.{name}"))?;
    let name = *name;
    Ok(call::Breaker::new(own).telling(move |news| telemetry::fallback(name, news)))
}

/// What drives the breakers of a worker.
pub(super) struct Breakers {
    worker: Arc<Worker>,
    instance: String,
    /// In the order of the row.
    dependencies: Vec<Dependency>,
    /// In the order of their numbers.
    durables: Vec<Durable>,
    foreign: Arc<Foreign>,
    /// Until when, in Unix milliseconds, a key has explained the pause of a durable.
    explained: Mutex<BTreeMap<String, u64>>,
    /// The revision of what could not be read, so that each is said once.
    junk: Mutex<BTreeMap<String, u64>>,
    /// Whether the bucket was read, or found to be unreadable.
    heard: watch::Sender<bool>,
}

struct Dependency {
    limiter: Arc<Limiter>,
    server: watch::Sender<Wanted>,
    stopwatch: Stopwatch,
    /// Writes of the key that failed in a row, then seconds since.
    unwritten: AtomicU32,
}

struct Durable {
    name: String,
    /// Whether a breaker pauses it on the server, too.
    is_gated: bool,
    is_of_the_log: bool,
}

impl Dependency {
    /// Whether this replica decides with the others. An operator it obeys in any case.
    fn is_in_the_fleet(&self) -> bool {
        self.limiter.look(|replica| replica.settings().fleet != FleetMode::Off)
    }
}

impl Dependency {
    /// Called each second: whether a replica that could not write the key has been alone for long
    /// enough to try once more.
    fn may_write_again(&self) -> bool {
        let readable = self.limiter.look(|replica| replica.fleet().is_readable());
        let alone = !readable && self.unwritten.load(Ordering::Relaxed) >= WRITES;
        let is_time =
            alone && self.unwritten.fetch_add(1, Ordering::Relaxed) >= WRITES + WRITES_AGAIN;
        if is_time {
            self.unwritten.store(0, Ordering::Relaxed);
        }
        is_time
    }
}

impl Breakers {
    pub(super) fn new(
        worker: Arc<Worker>,
        instance: String,
        limiters: Vec<Arc<Limiter>>,
    ) -> Arc<Self> {
        let durables = worker.flow.durables(Some(worker.name())).into_iter();
        let durables = durables.map(|durable| Durable {
            is_gated: matches!(durable.role, Role::Forward | Role::Undo) && !limiters.is_empty(),
            is_of_the_log: durable.stream == worker.flow.stream,
            name: durable.name,
        });
        let durables = durables.collect();
        let dependency = |limiter| Dependency {
            limiter,
            server: watch::Sender::new(None),
            stopwatch: Stopwatch::default(),
            unwritten: AtomicU32::new(0),
        };
        Arc::new(Self {
            worker,
            instance,
            dependencies: limiters.into_iter().map(dependency).collect(),
            durables,
            foreign: Arc::default(),
            explained: Mutex::default(),
            junk: Mutex::default(),
            heard: watch::Sender::new(false),
        })
    }

    /// Starts what runs beside the work.
    pub(super) fn start(self: &Arc<Self>, around: &mut JoinSet<()>, look_every: Duration) {
        if self.dependencies.is_empty() {
            self.heard.send_replace(true);
        } else {
            around.spawn(self.clone().hear());
        }
        for (at, one) in self.dependencies.iter().enumerate() {
            let (worker, foreign) = (self.worker.clone(), self.foreign.clone());
            around.spawn(self.clone().drive(at));
            around.spawn(server::keep(worker, self.gated(), foreign, one.server.subscribe()));
        }
        let of_the_log = self.durables.iter().filter(|durable| durable.is_of_the_log);
        let all = of_the_log.map(|durable| durable.name.clone()).collect();
        let explaining = self.clone();
        let explained = move |durable: &str| explaining.explained(durable);
        let (worker, foreign) = (self.worker.clone(), self.foreign.clone());
        around.spawn(server::look(worker, all, foreign, look_every, explained));
    }

    /// Resolves once the bucket was read, or found to be unreadable: an operator's word holds
    /// before the first pull.
    pub(super) async fn heard(&self) {
        // It cannot fail: `self` holds the sender.
        let _ = self.heard.subscribe().wait_for(|heard| *heard).await;
    }

    /// Keeps a breaker's time and does what it decides, for as long as the worker runs.
    async fn drive(self: Arc<Self>, at: usize) {
        let Some(one) = self.dependencies.get(at) else { return };
        let limiter = &one.limiter;
        loop {
            for effect in limiter.turn().await {
                match effect {
                    Effect::Write { expected, entry } => self.write(one, expected, entry).await,
                    Effect::PauseServer(wait) => {
                        let stored = limiter.look(|replica| replica.fleet().stored().0.clone());
                        let until = stored.pauses.values().max().copied().map(key::moment);
                        // The fleet may have moved on since.
                        if stored.phase == Phase::Paused {
                            let until = until.unwrap_or_else(|| later(self.now(), wait));
                            one.server.send_replace(Some(until));
                        }
                    }
                    Effect::ResumeServer => drop(one.server.send_replace(None)),
                    Effect::Log(news) => telemetry::breaker(limiter.name(), &news),
                }
            }
            let phase = limiter.look(|replica| replica.phase());
            one.stopwatch.set(phase == Phase::Paused, Instant::now());
        }
    }

    async fn write(&self, one: &Dependency, expected: u64, entry: Entry) {
        let name = one.limiter.name();
        let now = self.now();
        let mut entry = Entry { since_ms: key::milliseconds(now), ..entry };
        if entry.phase == Phase::Paused {
            // Before the write: the pause on the server must not outlast the fleet's own.
            let until = key::milliseconds(later(now, Duration::from_millis(entry.wait_ms)));
            entry.pauses = self.gated().into_iter().map(|durable| (durable, until)).collect();
        }
        let value = key::write(&entry);
        let broker = &self.worker.broker;
        let written = broker.compare_and_set(BREAKERS, name, expected, value, None);
        match timeout(WRITE_TIME, written).await {
            Ok(Published::Stored { sequence }) => {
                one.unwritten.store(0, Ordering::Relaxed);
                self.explain(&entry);
                one.limiter.seen(entry, sequence);
            }
            // The watch brings what is stored, but it says nothing of a key that was purged.
            Ok(Published::Conflict) => {
                if let Ok(Ok(found)) = timeout(WRITE_TIME, broker.entry(BREAKERS, name)).await {
                    self.tell(name, found.as_ref());
                }
            }
            // The proposal is made again, but nobody stays shut for want of a right to write.
            Ok(_) | Err(_) => {
                let failed = one.unwritten.fetch_add(1, Ordering::Relaxed) + 1;
                if failed >= WRITES && one.limiter.look(|replica| replica.fleet().is_readable()) {
                    tracing::warn!(
                        dependency = name,
                        "the breaker's key cannot be written (bucket `{BREAKERS}`): see that this \
                         worker may publish to it; until then this replica decides alone"
                    );
                    one.limiter.unreadable();
                }
            }
        }
    }

    fn gated(&self) -> Vec<String> {
        let gated = self.durables.iter().filter(|durable| durable.is_gated);
        gated.map(|durable| durable.name.clone()).collect()
    }

    /// Until when a key that this worker follows has ever explained a pause of a durable: the pause
    /// may outlast its key by a moment.
    fn explained(&self, durable: &str) -> Timestamp {
        let explained = self.explained.lock().unwrap_or_else(PoisonError::into_inner);
        explained.get(durable).copied().map_or(Timestamp::UNIX_EPOCH, key::moment)
    }

    fn explain(&self, entry: &Entry) {
        let mut explained = self.explained.lock().unwrap_or_else(PoisonError::into_inner);
        for (durable, until) in &entry.pauses {
            let longest = explained.entry(durable.clone()).or_default();
            *longest = (*longest).max(*until);
        }
    }

    fn now(&self) -> Timestamp {
        self.worker.clock.now()
    }
}

fn later(now: Timestamp, wait: Duration) -> Timestamp {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    now.saturating_add(wait).unwrap_or(Timestamp::MAX)
}
