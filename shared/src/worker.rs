//! The process around a step: settings, connection, checks, durables, and an end in good order.
//!
//! Messages are asked for only when they can start at once; what is in hand at a signal is finished
//! within the drain limit, and the rest is given back.

mod check;
mod command;
mod durable;
mod streams;

use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use crate::broker::Broker;
use crate::clock::Clock;
use crate::config::{Settings, Sources};
use crate::flow::{Durable, Role};
use crate::health::{self, Readiness};
use crate::kernel::{Kernel, Limits};
use crate::pipeline::{self, Final, Part, Undoable};
use crate::shutdown::{Stop, shutdown};
use crate::step::{Step, Undo};
use crate::{Flow, closing, lookup, nats, telemetry, undo};

/// A worker that has read its settings and reached the broker, and waits for its step.
pub struct Start {
    worker: &'static str,
    flow: &'static Flow,
    settings: Settings,
    sources: Sources,
    broker: nats::NatsBroker,
    beside: Vec<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

/// `main` of a worker: reads the command line, builds the step, and runs it to the end.
///
/// `build` gets a [`Start`] and ends it with [`Start::run`] or [`Start::run_undoable`].
pub fn main<F>(
    flow: &'static Flow,
    worker: &'static str,
    build: impl FnOnce(Start) -> F,
) -> ExitCode
where
    F: Future<Output = anyhow::Result<()>>,
{
    command::run(flow, worker, build)
}

impl Start {
    async fn connect(
        flow: &'static Flow,
        worker: &'static str,
        sources: Sources,
    ) -> anyhow::Result<Self> {
        let settings = sources.settings()?;
        let saga = flow.saga;
        flow.row(worker).with_context(|| format!("the flow {saga} has no row for {worker}"))?;
        let broker = nats::connect(&settings.nats.options(worker)).await?;
        Ok(Self { worker, flow, settings, sources, broker, beside: Vec::new() })
    }

    /// The settings in the section of this worker's name.
    ///
    /// # Errors
    /// When a key is unknown or a value has another form than expected.
    pub fn settings<S: DeserializeOwned>(&self) -> anyhow::Result<S> {
        Ok(self.sources.section(self.worker)?)
    }

    /// The broker, for a step that keeps data of its own in it.
    pub fn broker(&self) -> Arc<dyn Broker> {
        Arc::new(self.broker.clone())
    }

    /// Runs something beside the step, such as a service endpoint, as long as the step runs.
    #[must_use]
    pub fn beside(mut self, work: impl Future<Output = ()> + Send + 'static) -> Self {
        self.beside.push(Box::pin(work));
        self
    }

    /// Runs a step after the pivot until a signal.
    ///
    /// # Errors
    /// When its types are not those of its flow row, the streams are not as the flow demands, or
    /// the broker's state turns out to be another's.
    pub async fn run<S: Step>(self, step: S) -> anyhow::Result<()> {
        check::step::<S>(self.flow, self.worker)?;
        check::not_undoable(self.flow, self.worker)?;
        let part = Arc::new(Final(step));
        self.serve(part, |_, _, delivery| {
            tracing::error!(saga = %delivery.saga, "an undo for a step that has none");
            Box::pin(std::future::ready(()))
        })
        .await
    }

    /// Runs a step before the pivot until a signal, and its undo beside it.
    ///
    /// # Errors
    /// As [`Start::run`].
    pub async fn run_undoable<S: Undo>(self, step: S) -> anyhow::Result<()> {
        check::step::<S>(self.flow, self.worker)?;
        check::undo::<S>(self.flow, self.worker)?;
        let part = Arc::new(Undoable(step));
        self.serve(part, |kernel, part, delivery| {
            Box::pin(async move { undo::handle(&kernel, &part.0, delivery).await })
        })
        .await
    }

