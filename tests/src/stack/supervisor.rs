//! Starts a worker again whenever it ends, as systemd or an orchestrator does.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex};

use harness::process::Process;
use rustix::process::Signal;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::worker::{Launch, Launcher};

/// Keeps one replica of a worker running for as long as this value lives.
#[derive(Debug)]
pub struct Supervisor {
    /// Owns the process; aborted with this value, which kills it.
    task: JoinSet<()>,
    orders: mpsc::Sender<Order>,
    ends: Arc<Mutex<Vec<End>>>,
}

/// How a process ended that was started again afterwards.
#[derive(Debug, Clone, Copy)]
pub struct End {
    pub status: ExitStatus,
    /// Whether [`Supervisor::kill`] came before it.
    ordered: bool,
}

impl End {
    /// Whether it was killed because the test said so.
    pub fn was_ordered(&self) -> bool {
        self.ordered && self.status.signal() == Some(Signal::KILL.as_raw())
    }
}

enum Order {
    Kill,
    End,
}

impl Supervisor {
    /// `what` says what to start next, given how often it was started.
    pub fn keep(
        launcher: Launcher,
        mut what: impl FnMut(usize) -> Launch + Send + 'static,
    ) -> Self {
        let ends = Arc::<Mutex<Vec<End>>>::default();
        // Only one request to kill is under way at a time; a second would kill the same process.
        let (orders, mut ordered) = mpsc::channel(1);
        let mut task = JoinSet::new();
        let noted = ends.clone();
        task.spawn(async move {
            for starts in 0.. {
                let mut worker = launcher.launch(&what(starts));
                let Some(end) = watch(&mut worker, &mut ordered).await else { return };
                noted.lock().expect("no code panics while it holds the lock").push(end);
            }
        });
        Self { task, orders, ends }
    }

    /// Every end so far after which the worker was started again.
    pub fn ends(&self) -> Vec<End> {
        self.ends.lock().expect("no code panics while it holds the lock").clone()
    }

    /// Kills the process that runs now; it is started again.
    pub fn kill(&self) {
        let _ = self.orders.try_send(Order::Kill);
    }

    /// Ends the process by a signal to stop; it is not started again.
    pub async fn end(mut self) {
        let _ = self.orders.send(Order::End).await;
        while self.task.join_next().await.is_some() {}
    }
}

/// Until it ends, by itself or killed; `None` once it was told to end for good.
async fn watch(worker: &mut Process, orders: &mut mpsc::Receiver<Order>) -> Option<End> {
    let mut ordered = false;
    loop {
        tokio::select! {
            status = worker.ended_some_day() => return Some(End { status, ordered }),
            order = orders.recv() => match order {
                Some(Order::Kill) => {
                    worker.kill();
                    ordered = true;
                }
                Some(Order::End) | None => {
                    worker.shut_down().await;
                    return None;
                }
            }
        }
    }
}
