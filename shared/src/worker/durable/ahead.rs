//! What a service that may be away is tried with: not only the message whose turn it is.
//!
//! A durable delivers in the order of the log. When many messages in a row fail for reasons of
//! their own, single calls in that order would take the service for dead until all of them had
//! their turn. So single calls are also of a message from behind them: one of the newest, or any
//! that waits, by chance, so that seldom two replicas try the same. It is read from the log and
//! handled ahead of its delivery, with the same keys and the same slot. Only a decision is kept:
//! after anything else it waits for its delivery, as if nothing had been.
//!
//! Left out is a step that opens its saga, because only a delivery tells whether a client's message
//! can be read; a step with a pivot, because an order that waits can still be cancelled; and a step
//! that requires several services.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::breaker::gate::{Gate, Rooms};
use crate::broker::{Delivered, Pause, Receipt, Stored, Unavailable};
use crate::flow::{Durable, Role};
use crate::pipeline::{CallAhead, SUSPICIOUS, Turn, Worker};

/// Nobody waits longer for the broker: then the usual order will do.
const ANSWER_TIME: Duration = Duration::from_millis(250);

/// The newest ones, in messages of the log.
const NEWEST: u64 = 8;

/// In so many of 256 cases it is any message that waits: otherwise many new ones that fail would
/// hide the others.
const ANY: u8 = 32;

/// A pause of the durable by a replica has ended by now, but for the way of an answer.
const PAUSE_ENDS: Duration = Duration::from_secs(1);

/// What the loop of a durable looks ahead for, and what it has found.
#[derive(Debug)]
pub(super) struct Ahead {
    /// `None` where nothing is handled ahead.
    source: Option<Source>,
    /// The call of a message that is handled ahead, until it ends: what comes after the call takes
    /// its place among all others, because it may take back, and that has no end.
    out: Option<watch::Receiver<CallAhead>>,
    /// The last one led to no call, so the next call is by turn.
    rests: bool,
}

#[derive(Debug)]
struct Source {
    stream: String,
    durable: String,
    filter: String,
}

/// A message to be handled ahead of its delivery.
pub(super) struct Found {
    pub(super) delivered: Delivered,
    pub(super) turn: Turn,
}

impl Ahead {
    pub(super) fn of(worker: &Worker, durable: &Durable, gate: &Gate) -> Self {
        let row = worker.row;
        let follows_a_step = worker.flow.decides(row.on).is_some();
        let is_one = row.requires.len() == 1 && row.pivot.is_none();
        let source = match &durable.filters[..] {
            [filter] if durable.role == Role::Forward && follows_a_step && is_one => {
                gate.looks_ahead();
                let (stream, durable) = (durable.stream.clone(), durable.name.clone());
                Some(Source { stream, durable, filter: filter.clone() })
            }
            _ => None,
        };
        Self { source, out: None, rests: false }
    }

    /// A message that was not delivered, if one is wanted and none is out.
    pub(super) async fn next(
        &mut self,
        worker: &Worker,
        gate: &Gate,
        rooms: &Rooms,
    ) -> Option<Found> {
        let source = self.source.as_ref()?;
        let is_wanted = rooms.ahead();
        self.rests &= is_wanted;
        if !is_wanted || self.rests || self.out.is_some() {
            return None;
        }
        // A prober does not say meanwhile that it has nothing to probe with.
        let _expected = gate.expects_one();
        let found = timeout(ANSWER_TIME, source.draw(worker)).await;
        let Ok(Ok(Some(message))) = found else {
            self.rests = true;
            return None;
        };
        let (call, out) = watch::channel(CallAhead::NotYet);
        let turn = Turn::ahead(gate, message.sequence, call);
        self.out = Some(out);
        // It may be the message that ends its worker, and nobody counts how often it is tried: so
        // it runs alone, and its start is written down.
        let (deliveries, receipt) = (SUSPICIOUS, Receipt::none());
        let delivered = Delivered { message, deliveries, pending: 0, receipt, unreadable: None };
        Some(Found { delivered, turn })
    }

    /// Whether a call is for a message ahead of its delivery, and no other one is pulled for it.
    pub(super) fn is_out(&self) -> bool {
        self.out.is_some()
    }

    /// Waits until that call has ended, or is not made. Cancel safe.
    pub(super) async fn ends(&mut self) {
        let Some(out) = &mut self.out else { return std::future::pending().await };
        // Whoever makes it may be gone.
        let _: Result<_, _> = out.wait_for(|call| *call == CallAhead::Ended).await;
        self.rests = *out.borrow() == CallAhead::NotYet;
        self.out = None;
    }
}

