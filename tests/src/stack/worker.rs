//! Starts workers of the order saga, with settings in their environment.

use std::path::{Path, PathBuf};

use harness::binaries::{Build, program};
use harness::process::Process;
use tokio::process::Command;

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
}

impl Launcher {
    pub(super) fn new(folder: &Path, nats: &str, sandbox: &str) -> Self {
        let environment = [
            ("QUADRILLE_NATS__URL", nats.to_owned()),
            ("QUADRILLE_CHARGE_CUSTOMER__URL", format!("{sandbox}/payment")),
            ("QUADRILLE_SHIP_ORDER__URL", format!("{sandbox}/carrier")),
            ("QUADRILLE_SHIP_ORDER__QUOTE_URL", format!("{sandbox}/quote")),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value)).into();
        Self { folder: folder.to_owned(), environment }
    }

    /// The stack's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts one process; it may not be ready yet.
    ///
    /// # Panics
    /// When there is no such program.
    pub fn launch(&self, launch: &Launch) -> Process {
        let mut command = Command::new(program(launch.build, launch.worker));
        // Nothing of the test's own environment is meant for a worker.
        command.env_clear();
        command.envs(self.environment.iter().chain(&launch.environment).map(|(n, v)| (n, v)));
        let started = Process::start(launch.worker, command, &self.folder);
        started.unwrap_or_else(|error| panic!("{error:#}"))
    }
}
