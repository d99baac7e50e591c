//! Quadrille as its users run it, for one test: a real nats-server, the sandbox and the workers,
//! each a process of its own.
//!
//! Workers may be killed, stopped and started again; the sandbox is never disturbed, because its
//! ledger is the truth. The workers' output is kept if a test fails. Everything ends with the test.

mod armed;
mod audit;
mod log;
mod orders;
mod sandbox;
mod stock;
mod supervisor;
mod worker;

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::Client;
use harness::folder::Folder;
use harness::process::Process;
use quadrille::broker::Broker;
use quadrille::flow::{Durable, Role};
use quadrille::nats::{NatsBroker, NatsOptions, connect, provision};
use quadrille::topology::{Profile, Topology};
use quadrille::{Event, KeyNamespace, SagaId};
use schemas::order_fulfilment::FLOW;
use schemas::order_fulfilment::events::OrderPlaced;

use crate::cluster::Cluster;
use crate::eventually::{eventually, within_patience};
use crate::invariants::{self, History};
use crate::raw::{Answer, Raw};
use crate::server::Server;

pub use armed::Armed;
pub use harness::binaries::{Build, program};
pub use log::{Follower, Logged};
pub use orders::{Fate, SKUS, SPARSE_SKU, order};
pub use sandbox::Sandbox;
pub use supervisor::{End, Supervisor};
pub use worker::{Launch, Launcher};

/// The broker delivers again after this time if no worker settled the message. It is short, so that
/// a crash costs a test little.
pub const ACK_WAIT: Duration = Duration::from_secs(1);

/// The broker, the sandbox and the workers that a test starts. Its fields are dropped in this
/// order.
#[derive(Debug)]
pub struct Stack {
    /// Started by [`Stack::start`] and never ended but by the test.
    pub workers: Vec<Process>,
    pub sandbox: Sandbox,
    /// The port that the runtime uses, for guarded writes and for reads.
    pub broker: NatsBroker,
    /// A stock client.
    pub raw: Raw,
    launcher: Launcher,
    /// The one that clients connect to.
    pub server: Server,
    /// The other nodes of its cluster, if it has any.
    pub others: Vec<Server>,
    /// Where the processes write: gone with the test, kept where the test fails.
    folder: Folder,
}

impl Stack {
    /// The broker with its streams and durables, and the sandbox, but no workers.
    pub async fn bare() -> Self {
        Self::bare_with(Topology { ack_wait: ACK_WAIT, ..Topology::new(&FLOW, Profile::Dev) }).await
    }

    /// As [`Stack::bare`], with other settings of the streams and durables.
    pub async fn bare_with(topology: Topology) -> Self {
        Self::at(Server::start().await, Vec::new(), topology).await
    }

    /// As [`Stack::bare`], on a cluster of three.
    pub async fn on_three_servers() -> Self {
        let mut nodes = Cluster::start(3).await.into_nodes();
        let first = nodes.remove(0);
        let topology = Topology { ack_wait: ACK_WAIT, ..Topology::new(&FLOW, Profile::Cluster) };
        Self::at(first, nodes, topology).await
    }

    async fn at(server: Server, others: Vec<Server>, topology: Topology) -> Self {
        let folder = Folder::new("quadrille-");
        let sandbox = Sandbox::start(&folder).await;
        let url = server.url();
        let options = NatsOptions { urls: vec![url.clone()], ..NatsOptions::default() };
        let broker = connect(&options).await.expect("the server runs");
        let raw = Raw::connect(std::slice::from_ref(&url)).await;
        let launcher = Launcher::new(folder.path(), &url, sandbox.url());
        let workers = Vec::new();
        let stack = Self { workers, sandbox, broker, raw, launcher, server, others, folder };
        stack.provision(&topology).await;
        stack
    }

    /// As [`Stack::bare`], with stock of every SKU of [`order`], and this many replicas of each
    /// worker, all ready.
    pub async fn running(replicas: usize) -> Self {
        let mut stack = Self::bare().await;
        for _ in 0..replicas {
            for row in FLOW.steps {
                stack.workers.push(stack.launcher.launch(&Launch::of(row.worker)));
            }
        }
        stack.ready().await;
        stack.fill_stock().await;
        stack
    }

    /// Creates the streams and durables that are missing.
    pub async fn provision(&self, topology: &Topology) {
        let plan = provision::plan(&self.broker, topology).await.expect("the server answers");
        provision::apply(&self.broker, &plan).await.expect("the server takes the plan");
    }

    /// Starts one replica of a worker and waits until it takes work.
    pub async fn start(&mut self, launch: Launch) -> &mut Process {
        let mut worker = self.launcher.launch(&launch);
        worker.ready().await.unwrap_or_else(|error| panic!("{error:#}"));
        self.workers.push(worker);
        self.workers.last_mut().expect("just pushed")
    }

    /// Starts one replica of every worker but this one.
    pub async fn start_others(&mut self, but: &str) {
        for row in FLOW.steps.iter().filter(|row| row.worker != but) {
            self.start(Launch::of(row.worker)).await;
        }
    }

    /// The first replica of a worker.
    ///
    /// # Panics
    /// When none was started.
    pub fn worker(&mut self, name: &str) -> &mut Process {
        self.workers.iter_mut().find(|worker| worker.name() == name).expect("it was started")
    }

    /// Waits until every worker takes work.
    pub async fn ready(&mut self) {
        for worker in &mut self.workers {
            worker.ready().await.unwrap_or_else(|error| panic!("{error:#}"));
        }
    }

    /// Starts processes of this stack from another task.
    pub fn launcher(&self) -> Launcher {
        self.launcher.clone()
    }

