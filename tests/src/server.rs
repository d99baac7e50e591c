//! A real nats-server with JetStream for a test: it has its own ports and its own store, and is
//! killed when the test ends.
//!
//! A shell runs between the test and the server, and kills the server as soon as its standard input
//! closes. So no server outlives the test process, no matter how that ends, and the tests of a
//! process may share servers.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::eventually::eventually;

/// Starts "$@", prints its process id, and kills it at the end of the standard input.
const KEEPER: &str = r#"
    store=$1; shift
    "$@" >/dev/null 2>&1 </dev/null & server=$!
    echo $server
    read -r order
    kill -9 $server 2>/dev/null
    wait $server 2>/dev/null
    [ "$order" = keep ] || rm -rf "$store"
"#;

/// A running nats-server, or one that was killed and can be started again.
#[derive(Debug)]
pub struct Server {
    store: PathBuf,
    port: u16,
    monitoring: u16,
    running: Option<(Child, Pid)>,
}

/// What a server's configuration has besides its store and ports; empty for the defaults.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Lines of the configuration file.
    pub lines: String,
}

impl Server {
    /// One node with the defaults, as in the profile `dev`.
    pub async fn start() -> Self {
        Self::start_with(&Settings::default()).await
    }

    /// # Panics
    /// When there is no nats-server to start, or it does not start; says why.
    pub async fn start_with(settings: &Settings) -> Self {
        let store = TempDir::with_prefix("nats-server-").expect("a temporary directory");
        let mut server = Self { store: store.keep(), port: 0, monitoring: 0, running: None };
        server.write_configuration(settings);
        server.launch().await;
        server
    }

    /// `settings` apply from the next start on.
    pub fn write_configuration(&self, settings: &Settings) {
        let Settings { lines } = settings;
        let store = self.store.join("jetstream");
        let text = format!("jetstream {{ store_dir: {store:?} }}\n{lines}\n");
        let text = if lines.contains("store_dir") { lines.clone() } else { text };
        std::fs::write(self.store.join("server.conf"), text).expect("the temporary directory");
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// SIGKILL, and waits until it is dead; the store stays.
    pub fn kill(&mut self) {
        let Some((mut keeper, _)) = self.running.take() else { return };
        if let Some(mut orders) = keeper.stdin.take() {
            let _ = orders.write_all(b"keep\n");
        }
        let _ = keeper.wait();
    }

    /// Starts again, with the same store and ports; kills the server first if it still runs.
    pub async fn restart(&mut self) {
        self.kill();
        self.launch().await;
    }

    /// SIGSTOP: it answers nothing and closes nothing.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        if let Some((_, pid)) = &self.running {
            kill_process(*pid, signal).expect("the server runs");
        }
    }

    /// The body of a monitoring page such as `/jsz`; `None` if the server does not answer.
    pub async fn monitor(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.monitoring)).await.ok()?;
        let request = format!("GET {path} HTTP/1.0\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        Some(answer.split_once("\r\n\r\n")?.1.to_owned())
    }

    async fn launch(&mut self) {
        let program = program().unwrap_or_else(|sentence| panic!("{sentence}"));
        let port = |known: u16| if known == 0 { "-1".to_owned() } else { known.to_string() };
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "sh"])
            .arg(&self.store)
            .arg(program)
            .args(["-a", "127.0.0.1", "-p", &port(self.port), "-m", &port(self.monitoring)])
            .arg("--ports_file_dir")
            .arg(&self.store)
            .arg("-l")
            .arg(self.store.join("server.log"))
            .arg("-c")
            .arg(self.store.join("server.conf"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut line = String::new();
        let mut answers = BufReader::new(keeper.stdout.take().expect("it is piped"));
        answers.read_line(&mut line).expect("the shell says the process id");
        let pid = line.trim().parse().ok().and_then(Pid::from_raw).expect("a process id");
        self.running = Some((keeper, pid));
        let ports = self.store.join(format!("nats-server_{}.ports", pid.as_raw_nonzero()));
        eventually(&format!("a nats-server in {:?} starts", self.store), async || {
            self.explain_if_dead(pid);
            let text = std::fs::read_to_string(&ports).ok()?;
            let ports: serde_json::Value = serde_json::from_str(&text).ok()?;
            self.port = port_of(&ports["nats"][0])?;
            self.monitoring = port_of(&ports["monitoring"][0])?;
            Some(())
        })
        .await;
    }

    fn explain_if_dead(&self, pid: Pid) {
        let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
        if state.is_ok_and(|state| state.contains(") Z ")) {
            let log = std::fs::read_to_string(self.store.join("server.log")).unwrap_or_default();
            panic!("the nats-server ended:\n{log}");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        match self.running.take() {
            Some((mut keeper, _)) => {
                drop(keeper.stdin.take());
                let _ = keeper.wait();
            }
            None => drop(std::fs::remove_dir_all(&self.store)),
        }
    }
}

fn port_of(url: &serde_json::Value) -> Option<u16> {
    url.as_str()?.rsplit(':').next()?.parse().ok()
}

/// `QUADRILLE_NATS_SERVER`, otherwise the one on `PATH`, otherwise the one in the project's cache.
#[expect(clippy::disallowed_methods, reason = "the tests have no config; this is its one reader")]
fn program() -> Result<PathBuf, String> {
    if let Ok(named) = std::env::var("QUADRILLE_NATS_SERVER") {
        return Ok(named.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let cached =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/nats-server/2.15.1/bin/nats-server");
    std::env::split_paths(&path)
        .map(|folder| folder.join("nats-server"))
        .chain([cached])
        .find(|program| program.is_file())
        .ok_or_else(|| {
            "there is no nats-server: run `ops/test`, which fetches one, or name one in \
             QUADRILLE_NATS_SERVER"
                .to_owned()
        })
}
