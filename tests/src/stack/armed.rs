//! A place where a worker is killed or stopped once it reaches it.
//!
//! The workers' failpoints write a line before they act; from that line a test knows.

use std::path::PathBuf;

use super::{Launch, Stack};
use crate::eventually::eventually;

/// A place, and the record of what happened there.
#[derive(Debug, Clone)]
pub struct Armed {
    place: String,
    log: PathBuf,
}

impl Armed {
    /// `place` as the failpoints name it: `run.after-effect`. `name` is this test's own.
    pub fn at(stack: &Stack, name: &str, place: &str) -> Self {
        let log = stack.launcher().folder().join(format!("failpoint-{name}"));
        Self { place: place.to_owned(), log }
    }

    /// The worker is killed by SIGKILL, the first time it reaches the place.
    pub fn kills(&self, worker: &'static str) -> Launch {
        self.kills_at_hit(worker, 1)
    }

    /// The worker is killed by SIGKILL when it reaches the place for the `hit`-th time.
    pub fn kills_at_hit(&self, worker: &'static str, hit: usize) -> Launch {
        Launch::of(worker)
            .with_failpoints()
            .env("QUADRILLE_FAILPOINT", &self.place)
            .env("QUADRILLE_FAILPOINT_HIT", hit)
            .env("QUADRILLE_FAILPOINT_LOG", self.log.display())
    }

    /// The worker is stopped by SIGSTOP, the first time it reaches the place.
    pub fn stops(&self, worker: &'static str) -> Launch {
        self.kills(worker).env("QUADRILLE_FAILPOINT_ACTION", "stop")
    }

    /// Whoever runs or undoes the saga named by the place, `run.A17`, aborts, each time.
    pub fn poisons(&self, worker: &'static str) -> Launch {
        Launch::of(worker)
            .with_failpoints()
            .env("QUADRILLE_FAILPOINT_POISON", &self.place)
            .env("QUADRILLE_FAILPOINT_LOG", self.log.display())
    }

    /// As [`Armed::poisons`], but it panics, which its process survives.
    pub fn panics(&self, worker: &'static str) -> Launch {
        self.poisons(worker).env("QUADRILLE_FAILPOINT_ACTION", "panic")
    }

    /// How often it has happened.
    pub fn times(&self) -> usize {
        std::fs::read_to_string(&self.log).map_or(0, |text| text.lines().count())
    }

    /// Whether it has happened.
    pub fn reached(&self) -> bool {
        self.times() > 0
    }

    /// Waits until it has happened.
    pub async fn happens(&self) {
        self.happens_times(1).await;
    }

    /// Waits until it has happened this often.
    pub async fn happens_times(&self, times: usize) {
        let what = format!("{} is reached {times} times ({})", self.place, self.log.display());
        eventually(&what, async || (self.times() >= times).then_some(())).await;
    }
}
