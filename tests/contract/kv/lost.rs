//! A watch whose server dies, stands still, or loses the connection: each of these cases has
//! servers of its own.

use quadrille::broker::{Broker as _, Pause, Seen, Watch};
use quadrille::topology::BREAKERS;
use tests::cluster::Cluster;
use tests::eventually::{eventually, within_patience};
use tests::server::Server;

use super::{stored, tells, watch};
use crate::under_test::UnderTest;

/// Waits until the watch says that it is lost; it says so again, however often it is asked.
async fn is_lost(watch: &mut Box<dyn Watch>) {
    let lost = async {
        loop {
            if let Err(why) = watch.next().await {
                break why;
            }
        }
    };
    let why = within_patience("the end of the watch", lost).await.to_string();
    assert_eq!(watch.next().await.unwrap_err().to_string(), why);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_is_made_again_after_a_restart_and_tells_the_whole_state() {
    let mut server = Server::start().await;
    let test = UnderTest::at(vec![server.url()]).await.with_buckets().await;
    let key = |name: &str| test.key(&format!("watched.{name}"));
    let first = stored(&test.broker, &key("a"), 0, "1", None).await;
    stored(&test.broker, &key("b"), 0, "1", None).await;
    let mut watching = test.watch().await;
    tells(&mut watching, &["a=1", "b=1", "all"]).await;
    server.restart().await;
    is_lost(&mut watching).await;
    stored(&test.broker, &key("a"), first, "2", None).await;
    let mut watching = test.watch().await;
    tells(&mut watching, &["b=1", "a=2", "all"]).await;
    stored(&test.broker, &key("c"), 0, "1", None).await;
    tells(&mut watching, &["c=1"]).await;
}

/// Nothing closes the connection, so only the silence says it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_whose_server_stands_still_is_lost() {
    let server = Server::start().await;
    let test = UnderTest::at(vec![server.url()]).await.with_buckets().await;
    let mut watching = test.watch().await;
    tells(&mut watching, &["all"]).await;
    server.process.pause();
    is_lost(&mut watching).await;
    server.process.resume();
    let mut watching = test.watch().await;
    tells(&mut watching, &["all"]).await;
}

/// The server forgets the consumer and says nothing, as when the node that has it dies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_whose_consumer_is_gone_is_lost() {
    let server = Server::start().await;
    let test = UnderTest::at(vec![server.url()]).await.with_buckets().await;
    let mut watching = test.watch().await;
    tells(&mut watching, &["all"]).await;
    let names = test.raw.api(&format!("CONSUMER.NAMES.KV_{BREAKERS}"), ().into()).await.unwrap();
    let name = names["consumers"][0].as_str().unwrap();
    test.raw.api(&format!("CONSUMER.DELETE.KV_{BREAKERS}.{name}"), ().into()).await.unwrap();
    is_lost(&mut watching).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_watches_and_pauses_survive_every_node_of_a_cluster_in_turn() {
    let mut cluster = Cluster::start(3).await;
    let test = UnderTest::at(cluster.urls()).await.with_durable().await.with_buckets().await;
    let (stream, durable) = (test.flow.stream, "charge-customer");
    let key = test.key("watched.k");
    let until = "2100-01-01T00:00:00Z".parse().unwrap();
    let pause = async || test.broker.pause(stream, durable, until).await.ok();
    eventually("the pause holds", pause).await;
    let mut revision = stored(&test.broker, &key, 0, "start", None).await;
    let mut watching = test.watch().await;
    for node in ["n0", "n1", "n2"] {
        cluster.node(node).process.kill();
        let before = revision;
        revision = stored(&test.broker, &key, revision, node, None).await;
        assert!(revision > before);
        let told = async {
            loop {
                match watching.next().await {
                    Ok(Seen::Set(entry)) if entry.revision == revision => break,
                    Ok(_) => {}
                    Err(_) => watching = watch(&test.broker, &test.key("watched")).await,
                }
            }
        };
        within_patience("the change is told", told).await;
        let paused = async || test.broker.paused(stream, durable).await.ok();
        let paused = eventually("the pause is read", paused).await;
        assert!(matches!(paused, Pause::On { until: live, .. } if live == until), "{paused:?}");
        cluster.node(node).restart().await;
        cluster.ready().await;
    }
}
