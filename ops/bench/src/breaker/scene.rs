//! What one row runs on: a server, the sandbox, the workers, each a process of its own, and a door
//! in front of each replica of the step under test.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use futures::future::try_join_all;
use harness::binaries::{self, Build};
use harness::folder::Folder;
use harness::process::Process;
use harness::sandbox::Sandbox;
use harness::server::{Server, Settings};
use quadrille::nats::{self, NatsBroker, NatsOptions, provision};
use quadrille::topology::{Profile, Topology};
use schemas::order_fulfilment::FLOW;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

use super::args::{Arguments, Design};
use super::door::Door;
use super::row::{CONCURRENCY, Row};
use crate::raw::counts::Counts;
use crate::samples;

/// The step under test, and what it requires.
pub(crate) const STEP: &str = "charge-customer";
pub(crate) const DEPENDENCY: &str = "payment-gateway";
/// Milliseconds of a call that succeeds: all of them in the first of its two requests.
pub(crate) const CALL_MS: u64 = 50;
const PLENTY: u64 = 1_000_000_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// Its fields are dropped in this order.
pub(crate) struct Scene {
    pub(crate) replicas: Vec<Process>,
    others: Vec<Process>,
    /// One for each replica, to the gateway.
    pub(crate) doors: Vec<Door>,
    /// The replicas' way to the server.
    pub(crate) to_server: Door,
    sandbox: Sandbox,
    pub(crate) server: Server,
    pub(crate) counts: Counts,
    pub(crate) broker: NatsBroker,
    folder: Folder,
    design: Design,
    binaries: PathBuf,
    /// Lines about failed calls of replicas that are gone.
    failed_before: u64,
}

impl Scene {
    /// Everything but the replicas of the step under test.
    pub(crate) async fn set(args: &Arguments, row: &Row, design: Design) -> anyhow::Result<Self> {
        let program = Some(args.nats_server.clone());
        let server = Server::start_with(&Settings { program, ..Settings::default() }).await?;
        let folder = Folder::new("quadrille-bench-");
        let binaries = args.bin_dir.clone().unwrap_or_else(|| binaries::folder(Build::Shipped));
        let sandbox = Sandbox::start(&binaries.join("sandbox"), &folder).await?;
        let options = NatsOptions { urls: vec![server.url()], ..NatsOptions::default() };
        let broker = nats::connect(&options).await?;
        let plan = provision::plan(&broker, &Topology::new(&FLOW, Profile::Dev)).await?;
        provision::apply(&broker, &plan).await?;
        let counts = Counts::connect(&server.url()).await?;
        counts.keep_dead_letters().await?;
        let gateway = sandbox.url.trim_start_matches("http://").to_owned();
        let doors = (0..row.replicas).map(|_| Door::to(&gateway)).collect::<Result<_, _>>()?;
        let to_server = Door::to(server.url().trim_start_matches("nats://"))?;
        let mut scene = Self {
            replicas: Vec::new(),
            others: Vec::new(),
            doors,
            to_server,
            sandbox,
            server,
            counts,
            broker,
            folder,
            design,
            binaries,
            failed_before: 0,
        };
        scene.heal().await?;
        scene.start_others().await?;
        Ok(scene)
    }

    async fn start_others(&mut self) -> anyhow::Result<()> {
        // What the plain consumer writes is no event that a real worker would accept.
        let is_needed =
            |worker: &str| self.design != Design::None || worker == FLOW.steps[0].worker;
        let stock =
            samples::skus()?.iter().map(|sku| format!("{sku}={PLENTY}")).collect::<Vec<_>>();
        for row in FLOW.steps.iter().filter(|row| row.worker != STEP && is_needed(row.worker)) {
            let mut command = Command::new(self.binaries.join(row.worker));
            let url = &self.sandbox.url;
            let (prefix, own) = (
                format!("{}.", row.worker),
                [
                    format!("nats.url={}", self.server.url()),
                    format!("reserve-inventory.opening_stock={}", stock.join(",")),
                    format!("ship-order.url={url}/carrier"),
                    format!("ship-order.quote_url={url}/quote"),
                ],
            );
            for set in own {
                if set.starts_with("nats.") || set.starts_with(&prefix) {
                    command.arg("--set").arg(set);
                }
            }
            self.others.push(Process::start(row.worker, command, self.folder.path())?);
        }
        let ready = self.others.iter_mut().map(Process::ready);
        within("the workers are ready", try_join_all(ready)).await??;
        Ok(())
    }

    /// Starts one replica behind each door, in place of the ones that ran.
    pub(crate) async fn start_replicas(&mut self) -> anyhow::Result<()> {
        self.failed_before = self.failed_calls();
        self.replicas.clear();
        for number in 0..self.doors.len() {
            let replica = self.replica(number)?;
            self.replicas.push(replica);
        }
        let (folder, design) = (&self.folder, self.design);
        let ready = self.replicas.iter_mut().enumerate().map(async |(number, replica)| {
            let file = folder.file(&ready_file(number));
            match design {
                Design::None => {
                    replica.until("is ready", async || file.exists().then_some(())).await
                }
                Design::Local | Design::Full => replica.ready().await,
            }
        });
        within("the replicas are ready", try_join_all(ready)).await??;
        Ok(())
    }

