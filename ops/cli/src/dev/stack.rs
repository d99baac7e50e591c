//! Everything that `dev` runs, started in the order in which it is needed and stopped in reverse.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use quadrille::nats::{self, NatsBroker, NatsOptions, provision};
use quadrille::process::health;
use quadrille::topology::{Keep, Profile, Topology};
use quadrille_tool::output::{Advise, Ui};
use quadrille_tool::topology::{Permission, apply};
use schemas::order_fulfilment::FLOW;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::child::{Health, Kept, Program, Wish, keep};
use super::folder::Folder;
use crate::running::Addresses;

/// How long anything may take to become ready: enough for a busy machine and a long log.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(10);

/// Enough for thousands of orders; a stock that is there already is not touched.
const DEMO_STOCK: &str = "ROSE-RED=100000,VASE-GLASS=10000";

/// Where to listen, and which broker to run.
#[derive(Debug, Args)]
pub(super) struct StackArgs {
    /// Port of the broker; without it, a free one
    #[arg(long)]
    port: Option<u16>,
    /// Port of the sandbox; without it, a free one
    #[arg(long, value_name = "PORT")]
    sandbox_port: Option<u16>,
    /// The nats-server program; a name without a folder is looked for on PATH
    #[arg(long, env = "QUADRILLE_NATS_SERVER", value_name = "FILE", default_value = "nats-server")]
    nats_server: PathBuf,
}

/// Everything, started or not.
pub(super) struct Stack {
    folder: Folder,
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

impl Stack {
    pub(super) fn new(folder: Folder, ui: Ui) -> Self {
        let (restart, _) = watch::channel(false);
        let (base, workers) = (JoinSet::new(), JoinSet::new());
        Self { folder, ui, kept: Vec::new(), base, workers, restart, running: None }
    }

    pub(super) fn running(&self) -> anyhow::Result<&Running> {
        self.running.as_ref().context("not everything is up")
    }

    /// Whether nothing of it is kept.
    pub(super) fn is_temporary(&self) -> bool {
        self.folder.is_temporary()
    }

    /// Starts everything, and returns once the first order can flow.
    ///
    /// # Errors
    /// When a program is missing or ends; [`Stack::stop`] then ends what is running.
    pub(super) async fn start(&mut self, args: &StackArgs) -> anyhow::Result<()> {
        let binaries = binaries()?;
        require_server(&args.nats_server)?;
        let broker = self.keep("nats-server", &args.nats_server, self.server_arguments(args.port));
        let sandbox_arguments = self.sandbox_arguments(args.sandbox_port);
        let sandbox = self.keep("sandbox", &binaries.join("sandbox"), sandbox_arguments);
        let (nats, sandbox) = tokio::try_join!(
            self.ready(broker, || self.server_url(broker)),
            self.ready(sandbox, || self.sandbox_url(sandbox)),
        )?;
        let (urls, name) = (vec![nats.clone()], Some(self.ui.tool.to_owned()));
        let connected =
            nats::connect(&NatsOptions { urls, name, ..NatsOptions::default() }).await?;
        let keep = Keep { ack_wait: true, ..Keep::default() };
        let topology = Topology { keep, ..Topology::new(&FLOW, Profile::Dev) };
        let changes = provision::plan(&connected, &topology).await?;
        let applied = apply(&connected, &changes, &Permission::for_our_own_broker()).await;
        applied.map_err(|error| error.advise("--reset begins with an empty folder"))?;
        let mut workers = Vec::new();
        for step in FLOW.steps {
            let arguments = self.worker_arguments(step.worker, &nats, &sandbox);
            workers.push(self.keep(step.worker, &binaries.join(step.worker), arguments));
        }
        let this = &*self;
        let all = workers.into_iter().map(|worker| this.worker_ready(worker));
        futures::future::try_join_all(all).await?;
        let data = self.folder.path.clone();
        let addresses = Addresses { nats, sandbox, data, pid: std::process::id() };
        self.folder.announce(&addresses)?;
        self.restart.send_replace(true);
        self.running = Some(Running { addresses, broker: connected });
        Ok(())
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
        if let Some(path) = self.folder.keep() {
            self.ui.note(format!("logs and data are kept for a look: {}", path.display()));
        }
    }

