//! One side, set up from nothing: a server with an empty store, streams and durables as in
//! production, the four workers, and for the flow its stock and services.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use futures::future::{select_all, try_join_all};
use harness::binaries::{self, Build};
use harness::folder::Folder;
use harness::process::{Process, Usage};
use harness::sandbox::Sandbox;
use harness::server::{Server, Settings};
use quadrille::nats::{self, NatsOptions, provision};
use quadrille::topology::{Profile, Topology};
use schemas::order_fulfilment::FLOW;
use tokio::process::Command;
use tokio::time::timeout;

use crate::args::{Args, Side};
use crate::samples;

/// Pieces of each SKU: more than any measurement orders.
const PLENTY: u64 = 1_000_000_000;
/// Of the log, for each order: a quarter more than one takes.
const LOG_BYTES: u64 = 5_000;
/// How long processes may take to be ready; a machine that needs longer is too busy to measure on.
const PATIENCE: Duration = Duration::from_secs(20);
/// What this process is called in the figures.
const DRIVER: &str = "bench (places orders)";
/// Lines of a process's log that are shown when something went wrong.
const TAIL: usize = 5;

/// Its fields are dropped in this order: the server after the workers, so that none of them spends
/// time on reconnecting to it.
pub(crate) struct Stage {
    workers: Vec<Process>,
    sandbox: Option<Sandbox>,
    server: Server,
    folder: Folder,
}

impl Stage {
    /// Ready for orders when it returns.
    pub(crate) async fn set(args: &Args, side: Side, in_flight: u32) -> anyhow::Result<Self> {
        let mut stage = Self::bare(args).await?;
        let set = stage.add(args, side, in_flight).await;
        set.map_err(|error| stage.explain(error))?;
        Ok(stage)
    }

    /// A server with streams and durables, and no workers.
    pub(crate) async fn bare(args: &Args) -> anyhow::Result<Self> {
        let program = Some(args.nats_server.clone());
        let settings = Settings { program, ..Settings::default() };
        let server = timeout(PATIENCE, Server::start_with(&settings)).await;
        let server = server.with_context(|| format!("the server is not up in {PATIENCE:?}"))??;
        let folder = Folder::new("quadrille-bench-");
        let mut stage = Self { workers: Vec::new(), sandbox: None, server, folder };
        let provisioned = stage.provision(args.orders.get().into()).await;
        provisioned.map_err(|error| stage.explain(error))?;
        Ok(stage)
    }

    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    /// What each process has used so far, this one included; empty where the system does not say.
    pub(crate) fn usage(&self) -> Vec<(&'static str, Usage)> {
        let sandbox = self.sandbox.as_ref().map(|sandbox| &sandbox.process);
        let all = [&self.server.process].into_iter().chain(sandbox).chain(&self.workers);
        let of = |process: &Process| Some((process.name(), process.usage()?));
        all.filter_map(of).chain(Usage::own().map(|usage| (DRIVER, usage))).collect()
    }

    pub(crate) fn server_peak_mb(&self) -> Option<f64> {
        Some(self.server.process.usage()?.peak_rss_mb)
    }

    /// Adds what the processes said last to an error.
    pub(crate) fn explain(&mut self, error: anyhow::Error) -> anyhow::Error {
        let mut said = format!("{error:#}");
        let sandbox = self.sandbox.as_mut().map(|sandbox| &mut sandbox.process);
        let all = [&mut self.server.process].into_iter().chain(sandbox).chain(&mut self.workers);
        for process in all {
            let (name, words) = (process.name(), last_words(process));
            said = match process.has_ended() {
                Some(status) => format!("{said}\n  {name} has ended ({status}): {words}"),
                None => format!("{said}\n  {name} runs, and said last: {words}"),
            };
        }
        anyhow!(said)
    }

    async fn provision(&self, orders: u64) -> anyhow::Result<()> {
        let urls = vec![self.url()];
        let broker = nats::connect(&NatsOptions { urls, ..NatsOptions::default() }).await?;
        let usual = Topology::new(&FLOW, Profile::Dev);
        let max_bytes = usual.max_bytes.max(orders * LOG_BYTES);
        let plan = provision::plan(&broker, &Topology { max_bytes, ..usual }).await?;
        Ok(provision::apply(&broker, &plan).await?)
    }

