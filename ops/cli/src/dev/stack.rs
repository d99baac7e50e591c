//! Everything that `dev` runs, started in the order in which it is needed and stopped in reverse.

mod addresses;
mod args;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use quadrille::nats::{self, Names, NatsBroker, NatsOptions, provision};
use quadrille::process::health;
use quadrille::topology::{Keep, Profile, Topology};
use quadrille_tool::output::{Advise, Ui};
use quadrille_tool::topology::{Permission, apply};
use schemas::order_fulfilment::FLOW;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::child::{Health, Kept, Program, Wish, keep};
use super::folder::Folder;
use super::programs::{self, COMMAND, QUERY, binaries, is_worker, workers_and_services};
use crate::running::Addresses;

pub(super) use args::StackArgs;

/// How long anything may take to become ready: enough for a busy machine and a long log.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(10);

/// What helps where the streams cannot be made.
const RESERVED: &str = "the streams reserve 1.6 GiB of the disk: take a folder that has so \
much free with --data DIR; --reset begins with an empty folder";

/// Everything, started or not.
pub(super) struct Stack {
    folder: Folder,
    names: Names,
    ui: Ui,
    kept: Vec<Kept>,
    /// The broker and the sandbox. They stop last, because workers need them to finish their work.
    base: JoinSet<()>,
    workers: JoinSet<()>,
    /// True once all are up; until then, a program that ends has failed to start.
    restart: watch::Sender<bool>,
    running: Option<Running>,
}

/// What is there once all are up.
pub(super) struct Running {
    pub(super) addresses: Addresses,
    pub(super) broker: NatsBroker,
}

/// Where broker and sandbox are, once the programs are up.
pub(super) struct Started {
    nats: String,
    sandbox: String,
    pub(super) broker: NatsBroker,
}

impl Stack {
    pub(super) fn new(folder: Folder, names: Names, ui: Ui) -> Self {
        let (restart, _) = watch::channel(false);
        let (base, workers) = (JoinSet::new(), JoinSet::new());
        Self { folder, names, ui, kept: Vec::new(), base, workers, restart, running: None }
    }

    pub(super) fn running(&self) -> anyhow::Result<&Running> {
        self.running.as_ref().context("not everything is up")
    }

    /// Whether nothing of it is kept.
    pub(super) fn is_temporary(&self) -> bool {
        self.folder.is_temporary()
    }

    /// The workers and the services, each with its log.
    pub(super) fn logs_of_workers(&self) -> Vec<(&'static str, PathBuf)> {
        workers_and_services().map(|name| (name, self.folder.log(name))).collect()
    }

    /// Starts everything, and returns once the first order can flow.
    ///
    /// # Errors
    /// When a program is missing or ends; [`Stack::stop`] then ends what is running.
    pub(super) async fn start(&mut self, args: &StackArgs) -> anyhow::Result<()> {
        let started = self.start_only(workers_and_services(), args).await?;
        let Started { nats, sandbox, broker } = started;
        let (command, query) = (self.http_url(COMMAND)?, self.http_url(QUERY)?);
        let (data, pid) = (self.folder.path.clone(), std::process::id());
        let nats_server = self.kept.first().map(|broker| broker.program.path.clone());
        let workers =
            workers_and_services().map(|name| Ok((name.to_owned(), self.health_url(name)?)));
        let workers = workers.collect::<anyhow::Result<_>>()?;
        let addresses =
            Addresses { nats, sandbox, command, query, workers, data, nats_server, pid };
        self.folder.announce(&addresses)?;
        self.folder.remember(&addresses)?;
        self.running = Some(Running { addresses, broker });
        Ok(())
    }

    /// Starts the broker, the sandbox and these programs, and returns once they are ready.
    ///
    /// # Errors
    /// As those of [`Stack::start`].
    pub(super) async fn start_only(
        &mut self,
        programs: impl Iterator<Item = &'static str>,
        args: &StackArgs,
    ) -> anyhow::Result<Started> {
        args.check()?;
        let binaries = binaries()?;
        let nats_server = args.server.require()?;
        let last = self.folder.last_ports();
        let broker = self.keep(
            "nats-server",
            &nats_server,
            programs::server_arguments(&self.folder, args.port.or(last.nats)),
        );
        let port = args.sandbox_port.or(last.sandbox);
        let sandbox_arguments = programs::sandbox_arguments(&self.folder, port);
        let sandbox = self.keep("sandbox", &binaries.join("sandbox"), sandbox_arguments);
        let (nats, sandbox) = tokio::try_join!(
            self.ready(broker, || self.server_url(broker)),
            self.ready(sandbox, || self.sandbox_url(sandbox)),
        )?;
        let (urls, name) = (vec![nats.clone()], Some(self.ui.name().to_owned()));
        let names = self.names.clone();
        let options = NatsOptions { urls, names, name, ..NatsOptions::default() };
        let broker = nats::connect(&options).await?;
        let keep = Keep { replicas: false, ..Keep::ALL };
        let topology = Topology { keep, ..Topology::new(&FLOW, Profile::Dev) };
        let changes = provision::plan(&broker, &topology).await?;
        let applied = apply(&broker, &changes, &Permission::for_our_own_broker()).await;
        applied.map_err(|error| error.advise(RESERVED))?;
        let mut workers = Vec::new();
        for worker in programs {
            let server = (nats.as_str(), &self.names);
            let mut arguments = programs::worker_arguments(&self.folder, worker, server, &sandbox);
            let port = match worker {
                COMMAND => Some(args.command_port.or(last.command)),
                QUERY => Some(args.query_port.or(last.query)),
                _ => None,
            };
            if let Some(port) = port {
                arguments.extend(programs::http_arguments(&self.folder, worker, port));
            }
            workers.push(self.keep(worker, &binaries.join(worker), arguments));
        }
        let this = &*self;
        let all = workers.iter().map(|worker| this.worker_ready(*worker));
        futures::future::try_join_all(all).await?;
        self.restart.send_replace(true);
        Ok(Started { nats, sandbox, broker })
    }

