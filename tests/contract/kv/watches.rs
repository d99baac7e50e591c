//! Watches: what is there, then a mark, then every change in order, and nothing left behind.

use std::time::Duration;

use futures::future::join_all;
use quadrille::broker::{Broker as _, Seen};
use quadrille::topology::BREAKERS;
use tests::eventually::eventually;

use super::{next, stored, tells, told, watch};
use crate::under_test::UnderTest;

contract!(
    a_watch_tells_what_is_there_then_the_mark_then_every_change_in_order,
    a_watch_of_a_prefix_hears_of_no_other_key,
    a_watch_of_nothing_begins_with_the_mark,
    what_is_there_is_told_whole_while_it_changes,
    every_watcher_hears_of_a_change,
    a_cancelled_wait_for_a_change_loses_nothing,
    a_watch_that_is_dropped_leaves_no_consumer_behind,
    a_watch_goes_on_or_says_that_it_is_lost_when_the_leader_steps_down,
    a_watch_of_a_bucket_that_does_not_exist_says_so,
);

async fn a_watch_tells_what_is_there_then_the_mark_then_every_change_in_order(test: UnderTest) {
    let test = test.with_buckets().await;
    let key = |name: &str| test.key(&format!("watched.{name}"));
    let mut revisions = Vec::new();
    for name in ["a", "b", "c"] {
        revisions.push(stored(&test.broker, &key(name), 0, "1", None).await);
    }
    stored(&test.broker, &key("a"), revisions[0], "2", None).await;
    let mut watch = test.watch().await;
    // By revision, so the one written last is last.
    tells(&mut watch, &["b=1", "c=1", "a=2", "all"]).await;
    for at in 0..50 {
        let revision = stored(&test.broker, &key("c"), revisions[2], &at.to_string(), None).await;
        revisions[2] = revision;
        let Seen::Set(entry) = next(&mut watch).await else { panic!("not set") };
        assert_eq!((entry.revision, entry.value), (revision, at.to_string().into()));
    }
    stored(&test.broker, &key("d"), 0, "1", Some(Duration::from_secs(1))).await;
    tells(&mut watch, &["d=1", "d gone"]).await;
}

async fn a_watch_of_a_prefix_hears_of_no_other_key(test: UnderTest) {
    let test = test.with_buckets().await;
    let others = ["gateway-2", "gateway-2.override", "gate"];
    for name in others.iter().chain(&["gateway", "gateway.override"]) {
        stored(&test.broker, &test.key(name), 0, "1", None).await;
    }
    let mut one = watch(&test.broker, &test.key("gateway")).await;
    tells(&mut one, &["gateway=1", "override=1", "all"]).await;
    // The whole bucket has the keys of all.
    let mut all = watch(&test.broker, "").await;
    let mut seen = Vec::new();
    loop {
        match next(&mut all).await {
            Seen::Set(entry) => seen.push(entry.key),
            Seen::Gone { .. } => {}
            Seen::AllPresent => break,
        }
    }
    for name in others {
        assert!(seen.contains(&test.key(name)), "{name}: {seen:?}");
    }
}

async fn a_watch_of_nothing_begins_with_the_mark(test: UnderTest) {
    let test = test.with_buckets().await;
    let mut watch = test.watch().await;
    tells(&mut watch, &["all"]).await;
    stored(&test.broker, &test.key("watched"), 0, "1", None).await;
    tells(&mut watch, &["watched=1"]).await;
}

/// Keys are set again while the watch still tells of them: each is told at least once before the
/// mark or after it, and the last that is told of a key is its newest entry.
async fn what_is_there_is_told_whole_while_it_changes(test: UnderTest) {
    let test = test.with_buckets().await;
    let keys: Vec<_> = (0..100).map(|at| test.key(&format!("watched.{at}"))).collect();
    let mut revisions =
        join_all(keys.iter().map(|key| stored(&test.broker, key, 0, "1", None))).await;
    let rewrite = async {
        for (key, revision) in keys.iter().zip(&mut revisions).rev() {
            *revision = stored(&test.broker, key, *revision, "2", None).await;
        }
    };
    let (mut watch, ()) = tokio::join!(test.watch(), rewrite);
    let mut newest = std::collections::BTreeMap::new();
    let mut marks = 0;
    while marks == 0
        || newest.values().filter(|revision| revisions.contains(revision)).count() < 100
    {
        match next(&mut watch).await {
            Seen::Set(entry) => {
                let before = newest.insert(entry.key, entry.revision);
                assert!(before < Some(entry.revision), "{before:?}");
            }
            Seen::AllPresent => marks += 1,
            Seen::Gone { key } => panic!("{key} is not gone"),
        }
    }
    assert_eq!(marks, 1);
}

