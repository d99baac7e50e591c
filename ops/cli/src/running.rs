//! A `quadrille dev` that runs on this machine, so that the commands beside it find its broker.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use quadrille_tool::connect::{DefaultBroker, Found, LOCAL};
use quadrille_tool::output::Ui;
use serde::{Deserialize, Serialize};

/// The broker of a command that names none: that of the `quadrille dev` that runs here.
pub(crate) const BROKER: DefaultBroker = DefaultBroker { find, advice };

/// [`BROKER`], for the help.
pub(crate) const NATS_HELP: &str = "\
The broker: nats://host:port, several separated by commas; a login in it (user:password@ or \
token@) is percent-encoded. Without it: NATS_URL, NATS_CONTEXT, that of a `quadrille dev` that \
runs in this folder or above it, the selected context of the `nats` command, or \
nats://127.0.0.1:4222";

fn advice(url: &str) -> String {
    match Addresses::here() {
        Some((_, running)) if running.nats == url => format!(
            "the `quadrille dev` that runs here starts its broker again when that ends: try again \
             in a moment; the log of the broker: {}",
            running.data.join("logs").join("nats-server.log").display()
        ),
        _ => "start one with `quadrille dev`, or name one with --nats URL or --context NAME"
            .to_owned(),
    }
}

fn find(_: Ui) -> Found {
    match Addresses::here() {
        Some((file, running)) => Found {
            url: running.nats,
            origin: format!("the running `quadrille dev`, from {}", file.display()),
            is_ours: true,
        },
        None => Found {
            url: LOCAL.to_owned(),
            origin: match stale() {
                Some(file) => {
                    format!("the default: the `quadrille dev` of {} no longer runs", file.display())
                }
                None => "the default: nothing names a broker, and no `quadrille dev` runs here"
                    .to_owned(),
            },
            is_ours: false,
        },
    }
}

/// The `dev.json` that a killed `quadrille dev` left in this folder or one above it.
fn stale() -> Option<PathBuf> {
    candidates()?.into_iter().find(|file| file.is_file())
}

/// Where a `dev.json` of this folder may be, nearest first.
fn candidates() -> Option<Vec<PathBuf>> {
    let here = std::env::current_dir().ok()?;
    Some(here.ancestors().map(|folder| Addresses::file(&folder.join(DEV_FOLDER))).collect())
}

/// Where a `quadrille dev` keeps its data, unless `--data` names another folder.
pub(crate) const DEV_FOLDER: &str = ".quadrille";

/// Where a running `quadrille dev` can be reached: its `dev.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Addresses {
    pub(crate) nats: String,
    pub(crate) sandbox: String,
    /// Where orders are taken over HTTP.
    pub(crate) command: String,
    /// Where questions about orders are answered over HTTP.
    pub(crate) query: String,
    /// Where each worker and service answers `/ready` and `/metrics`.
    #[serde(default)]
    pub(crate) workers: BTreeMap<String, String>,
    /// The data folder, absolute.
    pub(crate) data: PathBuf,
    /// The program of its broker.
    #[serde(default)]
    pub(crate) nats_server: Option<PathBuf>,
    /// The process id of the supervisor.
    pub(crate) pid: u32,
}

impl Addresses {
    /// The `dev.json` of a data folder.
    pub(crate) fn file(folder: &Path) -> PathBuf {
        folder.join("dev.json")
    }

    /// Reads a `dev.json`; `None` where there is none, or its process no longer runs.
    pub(crate) fn of_running(file: &Path) -> Option<Self> {
        let addresses: Self = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
        let alive = command_line(addresses.pid).is_some_and(|line| line.contains("quadrille"));
        alive.then_some(addresses)
    }

    /// The `dev.json` of the `quadrille dev` that runs in this folder or one above it, and its
    /// content.
    pub(crate) fn here() -> Option<(PathBuf, Self)> {
        let running = |file: PathBuf| Self::of_running(&file).map(|running| (file, running));
        candidates()?.into_iter().find_map(running)
    }
}

/// The command line of a process, its words separated by spaces; `None` where there is no such
/// process, or it has ended.
pub(crate) fn command_line(pid: u32) -> Option<String> {
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