    async fn serve<P: Part>(
        self,
        part: Arc<P>,
        undo: fn(Arc<Kernel>, Arc<P>, crate::delivery::Delivery) -> durable::Handling,
    ) -> anyhow::Result<()> {
        let row = self.flow.row(self.worker).context("checked when connecting")?;
        let (asked, inspection) = streams::inspect(&self.broker, self.flow, self.worker).await?;
        let (stopper, shutdown) = shutdown();
        let (lookup, questions) = lookup::lookup();
        let kernel = Arc::new(Kernel {
            broker: Arc::new(self.broker.clone()),
            lookup,
            flow: self.flow,
            row,
            clock: Clock::new(asked, inspection.server_time),
            incarnations: inspection.incarnations,
            ack_wait: watch::Sender::new(inspection.ack_wait),
            limits: limits(&self.settings.worker),
            stopper: stopper.clone(),
            shutdown: shutdown.clone(),
        });
        let readiness = Readiness::of(self.broker.clone());
        let mut around = JoinSet::new();
        around.spawn(serve_health(self.settings.health.clone(), readiness.clone()).await?);
        around.spawn(stop_on_signal(stopper.clone())?);
        around.spawn(streams::watch(kernel.clone(), self.settings.worker.inspect_every));
        around.spawn(lookup::answer_all(self.broker(), self.flow.stream, questions));
        let closed = self.broker.closed();
        let lost = stopper.clone();
        around.spawn(async move {
            closed.await;
            lost.stop(Stop::Halt("the connection to the broker is gone for good".into()));
        });
        for work in self.beside {
            around.spawn(work);
        }
        let mut durables = JoinSet::new();
        for durable in self.flow.durables(Some(self.worker)) {
            let slots = match durable.role {
                Role::Forward => self.settings.worker.concurrency,
                Role::Undo | Role::Closing => self.settings.worker.undo_concurrency,
            };
            let handle = handler(&durable, part.clone(), undo);
            durables.spawn(durable::serve(kernel.clone(), durable, slots, handle));
        }
        readiness.set(true);
        tracing::info!(worker = self.worker, "takes work");
        let limit = self.settings.worker.drain_limit;
        let ended = end(kernel, durables, &mut around, limit, &readiness).await;
        around.shutdown().await;
        ended
    }
}

type Handler =
    Arc<dyn Fn(Arc<Kernel>, crate::delivery::Delivery) -> durable::Handling + Send + Sync>;

fn handler<P: Part>(
    durable: &Durable,
    part: Arc<P>,
    undo: fn(Arc<Kernel>, Arc<P>, crate::delivery::Delivery) -> durable::Handling,
) -> Handler {
    match durable.role {
        Role::Forward => Arc::new(move |kernel, delivery| {
            let part = part.clone();
            Box::pin(async move { pipeline::handle(&kernel, &*part, delivery).await })
        }),
        Role::Undo => Arc::new(move |kernel, delivery| undo(kernel, part.clone(), delivery)),
        Role::Closing => Arc::new(move |kernel, delivery| {
            Box::pin(async move { closing::handle(&kernel, delivery).await })
        }),
    }
}

fn limits(settings: &crate::config::WorkerSettings) -> Limits {
    Limits {
        deadline: settings.deadline,
        hold_max: settings.hold_max,
        read_after: settings.read_after,
        cause_wait: settings.cause_wait,
    }
}

async fn serve_health(
    settings: crate::config::HealthSettings,
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

fn stop_on_signal(stopper: crate::shutdown::Stopper) -> anyhow::Result<impl Future<Output = ()>> {
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

/// Waits for the end: the durables finish what they have, or let go of it.
async fn end(
    kernel: Arc<Kernel>,
    mut durables: JoinSet<()>,
    around: &mut JoinSet<()>,
    limit: Duration,
    readiness: &Readiness,
) -> anyhow::Result<()> {
    let mut shutdown = kernel.shutdown.clone();
    let panicked = |ended: Result<(), JoinError>| {
        if let Err(error) = ended {
            kernel.stopper.stop(Stop::Halt(format!("a part of the worker ended: {error}")));
        }
    };
    let asked = loop {
        tokio::select! {
            asked = shutdown.asked() => break asked,
            Some(ended) = around.join_next() => panicked(ended),
            Some(ended) = durables.join_next() => panicked(ended),
        }
    };
    readiness.set(false);
    if asked == Stop::Asked {
        tracing::info!(limit_s = limit.as_secs(), "stopping: finishing what is in hand");
        let drained = async { while durables.join_next().await.is_some() {} };
        let in_time = tokio::time::timeout(limit, drained).await.is_ok();
        if !in_time {
            kernel.stopper.stop(Stop::LetGo);
        }
        tracing::info!(in_time, "stopped");
    }
    while durables.join_next().await.is_some() {}
    kernel.broker.flush().await;
    // It may have become more urgent meanwhile.
    match shutdown.asked().await {
        Stop::Halt(why) => bail!(why),
        Stop::Asked | Stop::LetGo => Ok(()),
    }
}
