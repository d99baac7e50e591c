//! One program that is kept running: started, watched, restarted with back-off, stopped.

use std::fs::{File, OpenOptions};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, anyhow};
use quadrille_tool::output::{Advise, Ui, WAITS};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::folder::Registry;

/// First and longest wait before a restart.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// After a program has run this long, its next restart has the shortest wait again.
const STEADY: Duration = Duration::from_secs(10);
/// Above the 20 s that a worker gives itself to finish what it has in hand.
const GRACE: Duration = Duration::from_secs(25);

/// What to run.
#[derive(Debug, Clone)]
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) path: PathBuf,
    /// May change for the next start, because a restarted broker must have its old port.
    pub(super) arguments: Arc<Mutex<Vec<String>>>,
    pub(super) log: PathBuf,
}

/// What state it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    Starting,
    Running(u32),
    /// It has ended or failed to start, at least once.
    Ended(Option<ExitStatus>),
}

/// What its supervisor wants of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Run,
    Stop,
    Kill,
}

/// A running program's handle.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) program: Program,
    pub(super) health: watch::Receiver<Health>,
    pub(super) wish: watch::Sender<Wish>,
}

impl Program {
    /// Gives the argument after `name` another value, from the next start on.
    pub(super) fn change(&self, name: &str, value: String) {
        let mut arguments = self.arguments.lock().expect("nothing panics under this lock");
        let at = arguments.iter().position(|argument| argument == name);
        if let Some(argument) = at.and_then(|at| arguments.get_mut(at + 1)) {
            *argument = value;
        }
    }

    /// Puts another argument in place of this one, from the next start on.
    pub(super) fn replace(&self, old: &str, new: String) {
        let mut arguments = self.arguments.lock().expect("nothing panics under this lock");
        if let Some(argument) = arguments.iter_mut().find(|argument| *argument == old) {
            *argument = new;
        }
    }

    fn spawn(&self) -> anyhow::Result<Child> {
        let log = self.log()?;
        let arguments = self.arguments.lock().expect("nothing panics under this lock").clone();
        let ourselves = std::env::current_exe()?;
        let mut command = Command::new(ourselves);
        // The broker is our own, whatever login another one takes, and whatever the flow's streams
        // are called there: the arguments say what they are called here.
        for (name, _) in std::env::vars_os() {
            let variable = name.to_string_lossy();
            if ["QUADRILLE_NATS__", "QUADRILLE_FLOW__"].iter().any(|of| variable.starts_with(of)) {
                command.env_remove(&name);
            }
        }
        command
            .args(["tied", "--to", &std::process::id().to_string(), "--"])
            .arg(&self.path)
            .args(arguments)
            // The user sees the last lines of an error, so they should be words, not a backtrace.
            .env("RUST_LIB_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // So that Ctrl-C reaches only this process, which stops everything in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} cannot be started", self.name))
    }

    fn log(&self) -> anyhow::Result<File> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log);
        log.with_context(|| format!("cannot write {}", self.log.display()))
    }

    /// Why it is not running, with the last lines of its log.
    pub(super) fn failure(&self, status: Option<ExitStatus>) -> anyhow::Error {
        let how =
            status.map_or_else(|| "did not start".to_owned(), |status| format!("ended ({status})"));
        let said = std::fs::read(&self.log).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let lines: Vec<_> = said.lines().rev().take(5).collect();
        let last: String = lines.iter().rev().map(|line| format!("\n    {line}")).collect();
        anyhow!("{} {how} before it was ready; its log ends:{last}", self.name)
            .advise(format!("the whole log: {}", self.log.display()))
    }
}

/// The handle to `program`, and the work of keeping it running. While `restart` is false, a program
/// that ends is not started again.
pub(super) fn keep(
    program: Program,
    registry: Registry,
    restart: watch::Receiver<bool>,
    ui: Ui,
) -> (Kept, impl Future<Output = ()>) {
    let (health, seen) = watch::channel(Health::Starting);
    let (wish, wishes) = watch::channel(Wish::Run);
    let kept = Kept { program: program.clone(), health: seen, wish };
    (kept, supervise(program, registry, restart, (health, wishes), ui))
}

async fn supervise(
    program: Program,
    registry: Registry,
    restart: watch::Receiver<bool>,
    (health, mut wishes): (watch::Sender<Health>, watch::Receiver<Wish>),
    ui: Ui,
) {
    let mut wait = BACK_OFF.0;
    loop {
        let began = Instant::now();
        let status = match program.spawn() {
            Ok(mut child) => {
                let pid = child.id().unwrap_or_default();
                registry.add(program.name, pid);
                health.send_replace(Health::Running(pid));
                let status = watch_over(&mut child, &mut wishes).await;
                registry.remove(pid);
                status
            }
            Err(error) => {
                ui.error(&error);
                None
            }
        };
        health.send_replace(Health::Ended(status));
        if *wishes.borrow() != Wish::Run || !*restart.borrow() {
            return;
        }
        if began.elapsed() >= STEADY {
            wait = BACK_OFF.0;
        }
        let how = status.map_or_else(|| "did not start".to_owned(), |status| status.to_string());
        let log = program.log.display();
        let line =
            format!("{} ended ({how}); starting it again in {wait:?}; log: {log}", program.name);
        ui.note(ui.on_stderr.paint(WAITS, line));
        tokio::select! {
            () = sleep(wait) => {}
            () = wished(&mut wishes, &[Wish::Stop, Wish::Kill]) => return,
        }
        wait = (wait * 2).min(BACK_OFF.1);
    }
}

/// Waits until it has ended, by itself or by a wish.
async fn watch_over(child: &mut Child, wishes: &mut watch::Receiver<Wish>) -> Option<ExitStatus> {
    tokio::select! {
        status = child.wait() => return status.ok(),
        () = wished(wishes, &[Wish::Stop, Wish::Kill]) => {}
    }
    terminate(child);
    tokio::select! {
        status = child.wait() => status.ok(),
        () = sleep(GRACE) => kill(child).await,
        () = wished(wishes, &[Wish::Kill]) => kill(child).await,
    }
}

/// Ready once the wish is one of these, or no handle is left that could wish.
async fn wished(wishes: &mut watch::Receiver<Wish>, wanted: &[Wish]) {
    let _ = wishes.wait_for(|wish| wanted.contains(wish)).await;
}

fn terminate(child: &Child) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // An error means that it has just ended by itself.
        let _ = kill_process(pid, Signal::TERM);
    }
}

async fn kill(child: &mut Child) -> Option<ExitStatus> {
    let _ = child.start_kill();
    child.wait().await.ok()
}
