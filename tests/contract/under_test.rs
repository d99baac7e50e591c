//! A broker to test, with a flow, a stream and durables that are this case's own; all cases share
//! the servers.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use quadrille::broker::{BatchMessage, Broker as _, Delivered, Published, Pull, Pulled, Unknown};
use quadrille::nats::{self, NatsBroker, NatsOptions, provision};
use quadrille::topology::{Profile, Topology};
use quadrille::{Flow, SagaId, Slot};
use schemas::order_fulfilment::FLOW;
use serde_json::{Value, json};
use tests::cluster::Cluster;
#[cfg(feature = "containers")]
use tests::container::Container;
use tests::eventually::{eventually, within_patience};
use tests::raw::Raw;
use tests::server::Server;
use tokio::sync::OnceCell;

static ONE_SERVER: OnceCell<Server> = OnceCell::const_new();
static THREE_SERVERS: OnceCell<Cluster> = OnceCell::const_new();
static CASES: AtomicU32 = AtomicU32::new(0);

pub(crate) struct UnderTest {
    pub(crate) broker: NatsBroker,
    pub(crate) raw: Raw,
    /// The order flow, on a stream and subjects of this case's own.
    pub(crate) flow: &'static Flow,
    pub(crate) topology: Topology,
    pub(crate) clustered: bool,
    pub(crate) urls: Vec<String>,
    #[cfg(feature = "containers")]
    _container: Option<Container>,
}

impl UnderTest {
    pub(crate) async fn one_server() -> Self {
        let server = ONE_SERVER.get_or_init(Server::start).await;
        Self::at(vec![server.url()]).await
    }

    /// A server of its own, so that its container ends with the case.
    #[cfg(feature = "containers")]
    pub(crate) async fn official_image() -> Self {
        let container = Container::start().await;
        let this = Self::at(vec![container.url()]).await;
        Self { _container: Some(container), ..this }
    }

    pub(crate) async fn three_servers() -> Self {
        let cluster = THREE_SERVERS.get_or_init(|| Cluster::start(3)).await;
        Self::at(cluster.urls()).await
    }

    pub(crate) async fn at(urls: Vec<String>) -> Self {
        let case = CASES.fetch_add(1, Ordering::Relaxed);
        let stream: &str = Box::leak(format!("CASE{case}").into_boxed_str());
        let subjects = Box::leak(format!("case{case}").into_boxed_str());
        let flow: &'static Flow = Box::leak(Box::new(Flow { stream, subjects, ..FLOW }));
        let clustered = urls.len() > 1;
        let profile = if clustered { Profile::Cluster } else { Profile::Dev };
        let mut topology = Topology::new(flow, profile);
        topology.ack_wait = Duration::from_secs(1);
        // The server reserves this much of its disk.
        topology.max_bytes = 16 << 20;
        topology.parked_max_bytes = 1 << 20;
        topology.kept_max_bytes = 1 << 20;
        Self {
            broker: connect(&urls).await,
            raw: Raw::connect(&urls).await,
            flow,
            topology,
            clustered,
            urls,
            #[cfg(feature = "containers")]
            _container: None,
        }
    }

    /// Creates the flow's stream and no durables.
    pub(crate) async fn with_stream(self) -> Self {
        self.provision(&[&format!("stream {}", self.flow.stream)]).await;
        self.served().await
    }

    /// Waits until the server answers a write that is to be refused, because our server of a
    /// cluster may hear of a new stream later than its leader.
    async fn served(self) -> Self {
        let subject = format!("{}.nothing.here", self.flow.subjects);
        let refused = BatchMessage { subject, expected_last: 999, payload: Bytes::new() };
        answered(async || self.broker.publish_batch(vec![refused.clone()]).await).await;
        self
    }

    /// Creates the flow's stream and the durable `charge-customer`, on slot `inventory`.
    pub(crate) async fn with_durable(self) -> Self {
        let this = self.with_stream().await;
        this.provision(&["durable charge-customer"]).await;
        this
    }

