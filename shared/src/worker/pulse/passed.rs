//! The messages that a durable has passed although nothing came of them.
//!
//! An acknowledgement needs a decision, so of what a durable has passed, and no replica holds, each
//! message has left something in the log or on the stream of parked messages. Each is compared
//! once, page by page, behind the durable; what is missing is looked for at the leader, twice.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use super::evidence;
use crate::broker::{DurableState, Stored, Unavailable};
use crate::flow::Durable;
use crate::pipeline::Worker;
use crate::telemetry;

/// Messages compared at a time, and most that are missed at a time. The broker answers for at most
/// 1,024 subjects.
const PAGE: usize = 512;

/// How far before its start a replica compares, in messages of the stream: others have compared
/// what is older, unless none ran.
const LOOK_BACK: u64 = 10_000;

/// Longest wait before a message is handed out again: what gives it back may ask for as much, and
/// nobody hears it.
const AGAIN_MOST: Duration = Duration::from_secs(300);

/// Where the search is.
#[derive(Debug)]
pub(super) struct Search {
    /// For each filter, up to where messages were compared.
    compared: Vec<u64>,
    /// A while ago the durable had passed these, so that a replica that lags shows them by now.
    shown: (Instant, u64),
    suspects: Vec<Suspect>,
}

/// A message that nothing came of, as far as one look says.
#[derive(Debug)]
struct Suspect {
    message: Stored,
    not_before: Instant,
    /// How often it was handed out.
    times: u32,
}

/// A message that the durable has passed, that nobody holds, and that nothing came of.
#[derive(Debug)]
pub(super) struct Passed {
    pub(super) message: Stored,
    /// How often it was handed out, this time included.
    pub(super) times: u32,
}

/// Up to here the durable delivers nothing again.
fn passed(state: &DurableState) -> u64 {
    if state.in_hand == 0 { state.delivered } else { state.settled }
}

impl Search {
    pub(super) fn of(durable: &Durable, state: &DurableState) -> Self {
        let begin = passed(state).saturating_sub(LOOK_BACK);
        let compared = vec![begin; durable.filters.len()];
        Self { compared, shown: (Instant::now(), begin), suspects: Vec::new() }
    }

    /// Whether there may be more to compare.
    pub(super) fn is_behind(&self, state: &DurableState) -> bool {
        let full = self.suspects.len() >= PAGE;
        !full && self.compared.iter().any(|compared| compared + PAGE as u64 <= passed(state))
    }

    /// Compares the next page, and says what was suspected before and still is.
    pub(super) async fn look(
        &mut self,
        worker: &Worker,
        durable: &Durable,
        state: &DurableState,
        confirm_after: Duration,
    ) -> Result<Vec<Passed>, Unavailable> {
        let passed = passed(state);
        let mut confirmed = Vec::new();
        for mut suspect in std::mem::take(&mut self.suspects) {
            // A durable that was reset delivers it again.
            let is_passed = suspect.message.sequence <= passed;
            if !is_passed || !evidence::is_undone(worker, durable, &suspect.message, passed).await?
            {
                continue;
            }
            let now = Instant::now();
            if now >= suspect.not_before {
                suspect.times += 1;
                // Twice as long each time, and spread, so that seldom two replicas run it at once.
                let wait = confirm_after * 2 * (1 << suspect.times.min(10));
                suspect.not_before = now + wait.min(AGAIN_MOST).mul_f64(0.5 + fastrand::f64());
                confirmed.push(confirm(worker, durable, &suspect));
            }
            self.suspects.push(suspect);
        }
        for (at, filter) in durable.filters.iter().enumerate() {
            if self.suspects.len() < PAGE {
                self.compare(worker, durable, (at, filter), passed, confirm_after).await?;
            }
        }
        if self.shown.0.elapsed() >= confirm_after {
            self.shown = (Instant::now(), passed);
        }
        Ok(confirmed)
    }