async fn every_watcher_hears_of_a_change(test: UnderTest) {
    let test = test.with_buckets().await;
    let brokers = join_all((0..8).map(|_| test.another())).await;
    let prefix = test.key("watched");
    let mut watches = join_all(brokers.iter().map(|broker| watch(broker, &prefix))).await;
    for watch in &mut watches {
        tells(watch, &["all"]).await;
    }
    stored(&test.broker, &prefix, 0, "1", None).await;
    for watch in &mut watches {
        tells(watch, &["watched=1"]).await;
    }
}

async fn a_cancelled_wait_for_a_change_loses_nothing(test: UnderTest) {
    let test = test.with_buckets().await;
    let mut watch = test.watch().await;
    let key = test.key("watched.k");
    let writer = async {
        let mut revision = 0;
        for at in 0..200 {
            revision = stored(&test.broker, &key, revision, &at.to_string(), None).await;
        }
        revision
    };
    let reader = async {
        let mut revisions = Vec::new();
        let mut seen = String::new();
        while seen != "k=199" {
            let wait = Duration::from_micros(fastrand::u64(0..2_000));
            let Ok(next) = tokio::time::timeout(wait, watch.next()).await else { continue };
            let next = next.unwrap();
            seen = told(&next);
            if let Seen::Set(entry) = next {
                revisions.push(entry.revision);
            }
        }
        revisions
    };
    let (last, revisions) = tokio::join!(writer, reader);
    assert_eq!(revisions.last(), Some(&last));
    assert!(revisions.is_sorted(), "{revisions:?}");
}

/// The consumers of the bucket whose filter is this case's own.
async fn consumers(test: &UnderTest) -> usize {
    let own = format!("$KV.{BREAKERS}.{}", test.key("watched"));
    let mut found = 0;
    let mut offset = 0;
    loop {
        let page = serde_json::json!({ "offset": offset });
        let list = format!("CONSUMER.LIST.KV_{BREAKERS}");
        let page =
            eventually("a list", async || test.raw.api(&list, page.clone()).await.ok()).await;
        let consumers = page["consumers"].as_array().unwrap();
        let filters =
            consumers.iter().map(|consumer| consumer["config"]["filter_subjects"][0].clone());
        found += filters.filter(|filter| *filter == own).count();
        offset += consumers.len();
        if consumers.is_empty() || offset >= page["total"].as_u64().unwrap() as usize {
            return found;
        }
    }
}

async fn a_watch_that_is_dropped_leaves_no_consumer_behind(test: UnderTest) {
    let test = test.with_buckets().await;
    let mut watch = test.watch().await;
    for _ in 0..4 {
        tells(&mut watch, &["all"]).await;
        watch = test.watch().await;
    }
    eventually("only the last one is left", async || (consumers(&test).await == 1).then_some(()))
        .await;
    // It lives for longer than a consumer to which nothing listens.
    let quiet = tokio::time::timeout(Duration::from_secs(7), async {
        tells(&mut watch, &["all"]).await;
        watch.next().await
    })
    .await;
    assert!(quiet.is_err(), "{quiet:?}");
    assert_eq!(consumers(&test).await, 1);
    drop(watch);
    eventually("none is left", async || (consumers(&test).await == 0).then_some(())).await;
}

async fn a_watch_goes_on_or_says_that_it_is_lost_when_the_leader_steps_down(test: UnderTest) {
    let test = test.with_buckets().await;
    let mut watching = test.watch().await;
    let key = test.key("watched.k");
    let mut revision = 0;
    for round in 0..4 {
        test.raw.step_down(&format!("KV_{BREAKERS}")).await;
        revision = stored(&test.broker, &key, revision, &round.to_string(), None).await;
        // The newest is told, by this watch or by the one after it.
        loop {
            match watching.next().await {
                Ok(Seen::Set(entry)) if entry.revision == revision => break,
                Ok(_) => {}
                Err(_) => watching = test.watch().await,
            }
        }
    }
}

async fn a_watch_of_a_bucket_that_does_not_exist_says_so(test: UnderTest) {
    let error = test.broker.watch("no-such-bucket", "").await.err().unwrap();
    assert!(error.to_string().contains("KV_no-such-bucket does not exist"), "{error}");
}
