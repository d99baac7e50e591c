//! Workers that die or stand still at a named place.

use std::path::PathBuf;

use schemas::SagaId;
use tests::eventually::eventually;
use tests::stack::{Fate, Launch, Stack, Supervisor};

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

/// Keeps a worker running that dies once at each of these places, one after the other.
pub(crate) fn dies_at_each(
    stack: &Stack,
    name: &str,
    worker: &'static str,
    places: &'static [&'static str],
) -> Supervisor {
    let armed: Vec<_> =
        places.iter().map(|place| Armed::at(stack, &format!("{name}-{place}"), place)).collect();
    Supervisor::keep(stack.launcher(), move |start| match armed.get(start) {
        Some(armed) => armed.kills(worker),
        None => Launch::of(worker),
    })
}

/// Places orders of these fates, again and again, until every worker has died at each of its
/// places; waits until all are closed, and ends the workers.
pub(crate) async fn until_all_have_died(
    stack: &Stack,
    fates: &[Fate],
    workers: Vec<(Supervisor, &'static [&'static str])>,
) -> Vec<SagaId> {
    let alive = || workers.iter().any(|(worker, places)| worker.starts() <= places.len());
    let mut ids = Vec::new();
    while alive() {
        assert!(ids.len() < 40 * fates.len(), "a place was never reached");
        let wave = stack.place_all(&format!("wave-{}", ids.len()), fates).await;
        stack.closed(&wave).await;
        ids.extend(wave);
    }
    stack.quiet().await;
    for (worker, _) in workers {
        worker.end().await;
    }
    ids
}