    async fn end(&mut self, how: Wish) {
        let is_worker = |kept: &&Kept| FLOW.row(kept.program.name).is_some();
        for kept in self.kept.iter().filter(is_worker) {
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
        let tasks = if FLOW.row(name).is_some() { &mut self.workers } else { &mut self.base };
        tasks.spawn(work);
        self.kept.push(kept);
        self.kept.len() - 1
    }

    fn server_arguments(&self, port: Option<u16>) -> Vec<String> {
        let port = port.map_or_else(|| "-1".to_owned(), |port| port.to_string());
        let store = self.folder.path.join("nats").display().to_string();
        let run = self.folder.path.join("run").display().to_string();
        ["-a", "127.0.0.1", "-p", &port, "-m", "-1", "--ports_file_dir", &run, "-js", "-sd", &store]
            .map(str::to_owned)
            .to_vec()
    }

    fn sandbox_arguments(&self, port: Option<u16>) -> Vec<String> {
        let listen = format!("127.0.0.1:{}", port.unwrap_or(0));
        let ledger = self.folder.path.join("ledger.jsonl").display().to_string();
        let ports = self.folder.run_file("sandbox.ports").display().to_string();
        ["--listen", &listen, "--ledger", &ledger, "--ports-file", &ports]
            .map(str::to_owned)
            .to_vec()
    }

    /// As flags, because they override all other settings, such as those in the environment.
    fn worker_arguments(&self, worker: &str, nats: &str, sandbox: &str) -> Vec<String> {
        let address = self.folder.run_file(&format!("{worker}.address"));
        let mut settings = vec![
            format!("nats.url={nats}"),
            "health.listen=127.0.0.1:0".to_owned(),
            format!("health.address_file={}", address.display()),
        ];
        settings.extend(match worker {
            "reserve-inventory" => vec![format!("{worker}.opening_stock={DEMO_STOCK}")],
            "charge-customer" => vec![format!("{worker}.url={sandbox}/payment")],
            "ship-order" => vec![
                format!("{worker}.url={sandbox}/carrier"),
                format!("{worker}.quote_url={sandbox}/quote"),
            ],
            _ => Vec::new(),
        });
        settings.into_iter().flat_map(|setting| ["--set".to_owned(), setting]).collect()
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

    /// Where the broker listens; a restarted one will listen there too.
    fn server_url(&self, at: usize) -> Option<String> {
        #[derive(Deserialize)]
        struct Ports {
            nats: Vec<String>,
        }
        let Health::Running(pid) = *self.kept[at].health.borrow() else { return None };
        let file = self.folder.run_file(&format!("nats-server_{pid}.ports"));
        let ports: Ports = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
        let url = ports.nats.into_iter().next()?;
        self.kept[at].program.change("-p", url.rsplit(':').next()?.to_owned());
        Some(url)
    }

    fn sandbox_url(&self, at: usize) -> Option<String> {
        #[derive(Deserialize)]
        struct Ports {
            http: String,
        }
        let file = std::fs::read(self.folder.run_file("sandbox.ports")).ok()?;
        let Ports { http } = serde_json::from_slice(&file).ok()?;
        self.kept[at].program.change("--listen", http.strip_prefix("http://")?.to_owned());
        Some(http)
    }
}

/// The folder of the workers' and the sandbox's binaries: they are built together with this one.
fn binaries() -> anyhow::Result<PathBuf> {
    let ourselves = std::env::current_exe().context("the folder of this program is unknown")?;
    let folder = ourselves.parent().context("this program is in no folder")?;
    let missing: Vec<_> = FLOW
        .steps
        .iter()
        .map(|step| step.worker)
        .chain(["sandbox"])
        .filter(|name| !folder.join(name).is_file())
        .collect();
    if missing.is_empty() {
        return Ok(folder.to_owned());
    }
    Err(anyhow!("{} not found beside {}", missing.join(", "), ourselves.display())
        .advise("build all of them together, as `ops/dev` does: cargo build --release --workspace"))
}

fn require_server(path: &Path) -> anyhow::Result<()> {
    let asked = std::process::Command::new(path).arg("--version").output();
    let reason = match asked {
        Ok(answer) if answer.status.success() => return Ok(()),
        Ok(answer) => answer.status.to_string(),
        Err(error) => error.to_string(),
    };
    Err(anyhow!("{} cannot be run: {reason}", path.display()).advise(
        "`ops/dev` fetches a nats-server; or put one on PATH, or name it: \
         QUADRILLE_NATS_SERVER=/path/to/nats-server",
    ))
}