    async fn compare(
        &mut self,
        worker: &Worker,
        durable: &Durable,
        (at, filter): (usize, &str),
        passed: u64,
        confirm_after: Duration,
    ) -> Result<(), Unavailable> {
        let from = self.compared[at] + 1;
        if from > passed {
            return Ok(());
        }
        let page = worker.broker.read_matching(&durable.stream, filter, from, PAGE).await?;
        let is_all = page.messages.len() < PAGE;
        let messages: Vec<_> =
            page.messages.into_iter().filter(|stored| stored.sequence <= passed).collect();
        let last = messages.last().map_or(0, |stored| stored.sequence);
        let slots = messages.iter().map(|stored| evidence::slot(worker, durable, stored));
        let slots: Vec<_> = slots.collect();
        let asked = slots.iter().flatten().cloned().collect();
        let found = worker.broker.last_of_many(worker.flow.stream, asked).await?;
        let found: HashSet<_> = found.into_iter().map(|stored| stored.subject).collect();
        // Spread, so that seldom two replicas run it at once.
        let not_before = Instant::now() + confirm_after.mul_f64(1.0 + fastrand::f64());
        let mut suspects = Vec::new();
        for (message, slot) in messages.into_iter().zip(slots) {
            let is_missing = slot.is_some_and(|slot| !found.contains(&slot));
            // A replica that lags misses some, and not everything needs that slot.
            if is_missing && evidence::is_undone(worker, durable, &message, passed).await? {
                suspects.push(Suspect { message, not_before, times: 0 });
            }
        }
        self.suspects.append(&mut suspects);
        // Not up to where the durable is now, because a replica that lags shows less.
        let shown = if is_all { self.shown.1 } else { 0 };
        self.compared[at] = self.compared[at].max(last).max(shown);
        Ok(())
    }
}

