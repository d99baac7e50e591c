//! The process around a step: its row, its streams and durables, and the loop of each durable.
//!
//! The worker asks for a message only when it can start it at once. At a signal it finishes what is
//! in hand within the drain limit, and gives the rest back.

mod check;
mod streams;

mod breakers;
pub mod held;
mod durable;
mod pulse;
mod deadline;

use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{RwLock, watch};
use tokio::task::JoinSet;

use crate::breaker::call;
use crate::breaker::gate::Gate;
use crate::broker::Broker;
use crate::clock::Clock;
use crate::config::WorkerSettings;
use crate::flow::{Durable, Role};
use crate::log::lookup;
use crate::pipeline::{self, Delivery, Final, Held, Limits, Part, Settling, Undoable, Worker};
use crate::process::{self, Process};
use crate::step::{Settle, Step, Undo};
use crate::telemetry;
use crate::undo::{self, cancel, closing};
use crate::{Flow, KeyNamespace};
use breakers::Breakers;
use pulse::Watchdog;

/// A worker that has read its settings and reached the broker, and waits for its step.
pub struct Start(Process);

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
    process::main(flow, worker, |process| build(Start(process)))
}

impl Start {
    /// The settings in this worker's own section, which has its name.
    ///
    /// # Errors
    /// When a key is unknown or a value has another form than expected.
    pub fn settings<S: DeserializeOwned + Serialize>(&self) -> anyhow::Result<S> {
        self.0.settings()
    }

    /// The *circuit breaker* around the calls of a service that the row prefers, with the settings
    /// of its section: `[breaker.NAME]`.
    ///
    /// # Errors
    /// When the row does not prefer it, or its settings contradict each other.
    pub fn call_breaker(&self, dependency: &str) -> anyhow::Result<call::Breaker> {
        let Process { flow, name, settings, .. } = &self.0;
        breakers::of_calls(flow.row(name), dependency, settings)
    }

    /// The broker, for a step that keeps data of its own in it.
    pub fn broker(&self) -> Arc<dyn Broker> {
        self.0.broker()
    }

    /// What tells this log from an earlier one of the same name, for a step that keeps data of its
    /// own about sagas.
    ///
    /// # Errors
    /// When the streams are not as the flow demands.
    pub async fn keys(&self) -> anyhow::Result<KeyNamespace> {
        let Process { broker, flow, name, .. } = &self.0;
        let (_, _, keys) = streams::inspect(broker, flow, name).await?;
        Ok(*self.0.keys.get_or_init(|| keys))
    }

    /// Runs something beside the step, such as a service endpoint, as long as the step runs.
    #[must_use]
    pub fn beside(self, work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(self.0.beside(work))
    }

    /// Runs a step after the pivot until a signal.
    ///
    /// # Errors
    /// When its types are not those of its flow row, the streams are not as the flow demands, or a
    /// stream turns out to be another one of the same name.
    pub async fn run<S: Step>(self, step: S) -> anyhow::Result<()> {
        check::step::<S>(self.0.flow, self.0.name)?;
        check::not_undoable(self.0.flow, self.0.name)?;
        self.serve(Arc::new(Final(step)), no_undo).await
    }

    /// Runs a step after the pivot that can be asked what it did.
    ///
    /// # Errors
    /// As [`Start::run`].
    pub async fn run_settling<S: Settle>(self, step: S) -> anyhow::Result<()> {
        check::step::<S>(self.0.flow, self.0.name)?;
        check::not_undoable(self.0.flow, self.0.name)?;
        self.serve(Arc::new(Settling(step)), no_undo).await
    }

    /// Runs a step before the pivot until a signal, and its undo beside it.
    ///
    /// # Errors
    /// As [`Start::run`].
    pub async fn run_undoable<S: Undo>(self, step: S) -> anyhow::Result<()> {
        check::step::<S>(self.0.flow, self.0.name)?;
        check::undo::<S>(self.0.flow, self.0.name)?;
        let part = Arc::new(Undoable(step));
        self.serve(part, |worker, part, delivery| {
            Box::pin(async move { undo::handle(&worker, &part.0, delivery).await })
        })
        .await
    }

