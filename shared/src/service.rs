//! The process around a service: something that answers requests and has no row in the flow table,
//! such as one that takes commands, or one that reads.
//!
//! It has the settings, logs, health, signals and orderly end of every process. What it answers,
//! and whether it minds that its log was made anew, is its own affair.

pub mod http;
pub mod problem;

use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use crate::Flow;
use crate::broker::{Broker, StreamState};
use crate::nats::NatsBroker;
use crate::process::shutdown::{Shutdown, Stop, Stopper};
use crate::process::{self, Process, Running};

/// Requests answered, by service, way (`http`, `nats`) and status.
pub const REQUESTS: &str = "quadrille_requests_total";

/// Counts an answer.
pub fn answered(service: &'static str, way: &'static str, status: u16) {
    let status = status.to_string();
    metrics::counter!(REQUESTS, "service" => service, "way" => way, "status" => status)
        .increment(1);
}

/// A service that has read its settings and reached the broker, and serves nothing yet.
pub struct Start(Process);

/// `main` of a service: reads the command line and the settings, reaches the broker, and does what
/// `build` says, which ends with [`Service::run`]. `name` is its section of the settings.
pub fn main<F>(flow: &'static Flow, name: &'static str, build: impl FnOnce(Start) -> F) -> ExitCode
where
    F: Future<Output = anyhow::Result<()>>,
{
    process::main(flow, name, |process| build(Start(process)))
}

impl Start {
    /// The settings in this service's own section, which has its name.
    ///
    /// # Errors
    /// When a key is unknown or a value has another form than expected.
    pub fn settings<S: DeserializeOwned + Serialize>(&self) -> anyhow::Result<S> {
        self.0.settings()
    }

    /// The broker; cheap to call.
    pub fn broker(&self) -> Arc<dyn Broker> {
        self.0.broker()
    }

    /// Looks at the flow's stream, and begins to serve health and to hear signals. Reports ready
    /// only in [`Service::run`].
    ///
    /// # Errors
    /// When the broker has no such stream, or gives no answer for some seconds.
    pub async fn begin(self) -> anyhow::Result<Service> {
        let Self(process) = self;
        let log = look(&process.broker, process.flow).await?;
        let broker = process.broker.clone();
        let drain_limit = process.settings.worker.drain_limit;
        let running = process.start().await?;
        Ok(Service { running, log, broker, drain_limit, work: JoinSet::new() })
    }
}

/// How often a service that starts asks for its stream, with a wait of half a second between.
const LOOKS: u32 = 10;

async fn look(broker: &NatsBroker, flow: &Flow) -> anyhow::Result<StreamState> {
    let mut looks = 0;
    loop {
        looks += 1;
        match broker.state(flow.stream).await {
            Ok(Some(state)) => return Ok(state),
            Ok(None) => bail!(
                "stream {} does not exist; see `topology plan` of the operator's tool",
                broker.names().stream(flow.stream)
            ),
            Err(why) if looks >= LOOKS => return Err(why.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(500)).await,
        }
    }
}

/// A service that serves health and hears signals.
pub struct Service {
    running: Running,
    log: StreamState,
    broker: crate::nats::NatsBroker,
    drain_limit: Duration,
    work: JoinSet<()>,
}

impl Service {
    /// The flow's stream, as it was at the start.
    pub fn log(&self) -> &StreamState {
        &self.log
    }

    /// Says at any moment whether the connection to the broker is up.
    pub fn connection(&self) -> Connection {
        Connection(self.broker.clone())
    }

    /// Hears that the service is to stop; cheap to clone.
    pub fn stopping(&self) -> Stopping {
        Stopping(self.running.shutdown.clone())
    }

    /// Ends the process with an error, which a supervisor answers by starting it again.
    pub fn halting(&self) -> Halting {
        Halting(self.running.stopper.clone())
    }

    /// Runs work that listens to [`Service::stopping`]: it takes nothing new after
    /// [`Stopping::asked`], finishes what it has, and ends. It ends at once after
    /// [`Stopping::let_go`].
    pub fn spawn(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.work.spawn(work);
    }

    /// Runs something beside, which is dropped once all work has ended.
    pub fn beside(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.running.around.spawn(work);
    }

    /// How long work in hand may go on after a signal: `worker.drain_limit`.
    pub fn drain_limit(&self) -> Duration {
        self.drain_limit
    }

    /// Reports ready, and runs until a signal and the end of all work.
    ///
    /// # Errors
    /// When the process has to end by itself: a part of it panicked, the connection to the broker
    /// is gone for good, or [`Halting::halt`] was called.
    pub async fn run(self) -> anyhow::Result<()> {
        self.running.until_the_end(self.work).await
    }
}

/// Whether the connection to the broker is up.
#[derive(Debug, Clone)]
pub struct Connection(crate::nats::NatsBroker);

impl Connection {
    /// While it is not, what is sent waits in this process, and may be stored later.
    pub fn is_up(&self) -> bool {
        self.0.connected()
    }
}

/// Hears that the process is to stop.
#[derive(Debug, Clone)]
pub struct Stopping(Shutdown);

impl Stopping {
    /// Resolves once the service is to take nothing new, and to finish what it has.
    pub async fn asked(&mut self) {
        let _: Stop = self.0.asked().await;
    }

    /// Resolves once the time to finish is over.
    pub async fn let_go(&mut self) {
        let _: Stop = self.0.let_go().await;
    }
}

/// Ends the process.
#[derive(Debug, Clone)]
pub struct Halting(Stopper);

impl Halting {
    /// Ends the process with this reason, at once; the first one is kept.
    pub fn halt(&self, why: impl Into<String>) {
        self.0.stop(Stop::Halt(why.into()));
    }
}
