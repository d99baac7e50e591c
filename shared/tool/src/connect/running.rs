//! A `quadrille dev` that runs on this machine, so that the commands beside it find its broker.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Where a `quadrille dev` keeps its data, unless `--data` names another folder.
pub const DEV_FOLDER: &str = ".quadrille";

/// Where a running `quadrille dev` can be reached: its `dev.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Addresses {
    pub nats: String,
    pub sandbox: String,
    /// The data folder, absolute.
    pub data: PathBuf,
    /// The process id of the supervisor.
    pub pid: u32,
}

impl Addresses {
    /// The `dev.json` of a data folder.
    pub fn file(folder: &Path) -> PathBuf {
        folder.join("dev.json")
    }

    /// Reads a `dev.json`; `None` where there is none, or its process no longer runs.
    pub fn of_running(file: &Path) -> Option<Self> {
        let addresses: Self = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
        let alive = command_line(addresses.pid).is_some_and(|line| line.contains("quadrille"));
        alive.then_some(addresses)
    }

    /// The `dev.json` of the `quadrille dev` that runs in this folder or one above it, and its
    /// content.
    pub(super) fn here() -> Option<(PathBuf, Self)> {
        let here = std::env::current_dir().ok()?;
        here.ancestors()
            .map(|folder| Self::file(&folder.join(DEV_FOLDER)))
            .find_map(|file| Self::of_running(&file).map(|running| (file, running)))
    }
}

/// The command line of a process, its words separated by spaces; `None` where there is no such
/// process, or it has ended.
pub fn command_line(pid: u32) -> Option<String> {
    if Path::new("/proc/self/cmdline").exists() {
        let file = format!("/proc/{pid}/cmdline");
        let line = std::fs::read(file).ok().filter(|line| !line.is_empty())?;
        return Some(String::from_utf8_lossy(&line).replace('\0', " "));
    }
    let asked = std::process::Command::new("ps")
        .args(["-ww", "-o", "command=", "-p", &pid.to_string()])
        .output();
    let line = String::from_utf8_lossy(&asked.ok()?.stdout).trim().to_owned();
    (!line.is_empty()).then_some(line)
}
