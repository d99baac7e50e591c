//! Workers that die or stand still at a named place.

use std::path::PathBuf;

use tests::eventually::eventually;
use tests::stack::{Launch, Stack};

/// A worker that something happens to, once, the first time it comes to a place.
#[derive(Debug)]
pub(crate) struct Armed {
    place: String,
    log: PathBuf,
}

impl Armed {
    /// `place` as the failpoints name it: `run.after-effect`. `name` is this test's own.
    pub(crate) fn at(stack: &Stack, name: &str, place: &str) -> Self {
        let log = stack.launcher().folder().join(format!("failpoint-{name}"));
        Self { place: place.to_owned(), log }
    }

    /// Killed there by SIGKILL.
    pub(crate) fn kills(&self, worker: &'static str) -> Launch {
        Launch::of(worker)
            .with_failpoints()
            .env("QUADRILLE_FAILPOINT", &self.place)
            .env("QUADRILLE_FAILPOINT_HIT", 1)
            .env("QUADRILLE_FAILPOINT_LOG", self.log.display())
    }

    /// Stopped there by SIGSTOP.
    pub(crate) fn stops(&self, worker: &'static str) -> Launch {
        self.kills(worker).env("QUADRILLE_FAILPOINT_ACTION", "stop")
    }

    /// Whether it has happened.
    pub(crate) fn reached(&self) -> bool {
        self.log.exists()
    }

    /// Waits until it has happened.
    pub(crate) async fn happens(&self) {
        let what = format!("{} is reached ({})", self.place, self.log.display());
        eventually(&what, async || self.reached().then_some(())).await;
    }
}
