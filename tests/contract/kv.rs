//! What a breaker of a whole fleet relies on: keys, watches, pauses, and the buckets themselves.
//!
//! All cases of a server share its buckets, as all flows of an account do; each has keys of its
//! own.

mod buckets;
mod keys;
mod lost;
mod pauses;
mod watches;

use std::time::Duration;

use bytes::Bytes;
use quadrille::broker::{Broker, Entry, Published, Seen, Unknown, Watch};
use quadrille::topology::BREAKERS;
use tests::eventually::{eventually, within_patience};

use crate::under_test::UnderTest;

impl UnderTest {
    /// With the buckets, and nothing else.
    async fn with_buckets(self) -> Self {
        self.apply_buckets(&["breakers", "attempts"]).await;
        // Our server of a cluster may hear of a new stream later than its leader.
        let written = set(&self.broker, &self.key("ready"), 0, "", None).await;
        assert!(matches!(written, Published::Stored { .. }), "{written:?}");
        self
    }

    /// A key that no other case has.
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.flow.subjects)
    }

    /// A watch of the keys that are this case's own.
    async fn watch(&self) -> Box<dyn Watch> {
        watch(&self.broker, &self.key("watched")).await
    }
}

/// A watch of the keys below a prefix; tries again, because a cluster may be between two leaders.
async fn watch(broker: &impl Broker, prefix: &str) -> Box<dyn Watch> {
    eventually("a watch", async || broker.watch(BREAKERS, prefix).await.ok()).await
}

/// Compares and sets a key of the bucket `breakers`; tries again as long as the answer is unknown.
async fn set(
    broker: &impl Broker,
    key: &str,
    expected: u64,
    value: &str,
    time_to_live: Option<Duration>,
) -> Published {
    let value = Bytes::copy_from_slice(value.as_bytes());
    eventually("an answer that decides", async || {
        match broker.compare_and_set(BREAKERS, key, expected, value.clone(), time_to_live).await {
            Published::Unknown(Unknown::Busy | Unknown::Full | Unknown::NoAnswer(_)) => None,
            answer => Some(answer),
        }
    })
    .await
}

/// The same, and it must be stored; its revision. A conflict with our own entry, whose answer was
/// lost, is no conflict.
async fn stored(
    broker: &impl Broker,
    key: &str,
    expected: u64,
    value: &str,
    time_to_live: Option<Duration>,
) -> u64 {
    match set(broker, key, expected, value, time_to_live).await {
        Published::Stored { sequence } => sequence,
        other => match entry(broker, key).await {
            Some(own) if own.value == value && own.revision > expected => own.revision,
            entry => panic!("{key}: {other:?}, {entry:?}"),
        },
    }
}

/// What the leader has for a key.
async fn entry(broker: &impl Broker, key: &str) -> Option<Entry> {
    eventually("an answer", async || broker.entry(BREAKERS, key).await.ok()).await
}

async fn next(watch: &mut Box<dyn Watch>) -> Seen {
    within_patience("something to tell", watch.next()).await.unwrap()
}

/// The part of a key after the case's own prefix, and its value: `a=1`, `a gone`, `all`.
fn told(seen: &Seen) -> String {
    let last = |key: &str| key.rsplit('.').next().unwrap().to_owned();
    match seen {
        Seen::Set(entry) => {
            format!("{}={}", last(&entry.key), String::from_utf8_lossy(&entry.value))
        }
        Seen::Gone { key } => format!("{} gone", last(key)),
        Seen::AllPresent => "all".to_owned(),
    }
}

/// The next of these, as [`told`] writes them. The mark may come early, once: a server that is not
/// the leader may read for a watch, and be a moment behind.
async fn tells(watch: &mut Box<dyn Watch>, expected: &[&str]) {
    let mut marked = false;
    let has_mark = expected.contains(&"all");
    for expected in expected {
        if marked && *expected == "all" {
            continue;
        }
        let mut seen = told(&next(watch).await);
        if seen == "all" && *expected != "all" && has_mark && !marked {
            marked = true;
            seen = told(&next(watch).await);
        }
        assert_eq!(seen, *expected);
    }
}
