//! The data folder of a `quadrille dev`: one process at a time holds it, ends what a dead one left
//! running, and writes down where other commands find everything.

use std::fs::{self, File, TryLockError};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, anyhow};
use quadrille_tool::output::{Advise, Ui};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::running::{Addresses, DEV_FOLDER, command_line};

/// All that is ever made in the folder, so that a reset deletes nothing else.
const OURS: [&str; 7] =
    ["nats", "ledger.jsonl", "ledger.jsonl.journal", "logs", "run", "dev.json", "ports.json"];

/// Which folder.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'a> {
    /// [`DEV_FOLDER`] of the current folder.
    Here,
    At(&'a Path),
    /// A new one, deleted at the end.
    Temporary,
}

/// Where the programs listen.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Ports {
    pub(super) nats: Option<u16>,
    pub(super) sandbox: Option<u16>,
    pub(super) command: Option<u16>,
    pub(super) query: Option<u16>,
}

/// The folder, held by this process.
#[derive(Debug)]
pub(super) struct Folder {
    /// Absolute, because a process is one of our children if its command line holds this path.
    pub(super) path: PathBuf,
    pub(super) registry: Registry,
    /// Locked as long as this process lives.
    _lock: File,
    /// Deletes the folder at the end, after everything else.
    temporary: Option<TempDir>,
}

impl Folder {
    pub(super) async fn open(place: Place<'_>, reset: bool, ui: Ui) -> anyhow::Result<Self> {
        let (path, temporary) = match place {
            Place::Here => (PathBuf::from(DEV_FOLDER), None),
            Place::At(path) => (path.to_owned(), None),
            Place::Temporary => {
                let made = tempfile::Builder::new().prefix("quadrille-").tempdir();
                let folder = made.context("no temporary folder can be made")?;
                (folder.path().to_owned(), Some(folder))
            }
        };
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let path = path.canonicalize()?;
        let lock = lock(&path)?;
        let registry = Registry::new(path.join("run").join("children.json"));
        registry.end_what_is_left(&path, ui).await;
        if reset {
            OURS.iter().try_for_each(|name| remove(&path.join(name)))?;
        }
        remove(&path.join("run"))?;
        remove(&Addresses::file(&path))?;
        for name in ["run", "logs"] {
            fs::create_dir_all(path.join(name))?;
        }
        Ok(Self { path, registry, _lock: lock, temporary })
    }

    pub(super) fn run_file(&self, name: &str) -> PathBuf {
        self.path.join("run").join(name)
    }

    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.path.join("logs").join(format!("{name}.log"))
    }

    /// Writes down where everything is.
    pub(super) fn announce(&self, addresses: &Addresses) -> anyhow::Result<()> {
        // Renamed into place, so that no reader sees half of it.
        let (draft, file) = (self.path.join("run/dev.json.new"), Addresses::file(&self.path));
        fs::write(&draft, serde_json::to_vec_pretty(addresses)?)?;
        Ok(fs::rename(draft, file)?)
    }

    /// The ports of the last run here that nothing else has taken since, so that what was exported
    /// or bookmarked then still works.
    pub(super) fn last_ports(&self) -> Ports {
        let text = fs::read(self.path.join("ports.json")).unwrap_or_default();
        let last: Ports = serde_json::from_slice(&text).unwrap_or_default();
        let free = |port: Option<u16>| port.filter(|port| is_free(*port));
        Ports {
            nats: free(last.nats),
            sandbox: free(last.sandbox),
            command: free(last.command),
            query: free(last.query),
        }
    }

    pub(super) fn remember(&self, addresses: &Addresses) -> anyhow::Result<()> {
        let port = |url: &str| url.rsplit(':').next()?.parse().ok();
        let ports = Ports {
            nats: port(&addresses.nats),
            sandbox: port(&addresses.sandbox),
            command: port(&addresses.command),
            query: port(&addresses.query),
        };
        Ok(fs::write(self.path.join("ports.json"), serde_json::to_vec(&ports)?)?)
    }

    pub(super) fn is_temporary(&self) -> bool {
        self.temporary.is_some()
    }

    /// Leaves a temporary folder where it is; `None` for any other.
    pub(super) fn keep(&mut self) -> Option<PathBuf> {
        self.temporary.take().map(TempDir::keep)
    }

    pub(super) fn withdraw(&self) {
        // If the file stays, readers ignore it, because its process is gone.
        let _ = fs::remove_file(Addresses::file(&self.path));
    }
}

/// Whether nothing listens at a port of this machine.
pub(super) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn lock(path: &Path) -> anyhow::Result<File> {
    let file = path.join("lock");
    let lock = File::options().create(true).truncate(false).write(true).open(&file);
    let lock = lock.with_context(|| format!("cannot write {}", file.display()))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            let whose = Addresses::of_running(&Addresses::file(path));
            let whose = whose.map_or_else(String::new, |it| format!(" (process {})", it.pid));
            Err(anyhow!("a `quadrille dev`{whose} is running in {} already", path.display())
                .advise("use that one, stop it, or take another folder: --data DIR or --ephemeral"))
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", file.display()))
        }
    }
}

