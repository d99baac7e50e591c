//! A real nats-server with JetStream: its own ports and store, removed when its value is dropped.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::process::Command;

use crate::binaries;
use crate::folder::Folder;
use crate::process::Process;

/// A running nats-server, or one that was killed and can be started again.
#[derive(Debug)]
pub struct Server {
    /// May be killed, paused and resumed; the store stays.
    pub process: Process,
    ports: Ports,
    program: PathBuf,
    folder: Folder,
}

/// What a server has beyond a store and ports; the default is one node, as in the profile `dev`.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The file to start, or none for the one that the environment names.
    pub program: Option<PathBuf>,
    /// Lines of the configuration file.
    pub lines: String,
}

/// -1 for any that is free.
#[derive(Debug, Clone, Copy)]
struct Ports {
    clients: i32,
    monitoring: i32,
}

impl Server {
    /// One with the default settings.
    ///
    /// # Panics
    /// When there is no nats-server to start, or it does not start; says why.
    pub async fn start() -> Self {
        let started = Self::start_with(&Settings::default()).await;
        started.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// # Errors
    /// When there is no nats-server to start, or it does not start; says why.
    pub async fn start_with(settings: &Settings) -> anyhow::Result<Self> {
        let program = settings.program.clone().map_or_else(binaries::nats_server, Ok)?;
        let folder = Folder::new("nats-server-");
        let store = folder.file("jetstream");
        // By default three quarters of what is free on the disk, and a stream reserves its whole
        // limit at once: with 2 GB free no log could be made, however little the tests write.
        let room = "max_file_store: 1TB";
        let text = format!("jetstream {{ store_dir: {store:?}, {room} }}\n{}\n", settings.lines);
        std::fs::write(configuration(&folder), text)?;
        let any = Ports { clients: -1, monitoring: -1 };
        let (process, ports) = launch(&program, any, &folder).await?;
        Ok(Self { process, ports, program, folder })
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.ports.clients)
    }

    /// The folder of its streams.
    pub fn store(&self) -> PathBuf {
        self.folder.file("jetstream")
    }

    /// `127.0.0.1:PORT` of its monitoring pages.
    pub fn monitoring(&self) -> String {
        format!("{}:{}", Ipv4Addr::LOCALHOST, self.ports.monitoring)
    }

    /// Starts again, with the same store and ports; kills it first if it still runs.
    ///
    /// # Panics
    /// When it does not start; says why.
    pub async fn restart(&mut self) {
        self.process.kill();
        let launched = launch(&self.program, self.ports, &self.folder).await;
        (self.process, self.ports) = launched.unwrap_or_else(|error| panic!("{error:#}"));
    }
}

async fn launch(program: &Path, ports: Ports, folder: &Folder) -> anyhow::Result<(Process, Ports)> {
    let mut command = Command::new(program);
    command.args(["-a", "127.0.0.1"]);
    command.args(["-p", &ports.clients.to_string(), "-m", &ports.monitoring.to_string()]);
    command.arg("--ports_file_dir").arg(folder.path()).arg("-c").arg(configuration(folder));
    let mut process = Process::start("nats-server", command, folder.path())?;
    let file = folder.file(&format!("nats-server_{}.ports", process.pid()));
    let ports = process.until("listens", async || Ports::read(&file)).await?;
    Ok((process, ports))
}

impl Ports {
    /// `None` while the file is not there, or not whole.
    fn read(file: &Path) -> Option<Self> {
        let listed: Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
        let port = |of: &str| listed[of][0].as_str()?.rsplit(':').next()?.parse().ok();
        Some(Self { clients: port("nats")?, monitoring: port("monitoring")? })
    }
}

fn configuration(folder: &Folder) -> PathBuf {
    folder.file("server.conf")
}
