//! A child process: its output in a file, signals by its id, and the resources it uses.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, bail};
use quadrille::process::health;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, getpid, kill_process, waitid};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::eventually::{until, within_patience};
use crate::keeper;

/// Killed when this value is dropped, and dead after that.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    child: Child,
    pid: Pid,
    log: PathBuf,
    address_file: PathBuf,
}

impl Process {
    /// Starts `command`; it may not be ready yet. Its files are in `folder`, each with a number, so
    /// that replicas of one name have files of their own.
    ///
    /// # Errors
    /// When there is no such program, or `folder` cannot be written to.
    pub fn start(name: &'static str, mut command: Command, folder: &Path) -> anyhow::Result<Self> {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let file = |end: &str| folder.join(format!("{name}-{number}.{end}"));
        let (log, address_file) = (file("log"), file("address"));
        let output = fs::File::create(&log)?;
        let child = command
            // Programs other than workers ignore it.
            .env("QUADRILLE_HEALTH__ADDRESS_FILE", &address_file)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(keeper::group())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| {
                let program = command.as_std().get_program().display();
                format!("cannot start {program}; `ops/test` and `ops/bench/run` build or find it")
            })?;
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let pid = pid.expect("it was not waited for yet");
        Ok(Self { name, child, pid, log, address_file })
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Everything it wrote so far.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it takes work, as a worker says in its address file and on its health page.
    ///
    /// # Errors
    /// When it ends instead, with what it said; or after a minute.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        let address_file = self.address_file.clone();
        self.until("is ready", async || {
            let address = fs::read_to_string(&address_file).ok()?.parse().ok()?;
            health::check(address).await.ok()
        })
        .await
    }

    /// Waits until `look` finds what this process is to bring about, such as "listens".
    ///
    /// # Errors
    /// When it ends instead, with what it said; or after a minute.
    pub async fn until<T>(
        &mut self,
        what: &str,
        mut look: impl AsyncFnMut() -> Option<T>,
    ) -> anyhow::Result<T> {
        until(&format!("{} {what}", self.name), async || {
            if let Some(status) = self.has_ended() {
                bail!("{} ended with {status}:\n{}", self.name, self.said());
            }
            Ok(look().await)
        })
        .await
    }

    /// What its health page answers: status line, headers and body.
    ///
    /// # Errors
    /// When it serves none, or not yet.
    pub async fn page(&self, path: &str) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(fs::read_to_string(&self.address_file)?).await?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    /// How it ended, if it has.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// When it takes over a minute.
    pub async fn ended(&mut self) -> ExitStatus {
        within_patience(&format!("{} ends", self.name), self.ended_some_day()).await
    }

    /// Waits until it has ended, for as long as it takes, because a supervisor expects no end.
    pub async fn ended_some_day(&mut self) -> ExitStatus {
        self.child.wait().await.expect("our own child")
    }

    /// SIGKILL: no chance to do anything more. Returns when it is dead.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
        if self.child.id().is_some() {
            // Leaves the status to be read by `ended`.
            let dead = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            let _ = waitid(WaitId::Pid(self.pid), dead);
        }
    }

    /// SIGTERM: it finishes what it has in hand; waits for the end.
    ///
    /// # Panics
    /// When it takes over a minute.
    pub async fn shut_down(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// SIGSTOP: it answers nothing and closes nothing.
    ///
    /// # Panics
    /// When it has ended, because a test that pauses nothing proves nothing.
    pub fn pause(&self) {
        assert!(self.runs(), "{} runs", self.name);
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    ///
    /// # Panics
    /// When it has ended.
    pub fn resume(&self) {
        assert!(self.runs(), "{} runs", self.name);
        self.signal(Signal::CONT);
    }

    fn runs(&self) -> bool {
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        matches!(waitid(WaitId::Pid(self.pid), ended), Ok(None))
    }

    /// A process that has ended takes no signal, and that is no error.
    fn signal(&self, signal: Signal) {
        if self.child.id().is_some() {
            let _ = kill_process(self.pid, signal);
        }
    }

    /// `None` where there is no `/proc`.
    pub fn usage(&self) -> Option<Usage> {
        Usage::of(self.pid)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// `/proc` counts time in these, whatever timer Linux itself uses: they are part of its interface
/// (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process has used since its start.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    pub cpu_seconds: f64,
    pub peak_rss_mb: f64,
}

impl Usage {
    /// Of this process.
    pub fn own() -> Option<Self> {
        Self::of(getpid())
    }

    fn of(pid: Pid) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything; `utime` and `stime` are 14th and 15th of all.
        let (_, rest) = stat.rsplit_once(')')?;
        let mut ticks = rest.split_whitespace().skip(11).map(str::parse::<f64>);
        let (user, system) = (ticks.next()?.ok()?, ticks.next()?.ok()?);
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kilobytes: f64 = peak.trim().strip_suffix(" kB")?.parse().ok()?;
        let cpu_seconds = (user + system) / TICKS_PER_SECOND;
        Some(Self { cpu_seconds, peak_rss_mb: kilobytes / 1024.0 })
    }
}