    /// Creates a stream of this case's subjects, as another team might, with the server's defaults
    /// and these settings.
    pub(crate) async fn with_other_stream(self, settings: Value) -> Self {
        let mut config = json!({
            "name": self.flow.stream,
            "subjects": [format!("{}.>", self.flow.subjects)],
            "num_replicas": self.topology.profile.replicas(),
            "storage": "file",
        });
        for (key, value) in settings.as_object().unwrap() {
            config[key] = value.clone();
        }
        self.raw.api(&format!("STREAM.CREATE.{}", self.flow.stream), config).await.unwrap();
        self.served().await
    }

    /// A stream such as the inventory worker's: it keeps the newest message of a subject, and takes
    /// atomic batches.
    pub(crate) async fn with_stock(self) -> Self {
        let settings = json!({
            "max_msgs_per_subject": 1, "discard": "new", "allow_atomic": true, "allow_direct": true,
        });
        self.with_other_stream(settings).await
    }

    /// Messages in this case's stream.
    pub(crate) async fn stored(&self) -> u64 {
        self.raw.messages(self.flow.stream).await
    }

    /// Applies the part of the plan that is about these objects.
    pub(crate) async fn provision(&self, objects: &[&str]) {
        let plan = provision::plan(&self.broker, &self.topology).await.unwrap();
        let mut plan = plan;
        plan.retain(|change| objects.contains(&change.object.as_str()));
        assert_eq!(plan.len(), objects.len(), "{plan:?}");
        provision::apply(&self.broker, &plan).await.unwrap();
    }

    /// Another client of the same servers.
    pub(crate) async fn another(&self) -> NatsBroker {
        connect(&self.urls).await
    }

    /// The slot `name` of the saga `id`.
    pub(crate) fn slot(&self, name: &'static str, id: &str) -> Slot {
        self.flow.slot(name, &SagaId::parse(id).unwrap())
    }

    /// Writes a slot, trying again as long as the answer is unknown.
    pub(crate) async fn write(&self, name: &'static str, id: &str) -> Published {
        write(&self.broker, &self.slot(name, id), "{}").await
    }

    /// Fills the slot `inventory` of the sagas `s0`, `s1`, ….
    pub(crate) async fn triggers(&self, count: usize) {
        let ids: Vec<_> = (0..count).map(|at| format!("s{at}")).collect();
        let writes = ids.iter().map(|id| self.write("inventory", id));
        for written in futures::future::join_all(writes).await {
            assert!(matches!(written, Published::Stored { .. }), "{written:?}");
        }
    }

    /// Deliveries of the durable `charge-customer`.
    pub(crate) async fn pull(&self) -> Box<dyn Pull> {
        self.broker.pull(self.flow.stream, "charge-customer").await.unwrap()
    }
}

pub(crate) async fn connect(urls: &[String]) -> NatsBroker {
    let options = NatsOptions { urls: urls.to_vec(), ..NatsOptions::default() };
    nats::connect(&options).await.expect("the server runs")
}

/// The first answer to a publish; tries again, because a cluster may be between two leaders.
pub(crate) async fn answered(publish: impl AsyncFn() -> Published) -> Published {
    eventually("an answer", async || match publish().await {
        Published::Unknown(Unknown::NoAnswer(_)) => None,
        answer => Some(answer),
    })
    .await
}

/// Writes a slot, trying again as long as the answer is unknown.
pub(crate) async fn write(broker: &NatsBroker, slot: &Slot, body: &str) -> Published {
    let body = Bytes::copy_from_slice(body.as_bytes());
    eventually("an answer that decides", async || {
        match broker.publish_once(slot, body.clone()).await {
            Published::Unknown(_) => None,
            answer => Some(answer),
        }
    })
    .await
}

/// The next delivery, which must come.
pub(crate) async fn next(pull: &mut Box<dyn Pull>, free: usize) -> Delivered {
    match within_patience("a delivery", pull.next(free)).await {
        Pulled::Message(delivered) => delivered,
        Pulled::Deleted => panic!("the durable is gone"),
    }
}
