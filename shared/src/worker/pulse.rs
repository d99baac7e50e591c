//! Whether what a durable should deliver comes: a watchdog that compares the log with it.
//!
//! It does not trust what the broker says is pending, because a durable that is wrong about its
//! place is wrong about that, too. A message that the durable has passed, that no replica holds and
//! that nothing came of ([`passed`]) is read from the log and handled like any other delivery: the
//! same keys, the same slot. If messages wait and the durable stands still although this replica
//! asks, the pull is made anew; until that is over the worker is not ready, and says why.
//!
//! A deadline's durable is left out, because it is to be far behind.

mod evidence;
mod passed;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use crate::broker::{Delivered, DurableState, Pause, Receipt};
use crate::flow::Durable;
use crate::pipeline::{SUSPICIOUS, Worker};
use crate::process::health::Troubles;
use crate::telemetry::{self, Repeats};
use passed::{Passed, Search};

/// Between two looks: one request a durable, and two for each page that there is to compare. What
/// was stored so long ago should have been delivered.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(10);

/// It may have been delivered before, and may have ended its worker each time: so from the first on
/// (`times` is 1) it counts as one that runs alone, and whose starts are written down.
const DELIVERED_BEFORE: u64 = SUSPICIOUS - 1;

/// What the loop of a durable tells its watchdog, and hears from it.
pub(super) struct Pulse {
    beat: Arc<Beat>,
    orders: mpsc::Receiver<Order>,
}

#[derive(Default)]
struct Beat {
    /// Deliveries that were handed out here.
    taken: AtomicU64,
    /// Whether the loop asks for more.
    asks: AtomicBool,
}

/// What a loop is to do.
pub(super) enum Order {
    PullAnew,
    /// Handle a message that was never delivered, and drop the sender once that has ended.
    Handle(Delivered, oneshot::Sender<()>),
}

impl Pulse {
    pub(super) fn took_one(&self) {
        self.beat.taken.fetch_add(1, Relaxed);
    }

    pub(super) fn asks(&self, asks: bool) {
        self.beat.asks.store(asks, Relaxed);
    }

    /// `None` once nothing watches. Safe to cancel.
    pub(super) async fn order(&mut self) -> Option<Order> {
        self.orders.recv().await
    }
}

/// Watches one durable.
pub(super) struct Watchdog {
    worker: Arc<Worker>,
    durable: Durable,
    troubles: Arc<Troubles>,
    every: Duration,
    beat: Arc<Beat>,
    orders: mpsc::Sender<Order>,
    stalls: Repeats,
}

/// What is remembered from one look to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    delivered: u64,
    taken: u64,
    asks: bool,
}

impl Watchdog {
    pub(super) fn of(
        worker: Arc<Worker>,
        durable: Durable,
        troubles: Arc<Troubles>,
        every: Duration,
    ) -> (Self, Pulse) {
        let beat = Arc::<Beat>::default();
        let (sender, orders) = mpsc::channel(1);
        let pulse = Pulse { beat: beat.clone(), orders };
        let stalls = Repeats::none();
        let every = every.min(LOOK_EVERY);
        (Self { worker, durable, troubles, every, beat, orders: sender, stalls }, pulse)
    }

