//! What is taken for passed over, and when it is handled: on a log in memory.

use super::*;
use crate::SagaId;
use crate::broker::Pause;
use crate::flow::Role;
use crate::testing::desk::{Desk, FLOW};

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

/// A power cut; then others write, and another message has its sequence.
#[tokio::test(start_paused = true)]
async fn a_message_that_the_log_has_lost_is_not_handled_and_what_came_instead_is_compared() {
    let state = at(3, 0, 0);
    let mut seen = Seen::new(&state);
    seen.books(0..3);
    assert_eq!(seen.look(&state).await, []);
    assert_eq!(seen.search.suspects.len(), 3);
    seen.desk.log.lose_all_but(FLOW.stream, 1);
    tokio::time::advance(HALF).await;
    seen.books(3..5);
    tokio::time::advance(HALF).await;
    assert_eq!(seen.look(&state).await, [(1, 1)]);
    assert_eq!((seen.search.suspects.len(), &seen.search.compared[..]), (1, &[1][..]));
    assert_eq!(seen.look(&state).await, []);
    tokio::time::advance(2 * HALF).await;
    assert_eq!(seen.look(&state).await, [(2, 1), (3, 1)], "what came instead");
}

#[tokio::test(start_paused = true)]
async fn a_look_that_gets_no_answer_forgets_nothing() {
    let state = at(1, 0, 0);
    let mut seen = Seen::new(&state);
    seen.books(0..1);
    assert_eq!(seen.look(&state).await, []);
    tokio::time::advance(2 * HALF).await;
    seen.desk.log.kept().is_silent = true;
    let Seen { desk, durable, search } = &mut seen;
    assert!(search.look(&desk.worker, durable, &state, HALF).await.is_err());
    seen.desk.log.kept().is_silent = false;
    assert_eq!(seen.look(&state).await, [(1, 1)]);
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