fn remove(path: &Path) -> anyhow::Result<()> {
    let removed = match path.symlink_metadata() {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => return Ok(()),
    };
    removed.with_context(|| format!("cannot delete {}", path.display()))
}

/// The children that run now, on disk, so that the next start after a crash can end them.
#[derive(Debug, Clone)]
pub(super) struct Registry {
    file: PathBuf,
    children: Arc<Mutex<Vec<Entry>>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    name: String,
    pid: u32,
}

impl Registry {
    fn new(file: PathBuf) -> Self {
        Self { file, children: Arc::default() }
    }

    pub(super) fn add(&self, name: &str, pid: u32) {
        self.change(|children| children.push(Entry { name: name.to_owned(), pid }));
    }

    pub(super) fn remove(&self, pid: u32) {
        self.change(|children| children.retain(|child| child.pid != pid));
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Entry>)) {
        let mut children = self.children.lock().expect("nothing panics under this lock");
        change(&mut children);
        // Best effort, because on Linux the operating system ends the children too.
        let _ = serde_json::to_vec(&*children).map(|text| fs::write(&self.file, text));
    }

    /// Ends children of a supervisor that was killed. This process has locked the folder, so a
    /// recorded child has no supervisor; it is ours only if its command line names the folder.
    async fn end_what_is_left(&self, folder: &Path, ui: Ui) {
        let Ok(text) = fs::read(&self.file) else { return };
        let left: Vec<Entry> = serde_json::from_slice(&text).unwrap_or_default();
        let folder = folder.display().to_string();
        let is_ours =
            |entry: &Entry| command_line(entry.pid).is_some_and(|line| line.contains(&folder));
        for entry in left {
            if !is_ours(&entry) {
                continue;
            }
            ui.note(format!(
                "ending {} ({}), left from a killed `quadrille dev`",
                entry.name, entry.pid
            ));
            let give_up = Instant::now() + Duration::from_secs(3);
            send(entry.pid, Signal::TERM);
            while is_ours(&entry) && Instant::now() < give_up {
                sleep(Duration::from_millis(20)).await;
            }
            if is_ours(&entry) {
                send(entry.pid, Signal::KILL);
            }
        }
    }
}

fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // An error means that it has just ended by itself.
        let _ = kill_process(pid, signal);
    }
}

#[cfg(test)]
mod tests {
    use quadrille_tool::output::Paint;

    use super::*;

    const UI: Ui = Ui {
        tool: "quadrille",
        on_stdout: Paint(false),
        on_stderr: Paint(false),
        watched: false,
        read_by_a_person: false,
        width: None,
    };

    #[tokio::test]
    async fn a_folder_has_one_process_at_a_time_and_a_reset_deletes_only_what_is_ours() {
        let there = tempfile::tempdir().unwrap();
        fs::write(there.path().join("mine.txt"), "keep").unwrap();
        let folder = Folder::open(Place::At(there.path()), false, UI).await.unwrap();
        fs::write(folder.path.join("ledger.jsonl"), "old").unwrap();
        let second = Folder::open(Place::At(there.path()), true, UI).await.unwrap_err();
        assert!(second.to_string().contains("already"), "{second}");
        drop(folder);
        // A child that another test starts holds our lock, too, until it executes its own program.
        let reset = async {
            while Folder::open(Place::At(there.path()), true, UI).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(60), reset).await.unwrap();
        assert!(there.path().join("mine.txt").exists());
        assert!(!there.path().join("ledger.jsonl").exists());
    }

    #[tokio::test]
    async fn only_a_process_that_names_the_folder_is_ended() {
        let there = tempfile::tempdir().unwrap();
        let path = there.path().canonicalize().unwrap();
        // Ends with its standard input. A last command would take its place, and its name with it.
        let waiter = |name: &str| {
            let mut command = std::process::Command::new("sh");
            command.args(["-c", "read -r line", name]).stdin(std::process::Stdio::piped());
            command.spawn().unwrap()
        };
        let mut ours = waiter(&path.join("x").display().to_string());
        let mut stranger = waiter("/somewhere/else");
        fs::create_dir(path.join("run")).unwrap();
        let registry = Registry::new(path.join("run/children.json"));
        registry.add("ours", ours.id());
        registry.add("stranger", stranger.id());
        // A zombie has an empty command line, so it counts as gone before it is waited for.
        let _folder = Folder::open(Place::At(&path), false, UI).await.unwrap();
        assert!(stranger.try_wait().unwrap().is_none(), "a stranger was ended");
        assert!(!ours.wait().unwrap().success());
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }
}
