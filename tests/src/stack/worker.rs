//! One worker process: started with settings in its environment, signalled by its process id.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use quadrille::process::health;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::binaries::{Build, program};
use crate::eventually::{eventually, within_patience};

/// What to start.
#[derive(Debug, Clone)]
pub struct Launch {
    worker: &'static str,
    build: Build,
    environment: Vec<(String, String)>,
}

impl Launch {
    pub fn of(worker: &'static str) -> Self {
        Self { worker, build: Build::Shipped, environment: Vec::new() }
    }

    /// The build that can be made to die at a named place.
    #[must_use]
    pub fn with_failpoints(self) -> Self {
        Self { build: Build::Failpoints, ..self }
    }

    /// A variable of its environment, such as `QUADRILLE_WORKER__CONCURRENCY`.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl ToString) -> Self {
        self.environment.push((name.to_owned(), value.to_string()));
        self
    }
}

/// Starts the workers of one stack; cheap to clone.
#[derive(Debug, Clone)]
pub struct Launcher {
    folder: PathBuf,
    environment: Vec<(String, String)>,
    started: Arc<AtomicUsize>,
}

impl Launcher {
    pub(super) fn new(folder: &Path, nats: &str, sandbox: &str) -> Self {
        let environment = [
            ("QUADRILLE_NATS__URL", nats.to_owned()),
            ("QUADRILLE_CHARGE_CUSTOMER__URL", format!("{sandbox}/payment")),
            ("QUADRILLE_SHIP_ORDER__URL", format!("{sandbox}/carrier")),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value)).into();
        Self { folder: folder.to_owned(), environment, started: Arc::default() }
    }

    /// The stack's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts one process; it may not be ready yet.
    pub fn launch(&self, launch: &Launch) -> Worker {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let file = |end: &str| self.folder.join(format!("{}-{number}.{end}", launch.worker));
        let (log, address_file) = (file("log"), file("address"));
        let output = File::create(&log).expect("the stack's folder");
        let child = Command::new(program(launch.build, launch.worker))
            // A worker must not see the test's own environment.
            .env_clear()
            .env("QUADRILLE_HEALTH__ADDRESS_FILE", &address_file)
            .envs(self.environment.iter().chain(&launch.environment).map(|(n, v)| (n, v)))
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("an open file"))
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .expect("a program that is there starts");
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed())).expect("it runs");
        Worker { name: launch.worker, child, pid, address_file, log }
    }
}

/// A worker process, killed with this value.
#[derive(Debug)]
pub struct Worker {
    name: &'static str,
    child: Child,
    pid: Pid,
    address_file: PathBuf,
    log: PathBuf,
}

impl Worker {
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Waits until it takes work.
    ///
    /// # Panics
    /// When it ends instead; shows its output.
    pub async fn ready(&mut self) {
        eventually(&format!("{} is ready", self.name), async || {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("{} ended with {status}:\n{}", self.name, self.said());
            }
            let address = std::fs::read_to_string(&self.address_file).ok()?.parse().ok()?;
            health::check(address).await.ok()
        })
        .await;
    }

    /// SIGKILL: no chance to do anything more.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// That a process which has ended takes no signal is no error.
    fn signal(&self, signal: Signal) {
        if self.child.id().is_some() {
            let _ = kill_process(self.pid, signal);
        }
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// When it takes over a minute.
    pub async fn ended(&mut self) -> ExitStatus {
        within_patience(&format!("{} ends", self.name), self.ended_some_day()).await
    }

    /// Waits until it has ended, for as long as it takes: a supervisor expects no end.
    pub(super) async fn ended_some_day(&mut self) -> ExitStatus {
        self.child.wait().await.expect("our own child")
    }

    /// SIGTERM: it finishes what it has in hand; waits for the end.
    ///
    /// # Panics
    /// When it takes over a minute.
    pub async fn shut_down(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// Everything it has written so far.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn pid(&self) -> Pid {
        self.pid
    }
}
