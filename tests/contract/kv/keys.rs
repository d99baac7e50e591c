//! Keys: one writer of many wins, and an entry ends when its writer said, also when it was renewed
//! or follows one that has just ended.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use quadrille::broker::{Broker as _, Published, Seen, Unknown};
use quadrille::topology::{ATTEMPTS, BREAKERS};
use tests::eventually::eventually;
use tokio::time::Instant;

use super::{entry, next, set, stored, tells};
use crate::under_test::UnderTest;

contract!(
    of_twenty_racing_writers_exactly_one_wins,
    of_writers_racing_over_an_ended_entry_exactly_one_wins,
    a_key_is_read_as_it_was_written,
    an_entry_ends_in_time_and_a_watcher_hears_of_it_at_once,
    an_entry_over_one_that_has_just_ended_ends_too,
    a_renewed_entry_ends_after_its_new_time,
    a_deleted_key_counts_as_none,
    a_key_is_removed_only_at_the_revision_that_was_read,
    an_attempt_is_kept_without_a_time_of_its_own,
    a_key_that_is_none_and_a_value_that_is_too_large_are_refused,
);

const SECOND: Duration = Duration::from_secs(1);

/// Twenty writers start at once, and one of them wins; its revision.
async fn race(test: &UnderTest, key: &str, expected: u64) -> u64 {
    let brokers = join_all((0..20).map(|_| test.another())).await;
    let writers = brokers.iter().enumerate().map(|(at, broker)| async move {
        let written = set(broker, key, expected, &at.to_string(), Some(60 * SECOND)).await;
        match written {
            Published::Stored { sequence } => Some((at, sequence)),
            Published::Conflict => None,
            other => panic!("{other:?}"),
        }
    });
    let won: Vec<_> = join_all(writers).await.into_iter().flatten().collect();
    let [(at, revision)] = won[..] else { panic!("{won:?}") };
    let stored = entry(&test.broker, key).await.unwrap();
    assert_eq!((stored.revision, stored.value), (revision, Bytes::from(at.to_string())));
    revision
}

async fn of_twenty_racing_writers_exactly_one_wins(test: UnderTest) {
    let test = test.with_buckets().await;
    let key = test.key("race");
    let first = race(&test, &key, 0).await;
    race(&test, &key, first).await;
    // What was expected is there no longer.
    assert_eq!(set(&test.broker, &key, first, "", None).await, Published::Conflict);
    assert_eq!(set(&test.broker, &key, 0, "", None).await, Published::Conflict);
}

async fn of_writers_racing_over_an_ended_entry_exactly_one_wins(test: UnderTest) {
    let test = test.with_buckets().await;
    let key = test.key("race");
    stored(&test.broker, &key, 0, "", Some(SECOND)).await;
    gone(&test, &key).await;
    race(&test, &key, 0).await;
}

/// Waits until the key has no entry.
async fn gone(test: &UnderTest, key: &str) {
    let none = async || entry(&test.broker, key).await.is_none().then_some(());
    eventually("the entry has ended", none).await;
}

async fn a_key_is_read_as_it_was_written(test: UnderTest) {
    let test = test.with_buckets().await;
    let key = test.key("read");
    assert_eq!(entry(&test.broker, &key).await, None);
    let revision = stored(&test.broker, &key, 0, "{}", None).await;
    let read = entry(&test.broker, &key).await.unwrap();
    assert_eq!((&read.key, read.revision), (&key, revision));
    assert_eq!(read.value, "{}");
    let mut watch = test.broker.watch(BREAKERS, &key).await.unwrap();
    assert_eq!(next(&mut watch).await, Seen::Set(read));
}

async fn an_entry_ends_in_time_and_a_watcher_hears_of_it_at_once(test: UnderTest) {
    let test = test.with_buckets().await;
    let mut watch = test.watch().await;
    tells(&mut watch, &["all"]).await;
    // A busy machine may be late once.
    let mut late = Vec::new();
    while late.len() < 3 {
        let key = test.key(&format!("watched.{}", late.len()));
        // A part of a second counts as a whole one.
        stored(&test.broker, &key, 0, "1", Some(SECOND + SECOND / 2)).await;
        let written = Instant::now();
        assert!(matches!(next(&mut watch).await, Seen::Set(_)));
        assert_eq!(next(&mut watch).await, Seen::Gone { key: key.clone() });
        let lived = written.elapsed();
        assert!(lived > SECOND + SECOND / 2, "{lived:?}");
        assert_eq!(entry(&test.broker, &key).await, None);
        if lived < 2 * SECOND + SECOND / 5 {
            return;
        }
        late.push(lived);
    }
    panic!("told late: {late:?}");
}

/// Over what the ended entry left behind, which is there for a second, and after that.
async fn an_entry_over_one_that_has_just_ended_ends_too(test: UnderTest) {
    let test = test.with_buckets().await;
    let mut watch = test.watch().await;
    tells(&mut watch, &["all"]).await;
    let key = test.key("watched.lease");
    for _ in 0..3 {
        stored(&test.broker, &key, 0, "1", Some(SECOND)).await;
        tells(&mut watch, &["lease=1", "lease gone"]).await;
    }
    // What the last one left behind is gone by itself, and nobody is told.
    let (stream, subject) = (format!("KV_{BREAKERS}"), format!("$KV.{BREAKERS}.{key}"));
    eventually("nothing is left behind", async || {
        test.broker.last(&stream, &subject).await.ok()?.is_none().then_some(())
    })
    .await;
    stored(&test.broker, &key, 0, "2", Some(SECOND)).await;
    tells(&mut watch, &["lease=2", "lease gone"]).await;
}