    /// Kills one and starts another behind the same door.
    pub(crate) async fn replace(&mut self, number: usize) -> anyhow::Result<()> {
        self.replicas[number].kill();
        self.failed_before += failures(&self.replicas[number]);
        self.replicas[number] = self.replica(number)?;
        self.replicas[number].ready().await
    }

    fn replica(&self, number: usize) -> anyhow::Result<Process> {
        let nats = format!("nats://{}", self.to_server.address());
        let gateway = format!("http://{}/payment", self.doors[number].address());
        let mut command = match self.design {
            Design::None => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg0(format!("{}{STEP}", crate::PLAIN)).args([nats, gateway]);
                command.arg(CONCURRENCY.to_string()).arg(self.folder.file(&ready_file(number)));
                return Process::start(STEP, command, self.folder.path());
            }
            Design::Local | Design::Full => Command::new(self.binaries.join(STEP)),
        };
        for set in [
            format!("nats.url={nats}"),
            format!("worker.concurrency={CONCURRENCY}"),
            format!("{STEP}.url={gateway}"),
        ] {
            command.arg("--set").arg(set);
        }
        if self.design == Design::Local {
            command.arg("--set").arg(format!("breaker.{DEPENDENCY}.fleet=off"));
        }
        Process::start(STEP, command, self.folder.path())
    }

    /// Calls of which the replicas themselves say that they failed: what a refused connection
    /// leaves behind, because nobody else sees it.
    pub(crate) fn failed_calls(&self) -> u64 {
        self.failed_before + self.replicas.iter().map(failures).sum::<u64>()
    }

    /// Every call takes its usual time, and none fails.
    pub(crate) async fn heal(&self) -> anyhow::Result<()> {
        self.set_faults(&json!({ "operations": ["create"], "latency_ms": CALL_MS })).await
    }

    pub(crate) async fn set_faults(&self, faults: &Value) -> anyhow::Result<()> {
        self.ask("PUT", "/faults/payment", &faults.to_string()).await?;
        Ok(())
    }

    /// Requests that were not let through, by the gateway or on the way to it.
    pub(crate) async fn met(&self) -> anyhow::Result<u64> {
        let faults = self.ask("GET", "/faults", "").await?;
        let met = faults["met"]["payment"].as_u64().context("the sandbox counts")?;
        Ok(met + self.doors.iter().map(Door::met).sum::<u64>())
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> anyhow::Result<Value> {
        let address = self.sandbox.url.trim_start_matches("http://");
        let ask = async {
            let mut stream = TcpStream::connect(address).await?;
            let length = body.len();
            let request = format!(
                "{method} {path} HTTP/1.1\r\nhost: sandbox\r\nconnection: close\r\n\
                 content-length: {length}\r\n\r\n{body}"
            );
            stream.write_all(request.as_bytes()).await?;
            let mut reply = String::new();
            stream.read_to_string(&mut reply).await?;
            anyhow::Ok(reply)
        };
        let reply = within("the sandbox answers", ask).await??;
        let (head, body) = reply.split_once("\r\n\r\n").context("a reply has a head")?;
        ensure!(head.starts_with("HTTP/1.1 200"), "{method} {path}: {reply}");
        Ok(serde_json::from_str(body)?)
    }

    /// Copies what every process wrote, the dead ones included.
    pub(crate) fn keep_logs(&self, folder: &Path) -> anyhow::Result<()> {
        let copy = || {
            std::fs::create_dir_all(folder)?;
            for entry in std::fs::read_dir(self.folder.path())? {
                let entry = entry?;
                if entry.path().extension().is_some_and(|end| end == "log") {
                    std::fs::copy(entry.path(), folder.join(entry.file_name()))?;
                }
            }
            std::io::Result::Ok(())
        };
        copy().with_context(|| format!("--logs: cannot write to {}", folder.display()))
    }

    /// What the processes said last, for an error that nothing else explains.
    pub(crate) fn said(&mut self) -> String {
        let all = self.replicas.iter_mut().chain(&mut self.others);
        let ended = all.filter_map(|process| {
            let status = process.has_ended()?;
            let said = process.said();
            let last = said.lines().last().unwrap_or_default().to_owned();
            Some(format!("\n  {} has ended ({status}): {last}", process.name()))
        });
        ended.collect()
    }
}

/// # Errors
/// When it takes over a minute.
pub(crate) async fn within<T>(what: &str, done: impl Future<Output = T>) -> anyhow::Result<T> {
    match timeout(PATIENCE, done).await {
        Ok(done) => Ok(done),
        Err(_) => bail!("this did not happen within {PATIENCE:?}: {what}"),
    }
}

fn failures(replica: &Process) -> u64 {
    replica.said().matches(super::TRYING_AGAIN).count() as u64
}

fn ready_file(number: usize) -> String {
    format!("{STEP}-{number}.ready")
}
