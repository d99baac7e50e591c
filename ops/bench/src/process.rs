//! A process of the measurement: started, seen to be up, weighed, and killed with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context;
use tokio::process::{Child, Command};

/// Lines of a process's log that are shown when something went wrong.
const TAIL: usize = 5;
/// `/proc` counts in these, whatever the kernel's own timer: part of Linux's interface (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

pub(crate) struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

/// What a process has used since its start.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_rss_mb: f64,
}

impl Process {
    pub(crate) fn start(
        name: &'static str,
        mut command: Command,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let output = fs::File::create(&log)?;
        let program = command.as_std().get_program().to_owned();
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| {
                let program = program.display();
                format!("cannot start {program}; ops/bench/run builds or finds what is needed")
            })?;
        Ok(Self { name, child, log })
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// The end of its log, if it has ended though nobody asked it to.
    pub(crate) fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        Some(format!("{} has ended ({status}): {}", self.name, self.last_words()))
    }

    /// The last lines it wrote.
    pub(crate) fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n  ")
    }

    /// `None` without `/proc`.
    pub(crate) fn usage(&self) -> Option<Usage> {
        usage(&self.id()?.to_string())
    }

    /// SIGKILL, and waits until it is dead: the next measurement must not share the machine with
    /// the end of this one.
    pub(crate) async fn kill(mut self) {
        let _ = self.child.kill().await;
    }
}

/// Of the process `id`, or of this one for `self`.
pub(crate) fn usage(id: &str) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name in parentheses may hold anything; `utime` and `stime` are 14th and 15th of all.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut ticks = rest.split_whitespace().skip(11).map(str::parse::<f64>);
    let (user, system) = (ticks.next()?.ok()?, ticks.next()?.ok()?);
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: f64 = peak.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(Usage { cpu_seconds: (user + system) / TICKS_PER_SECOND, peak_rss_mb: kilobytes / 1024.0 })
}
