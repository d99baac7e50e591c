//! The payment and carrier services as a process.

use std::path::Path;

use serde_json::Value;
use tokio::process::Command;

use crate::folder::Folder;
use crate::process::Process;

/// A running sandbox.
#[derive(Debug)]
pub struct Sandbox {
    pub process: Process,
    /// `http://127.0.0.1:PORT`
    pub url: String,
}

impl Sandbox {
    /// Starts `program` on a port of its own, with its ledger in `folder`.
    ///
    /// # Errors
    /// When it does not start; says why.
    pub async fn start(program: &Path, folder: &Folder) -> anyhow::Result<Self> {
        let ports = folder.file("sandbox.json");
        let mut command = Command::new(program);
        command.args(["--listen", "127.0.0.1:0", "--seed", "1"]);
        command.arg("--ledger").arg(folder.file("ledger.jsonl"));
        command.arg("--ports-file").arg(&ports);
        let mut process = Process::start("sandbox", command, folder.path())?;
        let look = async || {
            let ports: Value = serde_json::from_slice(&std::fs::read(&ports).ok()?).ok()?;
            ports["http"].as_str().map(str::to_owned)
        };
        let url = process.until("listens", look).await?;
        Ok(Self { process, url })
    }
}