    /// Looks again and again; ends with the loop of its durable.
    pub(super) async fn watch(self) {
        let (mut before, mut search) = (None::<Look>, None::<Search>);
        let mut wait = self.every;
        loop {
            // Jittered, so that seldom two replicas find the same.
            sleep(wait.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
            wait = self.every;
            let Durable { stream, name, .. } = &self.durable;
            let Ok(Some(state)) = self.worker.broker.durable(stream, name).await else { continue };
            let now = Look {
                delivered: state.delivered,
                taken: self.beat.taken.load(Relaxed),
                asks: self.beat.asks.load(Relaxed),
            };
            let search = search.get_or_insert_with(|| Search::of(&self.durable, &state));
            let confirm_after = self.every / 2;
            let Ok(missed) = search.look(&self.worker, &self.durable, &state, confirm_after).await
            else {
                continue;
            };
            let earlier = before.replace(now);
            let stands = stands_still(earlier, now) && state.pause == Pause::Off;
            let trouble = if stands { self.overdue(&state).await } else { None };
            self.troubles.set(name, trouble);
            // While others come, what lies behind is compared page by page, and slowly.
            let is_idle = earlier.is_some_and(|earlier| earlier.taken == now.taken);
            if is_idle && search.is_behind(&state) {
                wait = self.every / 10;
            }
            if self.hand_out(missed).await.is_none() {
                return;
            }
        }
    }

    /// Gives messages to the loop, and waits until it has handled them; `None` if it has ended.
    async fn hand_out(&self, missed: Vec<Passed>) -> Option<()> {
        let mut handled = Vec::new();
        for Passed { message, times } in missed {
            let delivered = Delivered {
                message,
                deliveries: DELIVERED_BEFORE + u64::from(times),
                pending: 0,
                receipt: Receipt::none(),
                unreadable: None,
            };
            let (done, ended) = oneshot::channel();
            self.orders.send(Order::Handle(delivered, done)).await.ok()?;
            handled.push(ended);
        }
        for ended in handled {
            let _ = ended.await;
        }
        Some(())
    }

    /// What should have come, if anything should.
    async fn overdue(&self, state: &DurableState) -> Option<String> {
        let Durable { stream, name, filters, .. } = &self.durable;
        let mut next = None;
        for filter in filters {
            let from = state.delivered + 1;
            let page = self.worker.broker.read_matching(stream, filter, from, 1).await.ok()?;
            let found = page.messages.first().map(|stored| (stored.sequence, stored.stored_at));
            next = [next, found].into_iter().flatten().min();
        }
        let waited = next.map(|(_, stored_at)| self.worker.clock.now().duration_since(stored_at));
        let waited = waited.and_then(|waited| Duration::try_from(waited).ok());
        let Some(((sequence, _), waited)) =
            next.zip(waited).filter(|(_, waited)| *waited >= self.every)
        else {
            self.stalls.over();
            return None;
        };
        let (waited, in_hand) = (waited.as_secs(), state.in_hand);
        let because = if in_hand >= state.most_in_hand {
            format!("{in_hand} deliveries are not settled, and max_ack_pending allows no more")
        } else {
            format!("the durable stands at {}, and asking again brings nothing", state.delivered)
        };
        let why = format!("message {sequence} has waited {waited} s undelivered: {because}");
        if let Some(times) = self.stalls.again() {
            tracing::error!(durable = name, times, why, "messages do not come; pulls anew");
        }
        telemetry::stalled(name);
        // One that is not taken yet is enough.
        let _ = self.orders.try_send(Order::PullAnew);
        Some(why)
    }
}

/// Nothing came, to this replica or another one, although this one asked.
fn stands_still(before: Option<Look>, now: Look) -> bool {
    now.asks && before == Some(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Role;
    use crate::testing::desk::Desk;

    #[test]
    fn only_a_durable_that_is_asked_and_that_nobody_gets_anything_from_stands_still() {
        let look = |delivered, taken, asks| Look { delivered, taken, asks };
        let now = look(5, 7, true);
        assert!(stands_still(Some(now), now));
        assert!(!stands_still(None, now), "one look says nothing");
        assert!(!stands_still(Some(look(4, 7, true)), now), "another replica got one");
        assert!(!stands_still(Some(look(5, 6, true)), now), "this one got one again");
        assert!(!stands_still(Some(look(5, 7, false)), now), "it did not ask");
        assert!(!stands_still(Some(look(5, 7, false)), look(5, 7, false)));
    }

    /// A watchdog that has looked for a long time at a durable at which `delivered` is the last.
    struct Watched {
        log: Arc<crate::testing::memory::Memory>,
        orders: Pulse,
        troubles: Arc<Troubles>,
        watchdog: Option<Watchdog>,
        _desk: tokio::task::JoinSet<()>,
    }

    const EVERY: Duration = LOOK_EVERY;

    fn watched(write: impl FnOnce(&Desk)) -> Watched {
        let desk = Desk::of("charge-card");
        write(&desk);
        let (durable, troubles) = (desk.durable(Role::Forward), Arc::<Troubles>::default());
        let Desk { log, worker, lookups, .. } = desk;
        let hour = Duration::from_secs(3_600);
        let (watchdog, orders) = Watchdog::of(Arc::new(worker), durable, troubles.clone(), hour);
        let watchdog = Some(watchdog);
        Watched { log, orders, troubles, watchdog, _desk: lookups }
    }

    fn state(delivered: u64, in_hand: u64) -> DurableState {
        let (most_in_hand, settled) = (10, 0);
        let (pending, redelivered, pulls, pause) = (0, 0, 1, Pause::Off);
        DurableState {
            pending,
            in_hand,
            most_in_hand,
            redelivered,
            pulls,
            delivered,
            settled,
            ack_wait: Duration::from_secs(30),
            pause,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_long_undelivered_is_said_and_pulled_anew() {
        let Watched { mut orders, watchdog, .. } = watched(|desk| {
            desk.opened();
            desk.done("book-hotel");
        });
        let watchdog = watchdog.unwrap();
        assert_eq!(watchdog.overdue(&state(1, 0)).await, None, "it has just been stored");
        tokio::time::advance(EVERY).await;
        assert_eq!(watchdog.overdue(&state(2, 0)).await, None, "it was delivered");
        assert!(orders.orders.try_recv().is_err());
        let said = watchdog.overdue(&state(1, 0)).await.unwrap();
        assert!(said.starts_with("message 2 has waited 10 s undelivered: the durable stands at 1"));
        assert!(matches!(orders.order().await, Some(Order::PullAnew)));
        let said = watchdog.overdue(&state(0, 10)).await.unwrap();
        assert!(said.contains("10 deliveries are not settled, and max_ack_pending"), "{said}");
    }

    /// From the log to the loop, and until the loop has handled it.
    #[tokio::test(start_paused = true)]
    async fn what_was_passed_over_is_handed_to_the_loop_as_one_delivered_before() {
        let Watched { log, mut orders, troubles, watchdog, .. } = watched(|desk| {
            desk.opened();
            desk.done("book-hotel");
        });
        log.kept().durable = Some(state(2, 0));
        let mut watch = tokio::task::JoinSet::new();
        watch.spawn(watchdog.unwrap().watch());
        for deliveries in [3, 4] {
            let order = tokio::time::timeout(100 * EVERY, orders.order()).await;
            let Ok(Some(Order::Handle(delivered, done))) = order else {
                panic!("the message is handed out");
            };
            assert_eq!((delivered.message.sequence, delivered.deliveries), (2, deliveries));
            let before = log.now();
            let next = tokio::time::timeout(20 * EVERY, orders.order()).await;
            assert!(next.is_err(), "not again while it is being handled");
            assert!(log.now() > before);
            drop(done);
        }
        assert!(troubles.lines().is_empty());
    }

    /// An orchestrator sees that the worker is not ready, and people see why.
    #[tokio::test(start_paused = true)]
    async fn a_durable_that_stands_still_is_a_trouble_until_something_comes() {
        let Watched { log, mut orders, troubles, watchdog, .. } = watched(|desk| {
            desk.opened();
            desk.done("book-hotel");
        });
        log.kept().durable = Some(state(1, 0));
        orders.asks(true);
        let mut watch = tokio::task::JoinSet::new();
        watch.spawn(watchdog.unwrap().watch());
        let pulls_anew = tokio::time::timeout(10 * EVERY, orders.order()).await;
        assert!(matches!(pulls_anew, Ok(Some(Order::PullAnew))));
        tokio::time::sleep(EVERY / 10).await;
        assert_eq!(troubles.lines().len(), 1, "{:?}", troubles.lines());
        orders.took_one();
        log.kept().durable = Some(state(2, 1));
        tokio::time::sleep(2 * EVERY).await;
        assert!(troubles.lines().is_empty(), "{:?}", troubles.lines());
        let until = log.now() + jiff::SignedDuration::from_hours(1);
        let pause = Pause::On { until, remaining: Duration::from_secs(3_600) };
        log.kept().durable = Some(DurableState { pause, ..state(1, 0) });
        tokio::time::sleep(6 * EVERY).await;
        assert!(troubles.lines().is_empty(), "a durable that is paused is to stand still");
    }

    #[tokio::test(start_paused = true)]
    async fn a_watchdog_ends_with_the_loop_of_its_durable() {
        let Watched { log, orders, watchdog, .. } = watched(|desk| {
            desk.opened();
            desk.done("book-hotel");
        });
        log.kept().durable = Some(state(2, 0));
        drop(orders);
        let ends = tokio::time::timeout(100 * EVERY, watchdog.unwrap().watch()).await;
        assert!(ends.is_ok());
    }

    /// The broker says that nothing was delivered since, and yet a delivery came here again.
    #[tokio::test(start_paused = true)]
    async fn a_durable_from_which_something_comes_does_not_stand_still() {
        let Watched { log, mut orders, troubles, watchdog, .. } = watched(|desk| {
            desk.opened();
            desk.done("book-hotel");
        });
        log.kept().durable = Some(state(1, 0));
        orders.asks(true);
        let mut watch = tokio::task::JoinSet::new();
        watch.spawn(watchdog.unwrap().watch());
        for _ in 0..60 {
            orders.took_one();
            tokio::time::sleep(EVERY / 10).await;
        }
        assert!(troubles.lines().is_empty(), "{:?}", troubles.lines());
        assert!(orders.orders.try_recv().is_err());
    }

    /// A replica that starts has thousands to compare, and must not take hours, nor disturb others.
    #[tokio::test(start_paused = true)]
    async fn what_lies_behind_is_compared_fast_while_nothing_else_comes() {
        for (busy, pages) in [(false, 18..30), (true, 4..9)] {
            let Watched { log, orders, watchdog, .. } = watched(|desk| {
                // Of no saga, so that nothing can come of them.
                for stray in 0..12_000 {
                    desk.log.store("TRIPS", &format!("trips.hotel.{stray}!"), "{}".into());
                }
            });
            log.kept().durable = Some(state(12_000, 0));
            let mut watch = tokio::task::JoinSet::new();
            watch.spawn(watchdog.unwrap().watch());
            for _ in 0..60 {
                if busy {
                    orders.took_one();
                }
                tokio::time::sleep(EVERY / 10).await;
            }
            let looks = log.kept().looks;
            assert!(pages.contains(&looks), "{busy}: {looks}");
            watch.shutdown().await;
        }
    }
}
