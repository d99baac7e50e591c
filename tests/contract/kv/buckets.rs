//! The buckets: made and compared with the streams, shared by all flows, and no worker's condition.

use std::time::Duration;

use quadrille::broker::Broker as _;
use quadrille::nats::provision::{self, Change, ChangeKind};
use quadrille::nats::{self, Given, NatsOptions};
use quadrille::topology::{Profile, Topology};
use serde_json::{Value, json};
use tests::cluster::Cluster;
use tests::proxy::Proxy;
use tests::server::{Server, Settings};

use crate::under_test::UnderTest;

impl UnderTest {
    /// Applies the part of the plan that is about these buckets; another case may have done so.
    pub(super) async fn apply_buckets(&self, names: &[&str]) {
        let plan = self.bucket_plan(&self.topology, names).await;
        provision::apply(&self.broker, &plan).await.unwrap();
    }

    async fn bucket_plan(&self, topology: &Topology, names: &[&str]) -> Vec<Change> {
        let mut plan = provision::plan(&self.broker, topology).await.unwrap();
        let is_asked = |change: &Change| {
            let name = change.object.strip_prefix("bucket ");
            name.is_some_and(|name| names.contains(&name))
        };
        plan.retain(is_asked);
        plan
    }
}

const BOTH: [&str; 2] = ["breakers", "attempts"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_flows_of_an_account_share_the_buckets() {
    let server = Server::start().await;
    let one = UnderTest::at(vec![server.url()]).await;
    let other = UnderTest::at(vec![server.url()]).await;
    let made: Vec<_> =
        one.bucket_plan(&one.topology, &BOTH).await.iter().map(Change::to_string).collect();
    assert_eq!(
        made,
        [
            "bucket breakers: create it for $KV.breakers.>, one copy, at most 4MiB",
            "bucket attempts: create it for $KV.attempts.>, one copy, at most 64MiB",
        ]
    );
    one.apply_buckets(&BOTH).await;
    let larger = Topology { max_bytes: 1 << 30, ..other.topology.clone() };
    for topology in [&one.topology, &other.topology, &larger] {
        assert_eq!(one.bucket_plan(topology, &BOTH).await, []);
    }
    // Both may apply at once.
    let (first, second) = (one.bucket_plan(&one.topology, &BOTH), other.apply_buckets(&BOTH));
    assert_eq!(tokio::join!(first, second).0, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_whose_answer_is_lost_is_sent_again() {
    let server = Server::start().await;
    let proxy = Proxy::to(&server.url()).await;
    let test = UnderTest::at(vec![proxy.url()]).await;
    proxy.lose_answers_after("PUB $JS.API.STREAM.CREATE.KV_breakers", Duration::from_millis(100));
    test.apply_buckets(&BOTH).await;
    assert_eq!(proxy.triggered(), 1);
    assert_eq!(test.bucket_plan(&test.topology, &BOTH).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flow_of_a_lower_profile_leaves_the_copies_of_a_bucket() {
    let cluster = Cluster::start(3).await;
    let test = UnderTest::at(cluster.urls()).await;
    let single = Topology::new(test.flow, Profile::Dev);
    let plan = test.bucket_plan(&single, &BOTH).await;
    provision::apply(&test.broker, &plan).await.unwrap();
    // A cluster wants three, and one is no reason to go back.
    let raise = test.bucket_plan(&test.topology, &BOTH).await;
    let sentences: Vec<_> = raise.iter().map(Change::to_string).collect();
    assert_eq!(
        sentences,
        BOTH.map(|name| format!("bucket {name}: num_replicas is 1, but must be 3"))
    );
    provision::apply(&test.broker, &raise).await.unwrap();
    assert_eq!(test.bucket_plan(&single, &BOTH).await, []);
    assert_eq!(test.bucket_plan(&test.topology, &BOTH).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_or_different_bucket_is_reported_apart_and_repaired() {
    let server = Server::start().await;
    let test = UnderTest::at(vec![server.url()]).await;
    let look = async || {
        let seen = test.broker.inspect(test.flow, "charge-customer").await.unwrap();
        assert!(seen.drift.iter().all(|line| !line.contains("bucket")), "{:?}", seen.drift);
        seen.bucket_drift
    };
    assert_eq!(look().await, ["bucket breakers does not exist", "bucket attempts does not exist"]);
    test.apply_buckets(&["attempts"]).await;
    assert_eq!(look().await, ["bucket breakers does not exist"]);
    test.apply_buckets(&BOTH).await;
    assert_eq!(look().await, Vec::<String>::new());
    // An operator, by hand.
    let other = json!({ "max_msgs_per_subject": 5, "max_age": 3_600_000_000_000_u64 });
    test.raw.change_stream("KV_breakers", other).await.unwrap();
    assert_eq!(
        look().await,
        [
            "bucket breakers: max_msgs_per_subject is 5, but must be 1",
            "bucket breakers: max_age is 1h, but must be 0",
        ]
    );
    test.raw.publish("$KV.breakers.a", &[], "1").await.unwrap();
    test.apply_buckets(&BOTH).await;
    assert_eq!(look().await, Vec::<String>::new());
}

/// The broker never answers what it does not permit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_may_not_look_at_a_bucket_inspects_the_rest() {
    let worker = r#"permissions: { publish: { deny: "$JS.API.STREAM.INFO.KV_attempts" } }"#;
    let users =
        format!("{{ user: operator, password: o }}\n{{ user: worker, password: w, {worker} }}");
    let lines = format!("authorization {{ users: [\n{users}\n] }}\nno_auth_user: operator");
    let server = Server::start_with(&Settings { lines, ..Settings::default() }).await.unwrap();
    let test = UnderTest::at(vec![server.url()]).await;
    let plan = provision::plan(&test.broker, &test.topology).await.unwrap();
    provision::apply(&test.broker, &plan).await.unwrap();
    let options = NatsOptions {
        urls: test.urls.clone(),
        user: Some("worker".to_owned()),
        password: Some(Given::Text("w".to_owned())),
        ..NatsOptions::default()
    };
    let worker = nats::connect(&options).await.unwrap();
    let seen = worker.inspect(test.flow, "charge-customer").await.unwrap();
    assert_eq!((seen.drift, seen.incarnations.len()), (Vec::new(), 1));
    let [drift] = &seen.bucket_drift[..] else { panic!("{:?}", seen.bucket_drift) };
    assert!(drift.starts_with("bucket attempts cannot be inspected: "), "{drift}");
}

/// As `nats kv add breakers` makes it, and with nothing in memory that must stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_stock_tools_made_is_taken_over() {
    let server = Server::start().await;
    let test = UnderTest::at(vec![server.url()]).await;
    let stock = |name: &str, storage: &str| {
        json!({
            "name": format!("KV_{name}"), "subjects": [format!("$KV.{name}.>")],
            "max_msgs_per_subject": 1, "discard": "new", "storage": storage, "num_replicas": 1,
            "deny_delete": true, "allow_rollup_hdrs": true, "allow_direct": true,
            "max_bytes": -1, "max_age": 0, "duplicate_window": 120_000_000_000_u64,
        })
    };
    for (name, storage) in [("breakers", "file"), ("attempts", "memory")] {
        let create = format!("STREAM.CREATE.KV_{name}");
        test.raw.api(&create, stock(name, storage)).await.unwrap();
    }
    test.apply_buckets(&["breakers"]).await;
    assert_eq!(test.bucket_plan(&test.topology, &["breakers"]).await, []);
    let refused = test.bucket_plan(&test.topology, &["attempts"]).await;
    let refused = refused.iter().find(|change| change.kind == ChangeKind::Refuse).unwrap();
    assert!(refused.sentence.contains("delete the bucket, and apply again"), "{refused}");
    test.raw.api("STREAM.DELETE.KV_attempts", Value::Null).await.unwrap();
    test.apply_buckets(&BOTH).await;
    assert_eq!(test.bucket_plan(&test.topology, &BOTH).await, []);
}
