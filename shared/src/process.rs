//! The process around a worker: settings, logs, health, signals, and an orderly end. What it does
//! in between is in `worker`.

mod args;
pub mod health;
pub(crate) mod shutdown;

use std::future::Future;
use std::io::Write as _;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{JoinError, JoinSet};

use crate::broker::Broker;
use crate::config::{HealthSettings, Settings, Sources};
use crate::nats::NatsOptions;
use crate::{Flow, KeyNamespace, nats, telemetry};
use health::Readiness;
use shutdown::{Shutdown, Stop, Stopper, shutdown};

#[cfg(feature = "allocator")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A process that has read its settings and reached the broker, and does nothing yet.
pub(crate) struct Process {
    pub(crate) name: &'static str,
    pub(crate) flow: &'static Flow,
    pub(crate) settings: Settings,
    sources: Sources,
    pub(crate) broker: nats::NatsBroker,
    /// What a step was told before it runs.
    pub(crate) keys: OnceLock<KeyNamespace>,
    beside: Vec<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// It only prints its settings.
    prints: bool,
}

/// How a process ends that has printed its settings.
#[derive(Debug, thiserror::Error)]
#[error("the settings were printed")]
struct Printed;

/// `main` of a process: reads the command line and the settings, reaches the broker, and does what
/// `build` says. `name` is its section of the settings.
pub(crate) fn main<F>(
    flow: &'static Flow,
    name: &'static str,
    build: impl FnOnce(Process) -> F,
) -> ExitCode
where
    F: Future<Output = anyhow::Result<()>>,
{
    args::run(flow, name, build)
}

impl Process {
    async fn connect(
        flow: &'static Flow,
        name: &'static str,
        sources: Sources,
    ) -> anyhow::Result<Self> {
        let settings = sources.settings()?;
        let names = sources.names(&settings, flow)?;
        let options = NatsOptions { names, ..settings.nats.options(name) };
        let broker = nats::connect(&options).await.map_err(|error| {
            let is_away = matches!(error, nats::ConnectError::Unreachable { .. });
            let error = anyhow::Error::new(error);
            match is_away {
                true => anyhow!("{error:#}\n{}", sources.ways_to_the_broker()),
                false => error,
            }
        })?;
        Ok(Self::of((name, flow), settings, sources, broker, false))
    }

    /// One that prints its settings once the whole of them is known, and does nothing else: it
    /// reaches no broker.
    async fn printing(
        flow: &'static Flow,
        name: &'static str,
        sources: Sources,
    ) -> anyhow::Result<Self> {
        let settings = sources.settings()?;
        let broker = nats::nowhere().await?;
        Ok(Self::of((name, flow), settings, sources, broker, true))
    }

    fn of(
        (name, flow): (&'static str, &'static Flow),
        settings: Settings,
        sources: Sources,
        broker: nats::NatsBroker,
        prints: bool,
    ) -> Self {
        let (keys, beside) = (OnceLock::new(), Vec::new());
        Self { name, flow, settings, sources, broker, keys, beside, prints }
    }

    /// # Errors
    /// [`Printed`], if that was all that was wanted.
    fn print(&self, own: &impl Serialize) -> anyhow::Result<()> {
        if !self.prints {
            return Ok(());
        }
        let mut lines = self.sources.lines(self.flow, self.name, own)?.join("\n");
        lines.push('\n');
        std::io::stdout().write_all(lines.as_bytes())?;
        Err(Printed.into())
    }

    /// The settings in this process's own section, which has its name.
    ///
    /// # Errors
    /// When a key is unknown or a value has another form than expected.
    pub(crate) fn settings<S: DeserializeOwned + Serialize>(&self) -> anyhow::Result<S> {
        let own = self.sources.section(self.name)?;
        self.print(&own)?;
        Ok(own)
    }

    /// The broker, for a step that keeps data of its own in it.
    pub(crate) fn broker(&self) -> Arc<dyn Broker> {
        Arc::new(self.broker.clone())
    }

