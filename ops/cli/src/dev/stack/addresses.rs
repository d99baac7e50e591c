//! Where each program listens: found out once it runs, and kept for its next start, so that what
//! was exported or bookmarked still works after a restart.

use anyhow::Context;
use serde::Deserialize;

use super::super::child::Health;
use super::super::programs;
use super::Stack;

impl Stack {
    /// Where a service listens; a restarted one will listen there too.
    pub(super) fn http_url(&self, service: &str) -> anyhow::Result<String> {
        self.stays_at(service, service, "http")
    }

    /// Where a worker tells how it is; a restarted one, too.
    pub(super) fn health_url(&self, worker: &str) -> anyhow::Result<String> {
        self.stays_at(worker, "health", "address")
    }

    /// The address that a program has written to the file with this ending, and listens at by this
    /// section of its settings, from now on.
    fn stays_at(&self, name: &str, section: &str, ending: &str) -> anyhow::Result<String> {
        let address = std::fs::read_to_string(self.folder.run_file(&format!("{name}.{ending}")))?;
        let kept = self.kept.iter().find(|kept| kept.program.name == name);
        let program = &kept.context("it was started")?.program;
        let old = programs::listen(section, "127.0.0.1:0");
        program.replace(&old, programs::listen(section, &address));
        Ok(format!("http://{address}"))
    }

    /// Where the broker listens; a restarted one will listen there too.
    pub(super) fn server_url(&self, at: usize) -> Option<String> {
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

    pub(super) fn sandbox_url(&self, at: usize) -> Option<String> {
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
