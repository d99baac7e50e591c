//! Workers that die or stand still at a named place.

use std::path::PathBuf;

use schemas::SagaId;
use tests::eventually::eventually;
use tests::stack::{Fate, Launch, Stack, Supervisor};

/// A worker that something happens to, once, the first time it comes to a place.
#[derive(Debug, Clone)]
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

/// A worker that dies once at each of these places, one after the other, and is always started
/// again.
#[derive(Debug)]
pub(crate) struct Mortal {
    deaths: Vec<Armed>,
    supervisor: Supervisor,
}

impl Mortal {
    /// `name` is this replica's own.
    pub(crate) fn at_each(
        stack: &Stack,
        name: &str,
        worker: &'static str,
        places: &[&str],
    ) -> Self {
        let armed = |place: &&str| Armed::at(stack, &format!("{name}-{place}"), place);
        let deaths: Vec<_> = places.iter().map(armed).collect();
        let to_come = deaths.clone();
        // By the number of starts, so that an end that no test asked for leaves a place unreached.
        let supervisor =
            Supervisor::keep(stack.launcher(), move |start| match to_come.get(start) {
                Some(armed) => armed.kills(worker),
                None => Launch::of(worker),
            });
        Self { deaths, supervisor }
    }

    /// The places at which it has not died yet.
    fn unreached(&self) -> impl Iterator<Item = &Armed> {
        self.deaths.iter().filter(|death| !death.reached())
    }
}

/// Places orders of these fates, again and again, until every worker has died at each of its
/// places; waits until all are closed, and ends the workers. At least one order is placed.
pub(crate) async fn until_all_have_died(
    stack: &Stack,
    fates: &[Fate],
    workers: Vec<Mortal>,
) -> Vec<SagaId> {
    let unreached = || workers.iter().flat_map(Mortal::unreached).collect::<Vec<_>>();
    let mut ids = Vec::new();
    while !unreached().is_empty() {
        assert!(ids.len() < 40 * fates.len(), "never reached: {:?}", unreached());
        let wave = stack.place_all(&format!("wave-{}", ids.len()), fates).await;
        stack.closed(&wave).await;
        ids.extend(wave);
    }
    assert!(!ids.is_empty(), "the workers died without any order");
    stack.quiet().await;
    for worker in workers {
        worker.supervisor.end().await;
    }
    ids
}