impl Source {
    /// From the log; `None` if the durable has delivered all but one, or is kept from delivering.
    async fn draw(&self, worker: &Worker) -> Result<Option<Stored>, Unavailable> {
        let Self { stream, durable, filter } = self;
        let broker = &worker.broker;
        let (state, newest) =
            tokio::try_join!(broker.durable(stream, durable), broker.last(stream, filter))?;
        let (Some(state), Some(newest)) = (state, newest) else { return Ok(None) };
        // An operator's pause counts for this way of handling, too.
        let is_paused =
            matches!(state.pause, Pause::On { remaining, .. } if remaining > PAUSE_ENDS);
        if is_paused || state.pending < 2 {
            return Ok(None);
        }
        let (first, last) = (state.delivered + 1, newest.sequence);
        if first > last {
            return Ok(None);
        }
        let from = match fastrand::u8(..) {
            0..ANY => fastrand::u64(first..=last),
            ANY.. => last.saturating_sub(fastrand::u64(0..NEWEST)).max(first),
        };
        let page = broker.read_matching(stream, filter, from, 1).await?;
        Ok(page.messages.into_iter().next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::DurableState;
    use crate::testing::desk::{Desk, FLOW, doubted};

    /// A desk where five bookings wait to be charged for, but for those that were delivered.
    fn five(delivered: u64) -> Desk {
        let desk = Desk::of("charge-card");
        for _ in 0..5 {
            desk.log.store(FLOW.stream, "trips.hotel.T1", "{}".into());
        }
        desk.log.kept().durable = Some(DurableState {
            pending: 5 - delivered,
            in_hand: delivered,
            most_in_hand: 100,
            redelivered: 0,
            pulls: 1,
            delivered,
            settled: 0,
            ack_wait: Duration::from_secs(30),
            pause: Pause::Off,
        });
        desk
    }

    fn ahead(desk: &Desk, gate: &Gate) -> Ahead {
        Ahead::of(&desk.worker, &desk.durable(Role::Forward), gate)
    }

    #[tokio::test(start_paused = true)]
    async fn any_message_is_drawn_that_waits_and_none_that_was_delivered() {
        let desk = five(2);
        let ahead = ahead(&desk, &doubted().await);
        let mut drawn = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let message = ahead.source.as_ref().unwrap().draw(&desk.worker).await.unwrap();
            drawn.insert(message.unwrap().sequence);
        }
        assert_eq!(drawn, [3, 4, 5].into());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_drawn_where_an_operator_pauses_or_the_next_pull_has_all() {
        let desk = five(2);
        let ahead = ahead(&desk, &doubted().await);
        let source = ahead.source.as_ref().unwrap();
        let change = |change: &dyn Fn(&mut DurableState)| {
            change(desk.log.kept().durable.as_mut().unwrap());
        };
        let draws = async || source.draw(&desk.worker).await.unwrap().is_some();
        let paused = |remaining| Pause::On { until: desk.log.now(), remaining };
        change(&|state| state.pause = paused(Duration::from_secs(60)));
        assert!(!draws().await);
        change(&|state| state.pause = paused(Duration::from_millis(500)));
        assert!(draws().await, "a pause of the fleet that ends now");
        change(&|state| state.pending = 1);
        assert!(!draws().await);
        change(&|state| (state.pending, state.delivered) = (3, 5));
        assert!(!draws().await, "the broker's answers are of two moments");
        desk.log.kept().durable = None;
        assert!(!draws().await);
    }

    #[tokio::test(start_paused = true)]
    async fn one_is_out_at_a_time_and_after_one_that_needed_no_call_it_is_the_turn_of_others() {
        let desk = five(2);
        let gate = doubted().await;
        let mut ahead = ahead(&desk, &gate);
        let rooms = gate.rooms();
        let found = ahead.next(&desk.worker, &gate, &rooms).await.expect("one is wanted");
        assert_eq!(found.delivered.deliveries, SUSPICIOUS, "it runs alone");
        assert!(ahead.is_out());
        assert!(ahead.next(&desk.worker, &gate, &rooms).await.is_none());
        drop(found);
        ahead.ends().await;
        assert!(!ahead.is_out());
        assert!(ahead.next(&desk.worker, &gate, &rooms).await.is_none(), "it rests");
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_call_the_next_one_is_drawn_while_the_message_is_still_in_hand() {
        let desk = five(2);
        let gate = doubted().await;
        let mut ahead = ahead(&desk, &gate);
        let rooms = gate.rooms();
        let found = ahead.next(&desk.worker, &gate, &rooms).await.expect("one is wanted");
        found.turn.called();
        ahead.ends().await;
        assert!(ahead.next(&desk.worker, &gate, &rooms).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn what_opens_a_saga_or_has_a_pivot_is_never_ahead() {
        for worker in ["book-hotel", "buy-ticket"] {
            let desk = Desk::of(worker);
            assert!(ahead(&desk, &doubted().await).source.is_none(), "{worker}");
        }
    }
}
