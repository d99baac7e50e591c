//! One side, set up from nothing: a server with an empty store, streams and durables as in
//! production, the four workers, and for the flow its stock and services.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use quadrille::nats::{self, NatsBroker, NatsOptions, provision};
use quadrille::topology::{Profile, Topology};
use schemas::order_fulfilment::FLOW;
use serde::Deserialize;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::args::{Args, Side};
use crate::process::{self, Process, Usage};
use crate::samples;

/// A process that is not up by then never will be.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Pieces of each SKU: more than any measurement orders.
const PLENTY: u64 = 1_000_000_000;
/// What this process is called in the figures.
const DRIVER: &str = "bench (places orders)";

pub(crate) struct Stage {
    folder: TempDir,
    url: String,
    /// In the order of their start, the server first.
    processes: Vec<Process>,
}

#[derive(Deserialize)]
struct ServerPorts {
    nats: Vec<String>,
}

#[derive(Deserialize)]
struct SandboxPorts {
    http: String,
}

impl Stage {
    /// Ready for orders when it returns.
    pub(crate) async fn set(args: &Args, side: Side, in_flight: u32) -> anyhow::Result<Self> {
        let mut stage = Self::bare(args).await?;
        let set = stage.add(args, side, in_flight).await;
        set.map_err(|error| stage.explain(error))?;
        Ok(stage)
    }

    /// A server with streams and durables, and nobody who works.
    pub(crate) async fn bare(args: &Args) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix("quadrille-bench-")?;
        let mut stage = Self { folder, url: String::new(), processes: Vec::new() };
        let started = stage.start_server(args).await;
        started.map_err(|error| stage.explain(error))?;
        Ok(stage)
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// What each process has used so far, this one included; empty where the system does not say.
    pub(crate) fn usage(&self) -> Vec<(&'static str, Usage)> {
        let of = |process: &Process| Some((process.name(), process.usage()?));
        let own = process::usage("self").map(|usage| (DRIVER, usage));
        self.processes.iter().filter_map(of).chain(own).collect()
    }

    /// Adds what the processes said last to an error.
    pub(crate) fn explain(&mut self, error: anyhow::Error) -> anyhow::Error {
        let mut said = format!("{error:#}");
        for process in &mut self.processes {
            let line = process.ended().unwrap_or_else(|| {
                format!("{} runs, and said last: {}", process.name(), process.last_words())
            });
            said = format!("{said}\n  {line}");
        }
        anyhow!(said)
    }

    pub(crate) async fn strike(mut self) {
        // The server last, so that nobody spends time on reconnecting to it.
        while let Some(process) = self.processes.pop() {
            process.kill().await;
        }
    }

    async fn start_server(&mut self, args: &Args) -> anyhow::Result<()> {
        let mut command = Command::new(&args.nats_server);
        let path = self.folder.path();
        command.args(["-a", "127.0.0.1", "-p", "-1", "-js", "--ports_file_dir"]).arg(path);
        command.arg("-sd").arg(path.join("store"));
        let server = Process::start("nats-server", command, path)?;
        let id = server.id().context("it has just been started")?;
        self.processes.push(server);
        let file = self.file(&format!("nats-server_{id}.ports"));
        // It comes empty first.
        let ports: ServerPorts = self.wait(|| read_json(&file)).await?;
        self.url = ports.nats.into_iter().next().context("the server listens nowhere")?;
        let broker = self.broker().await?;
        let plan = provision::plan(&broker, &Topology::new(&FLOW, Profile::Dev)).await?;
        provision::apply(&broker, &plan).await?;
        Ok(())
    }

    async fn add(&mut self, args: &Args, side: Side, in_flight: u32) -> anyhow::Result<()> {
        let services = match side {
            Side::Raw | Side::Product => Vec::new(),
            Side::Flow => self.start_sandbox(args).await?,
        };
        for row in FLOW.steps {
            let command = match side {
                Side::Raw => self.raw(args, row.worker, in_flight)?,
                Side::Product => self.product(args, row.worker, in_flight)?,
                Side::Flow => self.real(args, row.worker, in_flight, &services)?,
            };
            self.processes.push(Process::start(row.worker, command, self.folder.path())?);
        }
        for row in FLOW.steps {
            let file = self.file(&ready_file(row.worker));
            self.wait(|| file.exists().then_some(())).await?;
            if side != Side::Raw {
                self.wait_for_health(&file).await?;
            }
        }
        Ok(())
    }