    /// Starts a broker and nothing else.
    ///
    /// # Errors
    /// When there is no such program, or it ends.
    pub(super) async fn start_broker(&mut self, args: &StackArgs) -> anyhow::Result<NatsBroker> {
        args.check()?;
        let nats_server = args.server.require()?;
        let port = args.port.or(self.folder.last_ports().nats);
        let arguments = programs::server_arguments(&self.folder, port);
        let broker = self.keep("nats-server", &nats_server, arguments);
        let url = self.ready(broker, || self.server_url(broker)).await?;
        let (urls, name) = (vec![url], Some(self.ui.name().to_owned()));
        let names = self.names.clone();
        Ok(nats::connect(&NatsOptions { urls, names, name, ..NatsOptions::default() }).await?)
    }

    /// The same, and starts it again when it ends; returns its URL.
    pub(super) async fn start_only_broker(&mut self, args: &StackArgs) -> anyhow::Result<String> {
        self.start_broker(args).await?;
        self.restart.send_replace(true);
        self.server_url(0).context("the broker is ready")
    }

    /// Stops the workers, which finish what they have in hand, then the sandbox and the broker.
    pub(super) async fn stop(&mut self) {
        self.folder.withdraw();
        self.end(Wish::Stop).await;
    }

    /// Ends everything at once.
    pub(super) async fn kill(&mut self) {
        self.end(Wish::Kill).await;
    }

    /// Keeps a temporary folder after all, because after a failed run its logs say why.
    pub(super) fn keep_temporary(&mut self) {
        // Where nothing was started, there is nothing to see.
        if self.kept.is_empty() {
            return;
        }
        if let Some(path) = self.folder.keep() {
            self.ui.note(format!("logs and data are kept for a look: {}", path.display()));
        }
    }

    async fn end(&mut self, how: Wish) {
        for kept in self.kept.iter().filter(|kept| is_worker(kept.program.name)) {
            kept.wish.send_replace(how);
        }
        while self.workers.join_next().await.is_some() {}
        for kept in &self.kept {
            kept.wish.send_replace(how);
        }
        while self.base.join_next().await.is_some() {}
    }

    /// Keeps a program running from now on; returns its place in `kept`.
    fn keep(&mut self, name: &'static str, path: &Path, arguments: Vec<String>) -> usize {
        let arguments = std::sync::Arc::new(arguments.into());
        let log = self.folder.log(name);
        let program = Program { name, path: path.to_owned(), arguments, log };
        let registry = self.folder.registry.clone();
        let (kept, work) = keep(program, registry, self.restart.subscribe(), self.ui);
        let tasks = if is_worker(name) { &mut self.workers } else { &mut self.base };
        tasks.spawn(work);
        self.kept.push(kept);
        self.kept.len() - 1
    }

    /// Asks until there is an answer; fails if the program ends first.
    async fn ready<T>(&self, at: usize, ask: impl Fn() -> Option<T>) -> anyhow::Result<T> {
        let Kept { program, health, .. } = &self.kept[at];
        let give_up = Instant::now() + PATIENCE;
        loop {
            if let Some(answer) = ask() {
                return Ok(answer);
            }
            let health = *health.borrow();
            if let Health::Ended(status) = health {
                return Err(program.failure(status));
            }
            if Instant::now() >= give_up {
                return Err(anyhow!("{} is not ready after {PATIENCE:?}", program.name)
                    .advise(format!("its log: {}", program.log.display())));
            }
            sleep(POLL).await;
        }
    }

    async fn worker_ready(&self, at: usize) -> anyhow::Result<()> {
        let name = self.kept[at].program.name;
        let file = self.folder.run_file(&format!("{name}.address"));
        let address = || std::fs::read_to_string(&file).ok()?.parse::<SocketAddr>().ok();
        let address = self.ready(at, address).await?;
        let give_up = Instant::now() + PATIENCE;
        while let Err(error) = health::check(address).await {
            // After the time limit this fails, and says whether the program has ended.
            self.ready(at, || (Instant::now() < give_up).then_some(())).await?;
            if let Health::Ended(status) = *self.kept[at].health.borrow() {
                return Err(self.kept[at].program.failure(status));
            }
            if Instant::now() >= give_up {
                return Err(error.context(format!("{name} is not ready after {PATIENCE:?}")));
            }
            sleep(POLL).await;
        }
        Ok(())
    }
}
