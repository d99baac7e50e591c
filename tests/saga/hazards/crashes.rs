//! Workers that die at one place after the other.

use quadrille::SagaId;
use tests::stack::{Armed, Fate, Launch, Stack, Supervisor};

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
        // By the number of starts, so that an end which no test asked for leaves a place unreached.
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
/// places; then waits until all are closed, and ends the workers. It places at least one order.
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
