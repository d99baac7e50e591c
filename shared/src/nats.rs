//! The broker port on NATS JetStream. Nothing outside this module names NATS, its subjects, its
//! headers or its error codes.
//!
//! Requests and answers are our own JSON over plain messages, not the client's JetStream types,
//! because we must distinguish the answers to a publish by code and text, and a pull must know at
//! any moment how many messages it has asked for.

mod api;
mod ask;
mod bucket;
mod connection;
mod inspect;
mod message;
mod names;
mod pause;
mod port;
pub mod provision;
mod publish;
mod pull;
mod read;
mod restore;
mod service;
mod settings;

use std::sync::Arc;

use async_nats::Client;
use tokio::sync::watch;

use crate::broker::{Page, Unavailable};
use connection::Reading;
pub(crate) use connection::nowhere;
pub use connection::{ConnectError, Given, NatsOptions, connect};
pub use names::{BadName, Names};

/// What the client's own log lines begin their target with.
pub(crate) const LOG_TARGET: &str = "async_nats";

/// NATS, for everything in the process; cheap to clone. One connection for all that a process says
/// and is answered, and others for what clients of any kind wrote.
#[derive(Debug, Clone)]
pub struct NatsBroker {
    client: Client,
    names: Names,
    /// Its sender lives in the client's task, so it closes when that task ends, no matter how.
    alive: watch::Receiver<()>,
    options: Arc<NatsOptions>,
    /// For reads from any replica, whose answers have the stored headers.
    looking: Arc<Reading>,
    publisher: Arc<publish::Publisher>,
}

impl NatsBroker {
    /// Resolves once the client's task is dead. Then nothing works on the main connection any
    /// longer, although it may still look connected. The process should end, because only a new
    /// connection helps.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut alive = self.alive.clone();
        async move { while alive.changed().await.is_ok() {} }
    }

    /// Whether the connection is up now; for display and for readiness.
    pub fn connected(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
            && self.alive.has_changed().is_ok()
    }

    /// What the flow's streams and subjects are called here.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// As [`Broker::read_matching`](crate::broker::Broker::read_matching), from the leader, one
    /// request a message: what it does not find is not there.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn read_matching_of_leader(
        &self,
        stream: &str,
        filter: &str,
        from: u64,
        most: usize,
    ) -> Result<Page, Unavailable> {
        let (stream, filter) = (self.names.stream(stream), self.names.subject(filter));
        let page = read::careful_page(&self.client, &stream, &filter, from, most).await?;
        Ok(self.names.page(page))
    }

    /// Version of the server at the other end: `2.15.1`.
    pub fn server_version(&self) -> String {
        self.client.server_info().version
    }
}