    async fn add(&mut self, args: &Args, side: Side, in_flight: u32) -> anyhow::Result<()> {
        let services = match side {
            Side::Raw | Side::Reading | Side::Product => Vec::new(),
            Side::Flow => self.start_sandbox(args).await?,
        };
        for row in FLOW.steps {
            let command = match side {
                Side::Raw | Side::Reading => self.raw(args, side, row.worker, in_flight)?,
                Side::Product => self.product(args, row.worker, in_flight)?,
                Side::Flow => self.real(args, row.worker, in_flight, &services),
            };
            self.workers.push(Process::start(row.worker, command, self.folder.path())?);
        }
        let folder = &self.folder;
        let ready = self.workers.iter_mut().map(async |worker| match side {
            Side::Raw | Side::Reading => {
                let file = folder.file(&ready_file(worker.name()));
                worker.until("is ready", async || file.exists().then_some(())).await
            }
            Side::Product | Side::Flow => worker.ready().await,
        });
        let sandbox = self.sandbox.as_mut().map(|sandbox| &mut sandbox.process);
        let base = [&mut self.server.process].into_iter().chain(sandbox);
        while_they_run(base, try_join_all(ready)).await?;
        Ok(())
    }

    async fn start_sandbox(&mut self, args: &Args) -> anyhow::Result<Vec<String>> {
        let program = args.binary("sandbox");
        let started = Sandbox::start(&program, &self.folder);
        let sandbox = while_they_run([&mut self.server.process], started).await?;
        let url = &self.sandbox.insert(sandbox).url;
        let stock =
            samples::skus()?.iter().map(|sku| format!("{sku}={PLENTY}")).collect::<Vec<_>>();
        Ok(vec![
            format!("reserve-inventory.opening_stock={}", stock.join(",")),
            format!("charge-customer.url={url}/payment"),
            format!("ship-order.url={url}/carrier"),
            format!("ship-order.quote_url={url}/quote"),
        ])
    }

    fn raw(
        &self,
        args: &Args,
        side: Side,
        worker: &str,
        in_flight: u32,
    ) -> anyhow::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg0(format!("{}{worker}", crate::RAW)).arg(self.url());
        command.arg(in_flight.to_string()).arg(args.threads.to_string());
        command.arg(self.folder.file(&ready_file(worker)));
        if side == Side::Reading {
            command.arg("--reads");
        }
        Ok(command)
    }

    fn product(&self, args: &Args, worker: &str, in_flight: u32) -> anyhow::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg0(format!("{}{worker}", crate::PRODUCT));
        self.settings(&mut command, args, in_flight);
        Ok(command)
    }

    fn real(&self, args: &Args, worker: &str, in_flight: u32, services: &[String]) -> Command {
        let mut command = Command::new(args.binary(worker));
        self.settings(&mut command, args, in_flight);
        for setting in services.iter().filter(|setting| setting.starts_with(worker)) {
            command.args(["--set", setting]);
        }
        command
    }

    fn settings(&self, command: &mut Command, args: &Args, in_flight: u32) {
        for setting in [
            format!("nats.url={}", self.url()),
            format!("worker.concurrency={in_flight}"),
            format!("worker.threads={}", args.threads),
        ] {
            command.arg("--set").arg(setting);
        }
    }
}

/// Waits until something is up, unless a process that it needs ends, or it takes too long.
async fn while_they_run<T>(
    needed: impl IntoIterator<Item = &mut Process>,
    up: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let ends = needed.into_iter().map(|process| Box::pin(process.ended_some_day()));
    tokio::select! {
        up = timeout(PATIENCE, up) => up.with_context(|| format!("not up in {PATIENCE:?}"))?,
        _ = select_all(ends) => bail!("a process has ended early"),
    }
}

impl Args {
    fn binary(&self, name: &str) -> PathBuf {
        let folder = self.bin_dir.clone();
        folder.unwrap_or_else(|| binaries::folder(Build::Shipped)).join(name)
    }
}

fn ready_file(worker: &str) -> String {
    format!("{worker}.ready")
}

fn last_words(process: &Process) -> String {
    let said = process.said();
    let lines: Vec<_> = said.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n  ")
}