fn confirm(worker: &Worker, durable: &Durable, suspect: &Suspect) -> Passed {
    let Suspect { message, times, .. } = suspect;
    if times.is_power_of_two() {
        tracing::error!(
            durable = durable.name,
            subject = worker.broker.shown(&message.subject),
            sequence = message.sequence,
            times,
            "step-not-delivered: the durable is past this message, no replica holds it, and its \
             slot is empty; it is handled from the log"
        );
    }
    if *times == 1 {
        telemetry::passed_over(&durable.name);
    }
    Passed { message: message.clone(), times: *times }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SagaId;
    use crate::broker::Pause;
    use crate::flow::Role;
    use crate::testing::desk::Desk;

    const HALF: Duration = Duration::from_secs(5);

    /// A durable that has delivered as much, and of which the first `settled` are settled.
    fn at(delivered: u64, in_hand: u64, settled: u64) -> DurableState {
        DurableState {
            pending: 0,
            in_hand,
            most_in_hand: 1_000,
            redelivered: 0,
            pulls: 1,
            delivered,
            settled,
            ack_wait: Duration::from_secs(30),
            pause: Pause::Off,
        }
    }

    struct Seen {
        desk: Desk,
        durable: Durable,
        search: Search,
    }

    impl Seen {
        fn new(state: &DurableState) -> Self {
            Self::of("charge-card", Role::Forward, state)
        }

        fn of(worker: &str, role: Role, state: &DurableState) -> Self {
            let desk = Desk::of(worker);
            let durable = desk.durable(role);
            let search = Search::of(&durable, state);
            Self { desk, durable, search }
        }

        /// Which messages are to be handled from the log, and for which time.
        async fn look(&mut self, state: &DurableState) -> Vec<(u64, u32)> {
            let Self { desk, durable, search } = self;
            let passed = search.look(&desk.worker, durable, state, HALF).await.unwrap();
            passed.iter().map(|passed| (passed.message.sequence, passed.times)).collect()
        }

        /// Bookings of so many sagas.
        fn books(&mut self, sagas: std::ops::Range<u32>) {
            for saga in sagas {
                self.desk.saga = SagaId::parse(&format!("T{saga}")).unwrap();
                self.desk.done("book-hotel");
            }
        }
    }

    /// What one look misses may be on its way.
    #[tokio::test(start_paused = true)]
    async fn what_nothing_came_of_is_handled_once_two_looks_say_so() {
        let state = at(1, 0, 0);
        let mut seen = Seen::new(&state);
        seen.books(0..1);
        assert_eq!(seen.look(&state).await, []);
        tokio::time::advance(HALF - Duration::from_millis(1)).await;
        assert_eq!(seen.look(&state).await, [], "another replica may be at it");
        tokio::time::advance(HALF + Duration::from_millis(1)).await;
        assert_eq!(seen.look(&state).await, [(1, 1)]);
        assert_eq!(seen.look(&state).await, [], "it is being handled");
        tokio::time::advance(2 * HALF - Duration::from_millis(1)).await;
        assert_eq!(seen.look(&state).await, [], "twice as long each time");
        tokio::time::advance(4 * HALF + Duration::from_millis(1)).await;
        assert_eq!(seen.look(&state).await, [(1, 2)], "it was given back, and nobody heard it");
        for _ in 3..20 {
            tokio::time::advance(2 * AGAIN_MOST).await;
            assert_eq!(seen.look(&state).await.len(), 1, "again and again, at least so often");
        }
        seen.desk.done("charge-card");
        tokio::time::advance(2 * AGAIN_MOST).await;
        assert_eq!(seen.look(&state).await, []);
        assert!(seen.search.suspects.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_of_a_message_between_two_looks_is_enough() {
        let state = at(1, 0, 0);
        let mut seen = Seen::new(&state);
        seen.books(0..1);
        assert_eq!(seen.look(&state).await, []);
        seen.desk.refused("charge-card");
        tokio::time::advance(2 * HALF).await;
        assert_eq!(seen.look(&state).await, []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_needs_no_answer_is_not_suspected() {
        let state = at(1, 0, 0);
        let mut seen = Seen::new(&state);
        seen.desk.refused("book-hotel");
        assert_eq!(seen.look(&state).await, []);
        assert!(seen.search.suspects.is_empty(), "a refusal is no trigger");
        assert_eq!(seen.search.compared, [1]);
    }

    /// A worker has it, and tells the broker so.
    #[tokio::test(start_paused = true)]
    async fn what_is_in_hand_was_not_passed_over() {
        let (busy, idle) = (at(2, 1, 1), at(2, 0, 1));
        let mut seen = Seen::new(&busy);
        seen.books(0..2);
        for _ in 0..3 {
            let first = seen.look(&busy).await;
            assert!(first.iter().all(|(sequence, _)| *sequence == 1), "{first:?}");
            tokio::time::advance(2 * HALF).await;
        }
        seen.look(&idle).await;
        tokio::time::advance(2 * AGAIN_MOST).await;
        let both = seen.look(&idle).await;
        assert!(both.iter().any(|(sequence, _)| *sequence == 2), "{both:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_durable_that_was_reset_delivers_again_is_left_to_it() {
        let mut seen = Seen::new(&at(2, 0, 0));
        seen.books(0..2);
        assert_eq!(seen.look(&at(2, 0, 0)).await, []);
        tokio::time::advance(2 * HALF).await;
        assert_eq!(seen.look(&at(1, 0, 0)).await, [(1, 1)]);
    }

    /// The leader decides, not a replica that has nothing yet.
    #[tokio::test(start_paused = true)]
    async fn a_replica_that_lags_makes_nothing_suspicious_and_hides_nothing() {
        let state = at(1, 0, 0);
        let mut seen = Seen::new(&state);
        seen.books(0..1);
        seen.desk.log.kept().lags = true;
        for _ in 0..3 {
            assert_eq!(seen.look(&state).await, []);
            assert!(seen.search.suspects.is_empty());
            tokio::time::advance(HALF / 4).await;
        }
        seen.desk.log.kept().lags = false;
        assert_eq!(seen.look(&state).await, []);
        assert_eq!(seen.search.suspects.len(), 1, "it is compared once it is shown");
    }

    #[tokio::test(start_paused = true)]
    async fn each_message_is_compared_once_and_page_by_page() {
        let state = at(1_100, 0, 0);
        let mut seen = Seen::new(&state);
        seen.books(0..1_100);
        // A replica that lags shows nothing, for so long that it seems that there is nothing.
        seen.desk.log.kept().lags = true;
        assert_eq!(seen.look(&state).await, []);
        tokio::time::advance(HALF).await;
        assert_eq!(seen.look(&state).await, []);
        seen.desk.log.kept().lags = false;
        assert!(seen.search.is_behind(&state));
        assert_eq!(seen.look(&state).await, []);
        assert_eq!((seen.search.suspects.len(), &seen.search.compared[..]), (PAGE, &[512][..]));
        assert!(!seen.search.is_behind(&state), "no more are missed at a time");
        assert_eq!(seen.look(&state).await, []);
        assert_eq!(seen.search.suspects.len(), PAGE);
        for saga in 0..1_100 {
            seen.desk.saga = SagaId::parse(&format!("T{saga}")).unwrap();
            seen.desk.done("charge-card");
        }
        assert_eq!(seen.look(&state).await, []);
        assert_eq!((seen.search.suspects.len(), &seen.search.compared[..]), (0, &[1_024][..]));
        assert!(!seen.search.is_behind(&state), "less than a page is left");
        tokio::time::advance(HALF).await;
        seen.look(&state).await;
        seen.look(&state).await;
        assert_eq!(seen.search.compared, [1_100]);
        let asked = seen.desk.log.kept().asked.len();
        assert_eq!(seen.look(&state).await, []);
        assert_eq!(seen.desk.log.kept().asked.len(), asked);
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_begins_a_while_before_where_the_durable_is() {
        let seen = Seen::new(&at(LOOK_BACK + 7, 0, 0));
        assert_eq!(seen.search.compared, [7]);
        assert!(!Seen::new(&at(100, 0, 0)).search.is_behind(&at(100, 0, 0)), "less than a page");
        assert_eq!(Seen::new(&at(LOOK_BACK + 7, 1, 5)).search.compared, [0]);
    }

    /// Two kinds of messages wake an undo.
    #[tokio::test(start_paused = true)]
    async fn each_filter_is_compared() {
        let mut seen = Seen::of("book-hotel", Role::Undo, &at(0, 0, 0));
        seen.desk.done("book-hotel");
        seen.desk.refused("charge-card");
        seen.desk.undone("charge-card");
        let state = at(3, 0, 0);
        assert_eq!(seen.look(&state).await, []);
        tokio::time::advance(2 * HALF).await;
        assert_eq!(seen.look(&state).await, [(3, 1)]);
        let mut seen = Seen::of("book-hotel", Role::Undo, &at(0, 0, 0));
        seen.desk.refused("book-hotel");
        seen.desk.signal();
        let state = at(2, 0, 0);
        assert_eq!(seen.look(&state).await, []);
        tokio::time::advance(2 * HALF).await;
        assert_eq!(seen.look(&state).await, [(2, 1)]);
    }

    /// Where nothing of its subjects comes, a durable is past what others write all the same.
    #[tokio::test(start_paused = true)]
    async fn what_no_replica_shows_for_long_is_no_longer_asked_for() {
        let state = at(50, 0, 0);
        let mut seen = Seen::new(&state);
        for _ in 0..3 {
            assert_eq!(seen.look(&state).await, []);
            tokio::time::advance(HALF).await;
        }
        assert_eq!(seen.search.compared, [50]);
    }
}