    async fn start_sandbox(&mut self, args: &Args) -> anyhow::Result<Vec<String>> {
        let (ledger, ports) = (self.file("ledger.jsonl"), self.file("sandbox.ports"));
        let mut command = Command::new(args.binary("sandbox")?);
        command.arg("--ledger").arg(ledger).arg("--ports-file").arg(&ports);
        self.processes.push(Process::start("sandbox", command, self.folder.path())?);
        let SandboxPorts { http } = self.wait(|| read_json(&ports)).await?;
        let stock =
            samples::skus()?.iter().map(|sku| format!("{sku}={PLENTY}")).collect::<Vec<_>>();
        Ok(vec![
            format!("reserve-inventory.opening_stock={}", stock.join(",")),
            format!("charge-customer.url={http}/payment"),
            format!("ship-order.url={http}/carrier"),
        ])
    }

    fn raw(&self, args: &Args, worker: &str, in_flight: u32) -> anyhow::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg0(format!("{}{worker}", crate::RAW)).arg(&self.url);
        command.arg(in_flight.to_string()).arg(args.threads.to_string());
        command.arg(self.file(&ready_file(worker)));
        Ok(command)
    }

    fn product(&self, args: &Args, worker: &str, in_flight: u32) -> anyhow::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg0(format!("{}{worker}", crate::PRODUCT));
        self.settings(&mut command, args, worker, in_flight);
        Ok(command)
    }

    fn real(
        &self,
        args: &Args,
        worker: &str,
        in_flight: u32,
        services: &[String],
    ) -> anyhow::Result<Command> {
        let mut command = Command::new(args.binary(worker)?);
        self.settings(&mut command, args, worker, in_flight);
        for setting in services.iter().filter(|setting| setting.starts_with(worker)) {
            command.args(["--set", setting]);
        }
        Ok(command)
    }

    fn settings(&self, command: &mut Command, args: &Args, worker: &str, in_flight: u32) {
        let ready = self.file(&ready_file(worker));
        for setting in [
            format!("nats.url={}", self.url),
            format!("worker.concurrency={in_flight}"),
            format!("worker.threads={}", args.threads),
            format!("health.address_file={}", ready.display()),
        ] {
            command.arg("--set").arg(setting);
        }
    }

    async fn wait_for_health(&mut self, file: &Path) -> anyhow::Result<()> {
        let address = self.wait(|| std::fs::read_to_string(file).ok()?.parse().ok()).await?;
        let end = Instant::now() + PATIENCE;
        while let Err(error) = quadrille::process::health::check(address).await {
            self.all_alive()?;
            if Instant::now() > end {
                return Err(error);
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    async fn wait<T>(&mut self, mut look: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look() {
                return Ok(found);
            }
            self.all_alive()?;
            if Instant::now() > end {
                bail!("not up within {PATIENCE:?}");
            }
            sleep(LOOK_EVERY).await;
        }
    }

    fn all_alive(&mut self) -> anyhow::Result<()> {
        match self.processes.iter_mut().find_map(Process::ended) {
            Some(_) => bail!("a process has ended early"),
            None => Ok(()),
        }
    }

    async fn broker(&self) -> anyhow::Result<NatsBroker> {
        let urls = vec![self.url.clone()];
        Ok(nats::connect(&NatsOptions { urls, ..NatsOptions::default() }).await?)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Args {
    fn binary(&self, name: &str) -> anyhow::Result<PathBuf> {
        let own = std::env::current_exe()?;
        let folder = self.bin_dir.as_deref().or(own.parent());
        Ok(folder.context("this binary lies in no folder")?.join(name))
    }
}

fn ready_file(worker: &str) -> String {
    format!("{worker}.ready")
}

fn read_json<T: for<'de> Deserialize<'de>>(file: &Path) -> Option<T> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}
