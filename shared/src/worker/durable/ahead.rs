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

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::breaker::gate::{Gate, Rooms};
use crate::broker::{Delivered, Pause, Receipt, Stored, Unavailable};
use crate::flow::{Durable, Role};
use crate::pipeline::{Turn, Worker};

/// Nobody waits longer for the broker: then the usual order will do.
const ANSWER_TIME: Duration = Duration::from_millis(250);

/// The newest ones, in messages of the log.
const NEWEST: u64 = 8;

/// In so many of 256 cases it is any message that waits: otherwise many new ones that fail would
/// hide the others.
const ANY: u8 = 32;

/// It may be the message that ends its worker, and nobody counts how often it is tried: so it runs
/// alone, and its start is written down.
const DELIVERED_BEFORE: u64 = 3;

/// A pause of the durable by a replica has ended by now, but for the way of an answer.
const PAUSE_ENDS: Duration = Duration::from_secs(1);

/// What the loop of a durable looks ahead for, and what it has found.
#[derive(Debug)]
pub(super) struct Ahead {
    /// `None` where nothing is handled ahead.
    source: Option<Source>,
    out: Option<Out>,
    /// The last one led to no call, so the next call is by turn.
    rests: bool,
}

#[derive(Debug)]
struct Source {
    stream: String,
    durable: String,
    filter: String,
}

/// A message that is being handled ahead.
#[derive(Debug)]
struct Out {
    ended: oneshot::Receiver<()>,
    called: Arc<AtomicBool>,
}

/// A message to be handled ahead of its delivery.
pub(super) struct Found {
    pub(super) delivered: Delivered,
    pub(super) turn: Turn,
    /// Dropped once it was handled.
    pub(super) handled: oneshot::Sender<()>,
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
        let called = Arc::<AtomicBool>::default();
        let turn = Turn::ahead(gate, message.sequence, called.clone());
        let (handled, ended) = oneshot::channel();
        self.out = Some(Out { ended, called });
        let (deliveries, receipt) = (DELIVERED_BEFORE, Receipt::none());
        let delivered = Delivered { message, deliveries, pending: 0, receipt, unreadable: None };
        Some(Found { delivered, turn, handled })
    }

    /// Whether a message is being handled ahead, and no other one is pulled for the same call.
    pub(super) fn is_out(&self) -> bool {
        self.out.is_some()
    }

    /// Waits until the message that is out was handled. Cancel safe.
    pub(super) async fn ends(&mut self) {
        let Some(out) = &mut self.out else { return std::future::pending().await };
        let _ = (&mut out.ended).await;
        self.rests = !out.called.load(Relaxed);
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
