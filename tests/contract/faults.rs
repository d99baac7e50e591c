//! Servers that die or are stopped: each of these cases has servers of its own.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use quadrille::broker::{BatchMessage, Broker as _, Published, Pull, Settle, Unknown};
use tests::cluster::Cluster;
use tests::eventually::eventually;
use tests::server::Server;

use crate::under_test::{UnderTest, next, write};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_without_an_answer_may_be_stored_later() {
    let mut server = Server::start().await;
    let test = UnderTest::at(vec![server.url()]).await.with_stream().await;
    server.process.kill();
    // A client that has not noticed yet would lose the publish with its connection.
    eventually("the client notices", async || (!test.broker.connected()).then_some(())).await;
    let slot = test.slot("payment", "s1");
    let lost = test.broker.publish_once(&slot, Bytes::new()).await;
    assert!(matches!(lost, Published::Unknown(Unknown::NoAnswer(_))), "{lost:?}");
    server.restart().await;
    // Nobody publishes again, but it is there.
    eventually("it is stored", async || {
        let read = test.broker.last(test.flow.stream, slot.subject()).await;
        read.ok().flatten()
    })
    .await;
    assert_eq!(write(&test.broker, &slot, "").await, Published::Conflict);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_goes_on_after_its_server_was_killed_or_stood_still() {
    let mut server = Server::start().await;
    let test = UnderTest::at(vec![server.url()]).await.with_durable().await;
    let mut pull = test.pull().await;
    let mut seen = BTreeSet::new();
    for round in 0..3 {
        for at in 0..20 {
            test.write("inventory", &format!("r{round}-{at}")).await;
        }
        take(&test, &mut pull, &mut seen, 20 * round + 10).await;
        if round == 1 {
            server.process.pause();
            // The pull asks all the while, and the client gives its connection up.
            let noticed =
                eventually("the client notices", async || (!test.broker.connected()).then_some(()));
            tokio::select! {
                () = noticed => {}
                () = take(&test, &mut pull, &mut seen, usize::MAX) => {}
            }
            server.process.resume();
        } else {
            server.restart().await;
        }
        take(&test, &mut pull, &mut seen, 20 * round + 20).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_and_a_publish_go_on_after_the_leader_was_killed() {
    let mut cluster = Cluster::start(3).await;
    let test = UnderTest::at(cluster.urls()).await.with_durable().await;
    let mut pull = test.pull().await;
    let mut seen = BTreeSet::new();
    for round in 0..2 {
        let leader = eventually("there is a leader", async || {
            let info = match round {
                0 => test.raw.stream(test.flow.stream).await,
                _ => test.raw.durable(test.flow.stream, "charge-customer").await,
            };
            info["cluster"]["leader"].as_str().map(str::to_owned)
        })
        .await;
        test.write("inventory", &format!("before{round}")).await;
        cluster.node(&leader).process.kill();
        for at in 0..20 {
            test.write("inventory", &format!("r{round}-{at}")).await;
        }
        take(&test, &mut pull, &mut seen, 21 * (round + 1)).await;
        cluster.node(&leader).restart().await;
        cluster.ready().await;
    }
    assert_eq!(test.stored().await, 42);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_has_stored_a_batch_whole_or_not_at_all() {
    let mut server = Server::start().await;
    let test = UnderTest::at(vec![server.url()]).await.with_stock().await;
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        let batches = async {
            for batch in 0.. {
                let subject = |at| format!("{}.sku.{round}-{batch}-{at}", test.flow.subjects);
                let message = |at| BatchMessage {
                    subject: subject(at),
                    expected_last: 0,
                    payload: Bytes::new(),
                };
                match test.broker.publish_batch((0..40).map(message).collect()).await {
                    Published::Stored { sequence } => acknowledged.push(sequence),
                    _ => break,
                }
            }
        };
        let kill = async {
            tokio::time::sleep(Duration::from_millis(fastrand::u64(100..300))).await;
            server.process.kill();
        };
        tokio::join!(batches, kill);
        server.restart().await;
        let stored = eventually("the stream is back", async || {
            let info = test.raw.api(&format!("STREAM.INFO.{}", test.flow.stream), ().into()).await;
            info.ok()?["state"]["messages"].as_u64()
        })
        .await;
        assert_eq!(stored % 40, 0);
        assert!(Some(&stored) >= acknowledged.last(), "{stored} {acknowledged:?}");
    }
    assert!(acknowledged.iter().all(|sequence| sequence % 40 == 0), "{acknowledged:?}");
}

/// Pulls and settles until it has seen this many different messages.
async fn take(test: &UnderTest, pull: &mut Box<dyn Pull>, seen: &mut BTreeSet<u64>, count: usize) {
    while seen.len() < count {
        let delivered = next(pull, 8).await;
        seen.insert(delivered.message.sequence);
        test.broker.settle(&delivered.receipt, Settle::Ack).await;
    }
}