    async fn serve<P: Part>(self, part: Arc<P>, undo: UndoHandler<P>) -> anyhow::Result<()> {
        let Self(process) = self;
        let (flow, name) = (process.flow, process.name);
        let row = flow.row(name).context("checked with the step's types")?;
        let settings = process.settings.worker.clone();
        let instance = breakers::instance(name);
        let breakers = &process.settings.breaker;
        let deadlines = process.settings.deadline.clone();
        let limiters = breakers::limiters(row, breakers, &settings, &instance)?;
        let (asked, inspection, keys) = streams::inspect(&process.broker, flow, name).await?;
        if process.keys.get().is_some_and(|told| *told != keys) {
            bail!("the log was made anew while {name} started; start it again");
        }
        let (lookup, questions) = lookup::lookup();
        let broker = process.broker();
        let mut running = process.start().await?;
        telemetry::start_series(name, &flow.durables(Some(name)));
        row.prefers.iter().for_each(|name| telemetry::fallbacks_start(name));
        let worker = Arc::new(Worker {
            broker: broker.clone(),
            lookup,
            flow,
            row,
            clock: Clock::new(asked, inspection.server_time),
            incarnations: inspection.incarnations,
            keys,
            ack_wait: watch::Sender::new(inspection.ack_wait),
            limits: limits(&settings),
            runs: RwLock::default(),
            held: Held::default(),
            done: telemetry::done(name),
            stopper: running.stopper.clone(),
            shutdown: running.shutdown.clone(),
        });
        running.around.spawn(streams::watch(worker.clone(), settings.inspect_every));
        running.around.spawn(lookup::answer_all(broker.clone(), flow.stream, questions));
        let breakers = Breakers::new(worker.clone(), instance, limiters.clone());
        breakers.start(&mut running.around, settings.inspect_every);
        running.readiness.reports(breakers.clone());
        let asked = breakers.clone();
        running.around.spawn(held::serve(broker.clone(), name, move |ask| asked.report(ask)));
        let mut durables = JoinSet::new();
        for (source, durable) in (0..).zip(flow.durables(Some(name))) {
            let (places, limiters) = match durable.role {
                Role::Forward => (settings.concurrency, limiters.clone()),
                Role::Undo | Role::Released => (settings.undo_concurrency, limiters.clone()),
                Role::Closing | Role::Cancel => (settings.undo_concurrency, Vec::new()),
                Role::Deadline(step) => {
                    let walk = deadline::Walk::of(flow, step, &deadlines);
                    let Some(walk) = walk else { continue };
                    durables.spawn(deadline::serve(worker.clone(), durable, source, walk));
                    continue;
                }
            };
            let gate = Gate::new(source, durable.role == Role::Undo, limiters);
            let handle = handler(&durable, part.clone(), undo);
            let troubles = running.readiness.troubles();
            let (watchdog, pulse) =
                Watchdog::of(worker.clone(), durable.clone(), troubles, settings.inspect_every);
            running.around.spawn(watchdog.watch());
            let (worker, breakers) = (worker.clone(), breakers.clone());
            durables.spawn(async move {
                breakers.heard().await;
                durable::serve(worker, durable, places, gate, pulse, handle).await;
            });
        }
        tracing::info!(worker = name, %keys, "takes work");
        running.until_the_end(durables).await
    }
}

fn no_undo<P>(_: Arc<Worker>, _: Arc<P>, delivery: Delivery) -> durable::Handling {
    tracing::error!(saga = %delivery.saga, "got an undo for a step that has none");
    Box::pin(std::future::ready(()))
}

type Handler = Arc<dyn Fn(Arc<Worker>, Delivery) -> durable::Handling + Send + Sync>;
type UndoHandler<P> = fn(Arc<Worker>, Arc<P>, Delivery) -> durable::Handling;

fn handler<P: Part>(durable: &Durable, part: Arc<P>, undo: UndoHandler<P>) -> Handler {
    match durable.role {
        Role::Forward => Arc::new(move |worker, delivery| {
            let part = part.clone();
            Box::pin(async move { pipeline::handle(&worker, &*part, delivery).await })
        }),
        Role::Undo => Arc::new(move |worker, delivery| undo(worker, part.clone(), delivery)),
        Role::Closing => Arc::new(move |worker, delivery| {
            Box::pin(async move { closing::handle(&worker, delivery).await })
        }),
        // It has a loop of its own.
        Role::Deadline(_) => Arc::new(|_, _| Box::pin(std::future::ready(()))),
        Role::Cancel => Arc::new(move |worker, delivery| {
            Box::pin(async move { cancel::handle(&worker, delivery).await })
        }),
        Role::Released => Arc::new(move |worker, delivery| {
            let part = part.clone();
            let subject = &delivery.message().subject;
            let released = worker.flow.parse_released(subject).map(|(durable, _)| durable);
            // A cancellation that is asked for again; everything else was parked by the step.
            let cancels = released.is_some_and(|durable| durable != worker.name());
            Box::pin(async move {
                match cancels {
                    true => cancel::handle(&worker, delivery).await,
                    false => pipeline::handle_released(&worker, &*part, delivery).await,
                }
            })
        }),
    }
}

fn limits(settings: &WorkerSettings) -> Limits {
    Limits {
        deadline: settings.deadline,
        hold_max: settings.hold_max,
        read_after: settings.read_after,
        cause_wait: settings.cause_wait,
        cancel_wait: settings.cancel_wait,
    }
}
