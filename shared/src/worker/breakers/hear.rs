//! What the breakers hear from their bucket: what the replicas decided, and an operator's word.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, interval, sleep};

use super::{Breakers, Dependency, key};
use crate::breaker::fleet::Entry;
use crate::broker::{self, Seen, Unavailable, Watch};
use crate::clock::Asked;
use crate::pipeline::retry;
use crate::topology::{BREAKERS, override_key};

/// How often the clocks are compared, because an override would outlive a suspended machine.
const COMPARE_CLOCKS: Duration = Duration::from_secs(1);

impl Breakers {
    /// Hears what other replicas and operators decide, for as long as the worker runs.
    pub(super) async fn hear(self: Arc<Self>) {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let began = Instant::now();
            match self.worker.broker.watch(BREAKERS, "").await {
                Ok(mut watch) => self.follow(&mut *watch).await,
                Err(Unavailable(why)) => {
                    tracing::debug!(why, "the breakers' bucket is not watched");
                }
            }
            for one in self.dependencies.iter().filter(|one| one.is_in_the_fleet()) {
                one.limiter.unreadable();
            }
            self.heard.send_replace(true);
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
        self.mend_clock().await;
        for one in &self.dependencies {
            // An operator's word first: it holds before the first pull.
            let name = one.limiter.name();
            self.tell_override(one, present.get(&override_key(name)));
            self.tell_key(one, present.get(name));
        }
        self.heard.send_replace(true);
        let mut clocks = interval(COMPARE_CLOCKS);
        loop {
            tokio::select! {
                seen = watch.next() => match seen {
                    Ok(Seen::Set(entry)) => {
                        self.tell(&entry.key, Some(&entry));
                        present.insert(entry.key.clone(), entry);
                    }
                    Ok(Seen::Gone { key }) => {
                        self.tell(&key, None);
                        present.remove(&key);
                    }
                    Ok(Seen::AllPresent) => {}
                    Err(_) => return,
                },
                _ = clocks.tick() => {
                    if self.mend_clock().await {
                        for one in &self.dependencies {
                            self.tell_override(one, present.get(&override_key(one.limiter.name())));
                        }
                    }
                    for one in self.dependencies.iter().filter(|one| one.may_write_again()) {
                        self.tell_key(one, present.get(one.limiter.name()));
                    }
                }
            }
        }
    }

    /// Asks the broker for its time after a suspend, or after the wall clock was set.
    async fn mend_clock(&self) -> bool {
        let worker = &self.worker;
        if !worker.clock.has_jumped() {
            return false;
        }
        let asked = Asked::now();
        match worker.broker.inspect(worker.flow, worker.name()).await {
            Ok(seen) => {
                worker.clock.set(asked, seen.server_time);
                true
            }
            Err(_) => false,
        }
    }

    pub(super) fn tell(&self, key: &str, entry: Option<&broker::Entry>) {
        for one in &self.dependencies {
            let name = one.limiter.name();
            if key == name {
                if entry.is_none() && one.is_in_the_fleet() {
                    one.limiter.deleted();
                }
                self.tell_key(one, entry);
            } else if key == override_key(name) {
                self.tell_override(one, entry);
            }
        }
    }

    fn tell_key(&self, one: &Dependency, stored: Option<&broker::Entry>) {
        if !one.is_in_the_fleet() {
            return;
        }
        let Some(stored) = stored else { return one.limiter.seen(Entry::default(), 0) };
        let entry = key::read(stored).unwrap_or_else(|error| {
            self.junk(stored, "not a breaker's entry; the next transition replaces it", &error);
            Entry::default()
        });
        self.explain(&entry);
        one.limiter.seen(entry, stored.revision);
    }

    fn tell_override(&self, one: &Dependency, stored: Option<&broker::Entry>) {
        let forced = stored.and_then(|stored| {
            key::read_override(stored, self.now()).unwrap_or_else(|error| {
                self.junk(stored, "not an override; it is ignored", &error);
                None
            })
        });
        one.limiter.overridden(forced);
    }

    /// Warns of each entry once, however often it is read.
    fn junk(&self, stored: &broker::Entry, what: &str, error: &dyn Display) {
        let mut said = self.junk.lock().unwrap_or_else(PoisonError::into_inner);
        if said.insert(stored.key.clone(), stored.revision) != Some(stored.revision) {
            let key = &stored.key;
            tracing::warn!(key, %error, "{what}");
        }
    }
}
