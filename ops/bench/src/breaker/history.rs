//! What the fleet has agreed on, from its key, as an observer sees it.

use std::time::Duration;

use quadrille::breaker::fleet::{Entry, Phase, Reason};
use quadrille::broker::{Broker, Seen};
use quadrille::nats::NatsBroker;
use quadrille::topology::BREAKERS;
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::scene::DEPENDENCY;

/// Watching again after the server was gone.
const AGAIN: Duration = Duration::from_millis(100);

/// One entry of the key, and when it was seen.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    pub(crate) at: Instant,
    pub(crate) revision: u64,
    pub(crate) entry: Entry,
}

/// One entry, for the report.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Step {
    /// From the beginning of the outage.
    at_ms: i64,
    phase: Phase,
    reason: Reason,
    by: String,
    k: u32,
}

/// Listens until it is dropped.
pub(crate) struct History {
    marks: watch::Receiver<Vec<Mark>>,
    _task: JoinSet<()>,
}

impl History {
    pub(crate) fn of(broker: &NatsBroker) -> Self {
        let (sender, marks) = watch::channel(Vec::new());
        let mut task = JoinSet::new();
        task.spawn(follow(broker.clone(), sender));
        Self { marks, _task: task }
    }

    pub(crate) fn marks(&self) -> Vec<Mark> {
        self.marks.borrow().clone()
    }

    pub(crate) fn phase(&self) -> Phase {
        self.marks.borrow().last().map_or(Phase::Flowing, |mark| mark.entry.phase)
    }

    /// Waits until the key says `phase`, or for `patience`; true if it does.
    pub(crate) async fn says(&self, phase: Phase, patience: Duration) -> bool {
        let mut marks = self.marks.clone();
        let is = |marks: &Vec<Mark>| marks.last().is_some_and(|mark| mark.entry.phase == phase);
        matches!(timeout(patience, marks.wait_for(is)).await, Ok(Ok(_)))
    }

    /// When the key first said so, from `since` on.
    pub(crate) fn first(&self, phase: Phase, since: Instant) -> Option<Instant> {
        let marks = self.marks.borrow();
        marks.iter().find(|mark| mark.entry.phase == phase && mark.at >= since).map(|mark| mark.at)
    }

    /// From each first pause to the flowing after it, until `now`.
    pub(crate) fn paused(&self, now: Instant) -> Duration {
        let (mut paused, mut since) = (Duration::ZERO, None);
        for mark in self.marks.borrow().iter() {
            match (mark.entry.phase, since) {
                (Phase::Paused, None) => since = Some(mark.at),
                (Phase::Flowing, Some(began)) => {
                    paused += mark.at - began;
                    since = None;
                }
                _ => {}
            }
        }
        paused + since.map_or(Duration::ZERO, |began| now - began)
    }

    /// All entries, with their times from `began` on.
    pub(crate) fn steps(&self, began: Instant) -> Vec<Step> {
        let step = |mark: &Mark| {
            let Entry { phase, reason, by, k, .. } = mark.entry.clone();
            let later = mark.at.saturating_duration_since(began).as_millis() as i64;
            let earlier = began.saturating_duration_since(mark.at).as_millis() as i64;
            Step { at_ms: later - earlier, phase, reason, by, k }
        };
        self.marks.borrow().iter().map(step).collect()
    }

    /// How often a replica probed. An entry may follow another so soon that it is missed, but a
    /// probe that fails always ends in a pause.
    pub(crate) fn probes(&self) -> u64 {
        let marks = self.marks.borrow();
        let count = |phase| marks.iter().filter(|mark| mark.entry.phase == phase).count();
        count(Phase::Probing).max(count(Phase::Paused)) as u64
    }
}

async fn follow(broker: NatsBroker, sender: watch::Sender<Vec<Mark>>) {
    loop {
        if let Ok(mut watch) = broker.watch(BREAKERS, DEPENDENCY).await {
            while let Ok(seen) = watch.next().await {
                let Seen::Set(set) = seen else { continue };
                let Ok(entry) = serde_json::from_slice::<Entry>(&set.value) else { continue };
                sender.send_if_modified(|marks: &mut Vec<Mark>| {
                    let last = marks.last().map_or(0, |mark| mark.revision);
                    let is_new = set.key == DEPENDENCY && set.revision > last;
                    if is_new {
                        marks.push(Mark { at: Instant::now(), revision: set.revision, entry });
                    }
                    is_new
                });
            }
        }
        sleep(AGAIN).await;
    }
}