    /// Runs something beside the process's own work, such as a service endpoint, for as long as
    /// that work runs.
    #[must_use]
    pub(crate) fn beside(mut self, work: impl Future<Output = ()> + Send + 'static) -> Self {
        self.beside.push(Box::pin(work));
        self
    }

    /// Serves health, hears signals, and notices when the connection is gone for good.
    pub(crate) async fn start(self) -> anyhow::Result<Running> {
        // Of a process that has no settings of its own.
        self.print(&serde_json::Map::new())?;
        let (stopper, shutdown) = shutdown();
        let readiness = Readiness::of(self.broker.clone());
        let mut around = JoinSet::new();
        around.spawn(serve_health(self.settings.health, readiness.clone()).await?);
        around.spawn(stop_on_signal(stopper.clone())?);
        let closed = self.broker.closed();
        let lost = stopper.clone();
        around.spawn(async move {
            closed.await;
            lost.stop(Stop::Halt("the connection to the broker is gone for good".into()));
        });
        for work in self.beside {
            around.spawn(work);
        }
        let limit = self.settings.worker.drain_limit;
        Ok(Running { stopper, shutdown, broker: self.broker, around, readiness, limit })
    }
}

/// A process that serves health and hears signals.
pub(crate) struct Running {
    pub(crate) stopper: Stopper,
    pub(crate) shutdown: Shutdown,
    broker: nats::NatsBroker,
    /// What runs beside the work, and is dropped at the end.
    pub(crate) around: JoinSet<()>,
    pub(crate) readiness: Readiness,
    limit: Duration,
}

impl Running {
    /// Reports ready, and waits for the end: `work` finishes what it has, or lets go of it.
    pub(crate) async fn until_the_end(mut self, mut work: JoinSet<()>) -> anyhow::Result<()> {
        self.readiness.set(true);
        let mut shutdown = self.shutdown.clone();
        let panicked = |ended: Result<(), JoinError>| {
            if let Err(error) = ended {
                self.stopper.stop(Stop::Halt(format!("a part of the worker ended: {error}")));
            }
        };
        let asked = loop {
            tokio::select! {
                asked = shutdown.asked() => break asked,
                Some(ended) = self.around.join_next() => panicked(ended),
                Some(ended) = work.join_next() => panicked(ended),
            }
        };
        self.readiness.set(false);
        if asked == Stop::Asked {
            tracing::info!(limit_s = self.limit.as_secs(), "stopping: finishing what is in hand");
            let drained = async { while work.join_next().await.is_some() {} };
            let in_time = tokio::time::timeout(self.limit, drained).await.is_ok();
            if !in_time {
                self.stopper.stop(Stop::LetGo);
            }
            tracing::info!(in_time, "stopped");
        }
        while work.join_next().await.is_some() {}
        self.broker.flush().await;
        self.around.shutdown().await;
        // The stop may have become more urgent meanwhile.
        match shutdown.asked().await {
            Stop::Halt(why) => bail!(why),
            Stop::Asked | Stop::LetGo => Ok(()),
        }
    }
}

async fn serve_health(
    settings: HealthSettings,
    readiness: Readiness,
) -> anyhow::Result<impl Future<Output = ()> + Send> {
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("health.listen: cannot listen at {}", settings.listen))?;
    let address = listener.local_addr()?;
    if let Some(file) = &settings.address_file {
        std::fs::write(file, address.to_string())
            .with_context(|| format!("health.address_file: cannot write {}", file.display()))?;
    }
    tracing::info!(%address, "serves /live, /ready and /metrics");
    let metrics = telemetry::start_metrics();
    Ok(async move {
        if let Err(error) = health::serve(listener, readiness, metrics).await {
            tracing::warn!(%error, "health is no longer served");
        }
    })
}

fn stop_on_signal(stopper: Stopper) -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stopper.stop(Stop::Asked);
    })
}