async fn a_renewed_entry_ends_after_its_new_time(test: UnderTest) {
    let test = test.with_buckets().await;
    let mut watch = test.watch().await;
    tells(&mut watch, &["all"]).await;
    let key = test.key("watched.lease");
    let life = Some(3 * SECOND);
    let mut revision = stored(&test.broker, &key, 0, "0", life).await;
    tells(&mut watch, &["lease=0"]).await;
    let begun = Instant::now();
    let mut renewed = 0;
    // It outlives its first time, because it is renewed well before it ends.
    while begun.elapsed() < 4 * SECOND {
        let nothing = tokio::time::timeout(SECOND / 2, watch.next()).await;
        assert!(nothing.is_err(), "{nothing:?}");
        renewed += 1;
        revision = stored(&test.broker, &key, revision, &renewed.to_string(), life).await;
        tells(&mut watch, &[&format!("lease={renewed}")]).await;
    }
    let last = Instant::now();
    tells(&mut watch, &["lease gone"]).await;
    assert!(last.elapsed() < 5 * SECOND, "{:?}", last.elapsed());
    assert_eq!(set(&test.broker, &key, revision, "", life).await, Published::Conflict);
}

/// By an operator with stock tools, whose marker stays for ever.
async fn a_deleted_key_counts_as_none(test: UnderTest) {
    let test = test.with_buckets().await;
    let mut watch = test.watch().await;
    tells(&mut watch, &["all"]).await;
    let key = test.key("watched.key");
    let subject = format!("$KV.{BREAKERS}.{key}");
    for operation in [("KV-Operation", "DEL"), ("KV-Operation", "PURGE")] {
        stored(&test.broker, &key, 0, "1", None).await;
        // The bucket keeps one message a key, and a watch may not see what is no longer there.
        tells(&mut watch, &["key=1"]).await;
        let headers = [operation, ("Nats-Rollup", "sub")];
        test.raw.publish(&subject, &headers, "").await.unwrap();
        tells(&mut watch, &["key gone"]).await;
        assert_eq!(entry(&test.broker, &key).await, None);
    }
    stored(&test.broker, &key, 0, "2", None).await;
    tells(&mut watch, &["key=2"]).await;
}

async fn a_key_is_removed_only_at_the_revision_that_was_read(test: UnderTest) {
    let test = test.with_buckets().await;
    let key = test.key("removed");
    let remove = async |revision| {
        eventually("an answer that decides", async || {
            match test.broker.remove(BREAKERS, &key, revision).await {
                Published::Unknown(Unknown::Busy | Unknown::Full | Unknown::NoAnswer(_)) => None,
                answer => Some(answer),
            }
        })
        .await
    };
    let first = stored(&test.broker, &key, 0, "first", None).await;
    let second = stored(&test.broker, &key, first, "second", None).await;
    assert_eq!(remove(first).await, Published::Conflict);
    assert_eq!(entry(&test.broker, &key).await.unwrap().value, "second");
    let mut watch = test.broker.watch(BREAKERS, &key).await.unwrap();
    assert!(matches!(next(&mut watch).await, Seen::Set(_)));
    assert_eq!(next(&mut watch).await, Seen::AllPresent);
    assert!(matches!(remove(second).await, Published::Stored { .. }));
    assert_eq!(next(&mut watch).await, Seen::Gone { key: key.clone() });
    assert_eq!(entry(&test.broker, &key).await, None);
    stored(&test.broker, &key, 0, "third", None).await;
}

async fn an_attempt_is_kept_without_a_time_of_its_own(test: UnderTest) {
    let test = test.with_buckets().await;
    let key = test.key("charge-customer.17");
    let write = async |time_to_live| {
        eventually("an answer that decides", async || {
            let attempt = test.broker.compare_and_set(ATTEMPTS, &key, 0, "1".into(), time_to_live);
            match attempt.await {
                Published::Unknown(Unknown::Busy | Unknown::NoAnswer(_)) => None,
                answer => Some(answer),
            }
        })
        .await
    };
    // Only breakers has markers that tell of an end.
    let refused = write(Some(SECOND)).await;
    assert!(matches!(refused, Published::Rejected { code: 10166, .. }), "{refused:?}");
    let Published::Stored { sequence } = write(None).await else { panic!("not stored") };
    let read = test.broker.entry(ATTEMPTS, &key).await.unwrap().unwrap();
    assert_eq!((read.revision, read.value), (sequence, Bytes::from("1")));
}

async fn a_key_that_is_none_and_a_value_that_is_too_large_are_refused(test: UnderTest) {
    let test = test.with_buckets().await;
    for key in ["", "*", ">", "a b", "a..b"] {
        let refused = set(&test.broker, key, 0, "", None).await;
        assert!(matches!(refused, Published::Rejected { code: 0, .. }), "{refused:?}");
        test.broker.entry(BREAKERS, key).await.unwrap_err();
    }
    let large = "x".repeat(quadrille::topology::EVENT_BYTES + 1);
    let refused = set(&test.broker, &test.key("large"), 0, &large, None).await;
    assert_eq!(refused, Published::TooLarge);
}
