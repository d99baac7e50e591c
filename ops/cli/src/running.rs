//! A `quadrille dev` that runs on this machine, so that the commands beside it find its broker.

use std::path::{Path, PathBuf};

use quadrille_tool::connect::{DefaultBroker, Found, LOCAL};
use quadrille_tool::output::{QUIET, Ui};
use serde::{Deserialize, Serialize};

/// The broker of a command that names none: that of the `quadrille dev` that runs here.
pub(crate) const BROKER: DefaultBroker = DefaultBroker {
    find,
    advice: "start one with `quadrille dev`, or name one with --nats URL or --context NAME",
};

/// [`BROKER`], for the help.
pub(crate) const NATS_HELP: &str = "\
The broker: nats://host:port, several separated by commas. Without it: that of a `quadrille dev` \
that runs in this folder or above it, otherwise nats://127.0.0.1:4222";

fn find(ui: Ui) -> Found {
    let Some((file, running)) = Addresses::here() else {
        let origin =
            "the default: neither --nats nor --context is given, and no `quadrille dev` runs here";
        return Found { url: LOCAL.to_owned(), origin: origin.to_owned() };
    };
    let note = format!("using the broker of the running `quadrille dev`: {}", running.nats);
    ui.note(ui.on_stderr.paint(QUIET, format!("{note} ({})", file.display())));
    Found { url: running.nats, origin: format!("from {}", file.display()) }
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
    /// The data folder, absolute.
    pub(crate) data: PathBuf,
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
    fn here() -> Option<(PathBuf, Self)> {
        let here = std::env::current_dir().ok()?;
        here.ancestors()
            .map(|folder| Self::file(&folder.join(DEV_FOLDER)))
            .find_map(|file| Self::of_running(&file).map(|running| (file, running)))
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
