//! Starts a worker again whenever it ends, as systemd or an orchestrator does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::worker::{Launch, Launcher, Worker};

/// Keeps one replica of a worker running for as long as this value lives.
#[derive(Debug)]
pub struct Supervisor {
    /// Owns the process; aborted with this value, which kills it.
    task: JoinSet<()>,
    orders: mpsc::Sender<Order>,
    starts: Arc<AtomicUsize>,
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
        let starts = Arc::<AtomicUsize>::default();
        // One order at a time is ever under way; a further kill would kill the same process.
        let (orders, mut ordered) = mpsc::channel(1);
        let mut task = JoinSet::new();
        let counted = starts.clone();
        task.spawn(async move {
            loop {
                let mut worker = launcher.launch(&what(counted.load(Ordering::Relaxed)));
                counted.fetch_add(1, Ordering::Relaxed);
                if let Until::Told = watch(&mut worker, &mut ordered).await {
                    return;
                }
            }
        });
        Self { task, orders, starts }
    }

    /// How often the worker was started.
    pub fn starts(&self) -> usize {
        self.starts.load(Ordering::Relaxed)
    }

    /// Kills the process that runs now; it is started again.
    pub fn kill(&self) {
        let _ = self.orders.try_send(Order::Kill);
    }

    /// Ends the process in good order; it is not started again.
    pub async fn end(mut self) {
        let _ = self.orders.send(Order::End).await;
        while self.task.join_next().await.is_some() {}
    }
}

enum Until {
    /// It ended, by itself or killed.
    Ended,
    /// It was told to end for good.
    Told,
}

async fn watch(worker: &mut Worker, ordered: &mut mpsc::Receiver<Order>) -> Until {
    loop {
        tokio::select! {
            _ = worker.ended() => return Until::Ended,
            order = ordered.recv() => match order {
                Some(Order::Kill) => worker.kill(),
                Some(Order::End) | None => {
                    worker.shut_down().await;
                    return Until::Told;
                }
            }
        }
    }
}
