//! Answers questions about sagas from a read projection of the log (the *query* side of CQRS), over
//! HTTP and as a NATS micro service.
//!
//! It changes nothing: no worker reads it, and without it every order goes on. What is special
//! about orders is in [`orders`]; the rest serves any flow that has a [`View`].

pub mod orders;
pub mod view;

mod operation;
mod question;
mod api;

mod list;
mod found;
mod one;
mod why;
mod find;
mod held;
mod aside;
mod listed;
mod steps;
mod flow;
mod stock;
mod changes;

mod access;
mod page;
mod verbs;

mod http;
mod micro;
mod openapi;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use quadrille::Flow;
use quadrille::broker::Answers;
use quadrille::config::duration;
use quadrille::service::http::{Limits, listen};
use quadrille::service::{self, Start};
use serde::{Deserialize, Serialize};

pub use view::{Filter, Verb, View};

/// Section `query` of the settings.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where HTTP is answered; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Reading needs no token, although `listen` is not of this machine: for a port that only this
    /// machine reaches, such as one of a container.
    pub open: bool,
    /// The header in which a proxy in front names who asks, after it has removed the client's own.
    /// Such a request needs no token.
    pub user_header: Option<String>,
    /// Nothing can be asked for through this service, and the page offers nothing.
    pub read_only: bool,
    /// A file to write that address to, once it is known.
    pub address_file: Option<PathBuf>,
    /// The folder of the projections' files; replicas may share it, each takes a place of its own.
    pub folder: PathBuf,
    /// How long a question waits for its `min_seq`, unless it says so itself.
    #[serde(with = "duration")]
    pub wait: Duration,
    /// The longest that a question may wait. Answers over NATS are awaited for 5 s.
    #[serde(with = "duration")]
    pub wait_max: Duration,
    /// The longest that reading rows may take.
    #[serde(with = "duration")]
    pub query_limit: Duration,
    /// How often a stream of events says that it is alive.
    #[serde(with = "duration")]
    pub heartbeat: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8420)),
            open: false,
            user_header: None,
            read_only: false,
            address_file: None,
            folder: PathBuf::from(".quadrille/query"),
            wait: Duration::from_secs(2),
            wait_max: Duration::from_secs(4),
            query_limit: Duration::from_secs(2),
            heartbeat: Duration::from_secs(5),
        }
    }
}

/// Serves the sagas of a flow until a signal.
///
/// # Errors
/// When the address is in use, the folder cannot be written to, or the flow has no stream.
pub async fn run(flow: &'static Flow, view: &'static View, start: Start) -> anyhow::Result<()> {
    let settings: Settings = start.settings()?;
    let broker = start.broker();
    let opened = quadrille_projection::open(flow, &view.model, broker.clone(), &settings.folder);
    let (projection, runner) = opened?;
    let listener =
        listen("query.listen", settings.listen, settings.address_file.as_deref()).await?;
    let access = Arc::new(access::Access::new(&settings)?);
    let address = listener.local_addr()?;
    // Whoever has it may act; it is printed, because somebody must know it.
    tracing::info!(page = format!("http://{address}/#token={}", access.token()), "shows the page");
    let mut service: service::Service = start.begin().await?;
    let mut stopping = service.stopping();
    service.spawn(runner.run(async move { stopping.asked().await }));
    let replica = format!("{:08x}", fastrand::u32(..));
    let api = Api::new(projection.clone(), broker.clone(), view, settings, replica.clone());
    let api = Arc::new(api);
    let router = http::router(api.clone(), access, service.stopping());
    service.spawn(service::http::serve(listener, router, Limits::default(), service.stopping()));
    let endpoints = micro::endpoints(&api);
    let requests = broker.serve("query", view.many, &endpoints, Answers::One).await?;
    service.spawn(micro::serve(requests, api.clone(), service.stopping()));
    // One certain replica is asked under its own name.
    let own = format!("query.{replica}");
    let requests = broker.serve("query-replica", &own, &micro::OF_REPLICA, Answers::One).await?;
    service.spawn(micro::serve(requests, api.clone(), service.stopping()));
    let (each, endpoints) = micro::OF_EACH;
    let requests = broker.serve("query-each", each, &endpoints, Answers::Each).await?;
    service.spawn(micro::serve(requests, api, service.stopping()));
    let mut stopping = service.stopping();
    tokio::select! {
        () = projection.serves() => {}
        () = stopping.asked() => {}
    }
    service.run().await
}

use api::Api;