    pub fn client(&self) -> Client {
        self.raw.client.clone()
    }

    /// Writes the order's opening slot with the guard, as bare JSON.
    pub async fn place(&self, id: &SagaId, order: &OrderPlaced) -> Answer {
        let guard = ("Nats-Expected-Last-Subject-Sequence", "0");
        self.raw.publish(&opening(id), &[guard], order.to_data().get()).await
    }

    /// As [`Stack::place`], without the guard, as a stock client does.
    pub async fn publish(&self, id: &SagaId, order: &OrderPlaced) -> Answer {
        self.raw.publish(&opening(id), &[], order.to_data().get()).await
    }

    /// Places orders of these fates, named `<name>-0` and so on, half of them as a stock client
    /// does; the broker must accept every one.
    pub async fn place_all(&self, name: &str, fates: &[Fate]) -> Vec<SagaId> {
        let mut ids = Vec::new();
        for (at, fate) in fates.iter().enumerate() {
            let id = SagaId::parse(&format!("{name}-{at}")).expect("a short name");
            let order = order(*fate, at);
            let taken = if at % 2 == 0 {
                self.place(&id, &order).await
            } else {
                self.publish(&id, &order).await
            };
            taken.expect("a new order");
            ids.push(id);
        }
        ids
    }

    /// Waits until each of these orders is completed or cancelled.
    ///
    /// # Panics
    /// When one of them is not, after a minute; shows its story.
    pub async fn closed(&self, ids: &[SagaId]) {
        let limit = Duration::from_secs(60);
        if let Err(open) = self.closed_within(ids, limit).await {
            panic!("not closed after {limit:?}:\n{open}");
        }
    }

    /// # Errors
    /// The stories of the orders that are still open.
    pub async fn closed_within(&self, ids: &[SagaId], limit: Duration) -> Result<(), String> {
        let mut open: BTreeSet<_> =
            ids.iter().map(|id| FLOW.slot(FLOW.closing().slot, id).subject().to_owned()).collect();
        let filter = FLOW.filter(FLOW.closing().slot);
        let mut follower = Follower::of(self.client(), FLOW.stream, &filter).await;
        let all = async {
            while !open.is_empty() {
                open.remove(&follower.next().await.subject);
            }
        };
        if tokio::time::timeout(limit, all).await.is_ok() {
            return Ok(());
        }
        let mut stories = format!("{} orders are open\n", open.len());
        for subject in open.iter().take(5) {
            let (_, id) = FLOW.parse_subject(subject).expect("made from a slot");
            stories.push_str(&self.story(&id).await);
        }
        Err(stories)
    }

    /// One line per event of an order, as the log has them.
    pub async fn story(&self, id: &SagaId) -> String {
        let found = self.broker.last_of_many(FLOW.stream, vec![FLOW.story(id)]).await;
        let lines = found.expect("the server answers").into_iter().map(|stored| {
            let payload = String::from_utf8_lossy(&stored.payload);
            format!("  {:>6} {} {payload}\n", stored.sequence, stored.subject)
        });
        lines.collect()
    }

    /// Waits until no durable has anything left to deliver or to settle, but those that walk one
    /// deadline behind the present.
    pub async fn quiet(&self) {
        let walks = |durable: &Durable| matches!(durable.role, Role::Deadline(_));
        for durable in FLOW.durables(None).iter().filter(|durable| !walks(durable)) {
            self.settled(&durable.name).await;
        }
    }

    /// Waits until one durable has nothing left to deliver or to settle.
    pub async fn settled(&self, durable: &str) {
        eventually(&format!("{durable} has settled everything"), async || {
            let stream = if durable.ends_with("-released") {
                FLOW.parked_stream()
            } else {
                FLOW.stream.to_owned()
            };
            let info = self.raw.durable(&stream, durable).await;
            let left = |field: &str| info[field].as_u64().expect("a number");
            (left("num_pending") + left("num_ack_pending") == 0).then_some(())
        })
        .await;
    }

    /// In which the log's idempotency keys are derived.
    pub async fn keys(&self) -> KeyNamespace {
        let stream = self.raw.stream(FLOW.stream).await;
        let noted = stream["config"]["metadata"]["quadrille.keys"].as_str();
        noted.unwrap_or_default().parse().expect("noted when the stream was made")
    }

    /// The whole history, for the checker.
    pub async fn history(&self) -> History {
        let read = |stream| log::read_all(self.client(), stream);
        History {
            keys: self.keys().await,
            log: within_patience("the log is read", read("ORDERS")).await,
            parked: within_patience("the parked stream is read", read("ORDERS_PARKED")).await,
            stock: self.stock_at_one_moment().await,
            ledger: self.sandbox.ledger().await,
        }
    }

    /// Shipped pieces leave the shelf in the background: reads again where the stock changed
    /// meanwhile.
    async fn stock_at_one_moment(&self) -> Vec<Logged> {
        let stream = schemas::stock::STREAM;
        let last = async || self.raw.stream(stream).await["state"]["last_seq"].clone();
        eventually("the stock is read while it rests", async || {
            let before = last().await;
            let read = log::read_all(self.client(), stream).await;
            (last().await == before).then_some(read)
        })
        .await
    }

    /// Checks every invariant, of an order system at rest.
    ///
    /// # Panics
    /// When one is violated; names each.
    pub async fn check(&self) {
        let violations = invariants::check(&self.history().await);
        assert!(violations.is_empty(), "{}", invariants::listing(&violations));
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.folder.stays();
            eprintln!("what the processes said is in {}", self.folder.path().display());
        }
    }
}

fn opening(id: &SagaId) -> String {
    FLOW.slot(FLOW.opens.slot, id).subject().to_owned()
}
