//! Takes commands from clients that are not trusted with the log: `POST /orders`, and the micro
//! service `orders` over NATS.
//!
//! It checks what it is given with the very types that the workers read, tells all mistakes at
//! once, writes the order into its `placed` slot, and answers with a token for reads. It keeps
//! nothing: the slot itself answers a repeat. It has no row in the flow table, because it reacts to
//! no event.

pub mod order;
pub mod intake;
mod log;

mod http;
mod micro;
pub mod openapi;

mod problems;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use quadrille::broker::Answers;
use quadrille::config::duration;
use quadrille::service::http::{Limits, listen, serve};
use quadrille::service::{Service, Start};
use serde::{Deserialize, Serialize};

use http::Ways;
use intake::Intake;

/// The name from end to end.
pub const NAME: &str = "command";

/// Settings in the section `command`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Address of the HTTP service; port 0 takes a free one.
    pub listen: SocketAddr,
    /// A file to write the address to, once it is known.
    pub address_file: Option<PathBuf>,
    /// The header in which a proxy in front names the caller, after it has removed the client's
    /// own. Whoever can reach `listen` past the proxy can name any caller.
    pub caller_header: Option<String>,
    /// Commands in hand at once, over HTTP and NATS together; further ones are answered with 503.
    /// Each may have a body of 512 KiB in memory.
    pub concurrency: usize,
    /// HTTP connections at once; further ones are answered with 503 and closed.
    pub connections: usize,
    /// How long a client may take for the head of a request, and again for its body.
    #[serde(with = "duration")]
    pub read_timeout: Duration,
    /// How long a write whose answer is lost is repeated. The client then gets 504, at most 2 s
    /// later.
    #[serde(with = "duration")]
    pub patience: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        let Limits { connections, head_time, .. } = Limits::default();
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8070)),
            address_file: None,
            caller_header: None,
            concurrency: 128,
            connections,
            read_timeout: head_time,
            // `nats req` itself waits for 5 s.
            patience: Duration::from_secs(3),
        }
    }
}

impl Settings {
    fn check(&self) -> anyhow::Result<()> {
        let counts =
            [("concurrency", self.concurrency), ("connections", self.connections)].into_iter();
        for (key, count) in counts {
            ensure!((1..=65_536).contains(&count), "{NAME}.{key} must be 1 to 65536");
        }
        ensure!(!self.read_timeout.is_zero(), "{NAME}.read_timeout must be longer than zero");
        Ok(())
    }
}

/// Serves until a signal.
///
/// # Errors
/// When a setting makes no sense, the log does not exist, or the address cannot be listened at.
pub async fn run(start: Start, settings: Settings) -> anyhow::Result<()> {
    settings.check()?;
    let ways = Ways::new(settings.caller_header.as_deref(), settings.read_timeout)?;
    let broker = start.broker();
    let mut service: Service = start.begin().await?;
    let listener =
        listen("command.listen", settings.listen, settings.address_file.as_deref()).await?;
    let (log, watch) = log::watch(broker.clone(), service.log());
    service.beside(watch);
    let connection = service.connection();
    let connected = Box::new(move || connection.is_up());
    let intake = Intake::new(broker.clone(), connected, log, &settings);
    let intake = Arc::new(intake);
    let requests =
        broker.serve(micro::SERVICE, micro::PREFIX, micro::ENDPOINTS, Answers::One).await?;
    service.spawn(micro::serve(requests, intake.clone(), service.stopping()));
    let limits = Limits {
        connections: settings.connections,
        head_time: settings.read_timeout,
        ..Limits::default()
    };
    let router = http::router(intake, ways);
    service.spawn(serve(listener, router, limits, service.stopping()));
    service.run().await
}
