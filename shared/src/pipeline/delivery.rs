//! A message in hand, and the only ways to let go of it.
//!
//! An acknowledgement settles a message for good, no matter which replica sends it, or how late. So
//! it takes a proof that the message is decided, set aside or no trigger; only `commit`, `park` and
//! `decode` make these proofs.

use std::time::Duration;

use jiff::Timestamp;

use super::commit::Committed;
use super::decode::NotOurs;
use super::earlier::Earlier;
use super::park::{self, SetAside};
use super::permit::Turn;
use super::worker::{GiveBack, Why, Worker};
use crate::broker::{Delivered, Settle, Stored};
use crate::ids::Direction;
use crate::log::parked::Verdict;
use crate::{BadData, Reason, SagaId, failpoint, telemetry};

/// A message that no client can read comes again this late, because each delivery of it ends the
/// connection of its durable.
const UNREADABLE_AGAIN: Duration = Duration::from_secs(300);

/// How the handling of a delivery ended.
pub(crate) enum Ending {
    /// Its slot is decided, and the signal is in the log if the decision needs one.
    Committed(Committed),
    /// Not a trigger of this step.
    NotOurs(NotOurs),
    /// The message cannot be handled; a human has to look.
    Park(BadData),
    /// Not now: the broker delivers it again after this delay.
    GiveBack(Duration, Why),
}

impl Ending {
    /// Whether a message that was handled ahead of its delivery ends as if nothing had been. Only a
    /// decision counts, and an effect that no slot records.
    fn waits_for_delivery(&self) -> bool {
        match self {
            Self::NotOurs(_) | Self::GiveBack(..) => true,
            Self::Park(bad) => bad.reason != Reason::OrphanEffect,
            Self::Committed(_) => false,
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Committed(_) => "committed",
            Self::NotOurs(_) => "not-ours",
            Self::Park(bad) => bad.reason.code(),
            Self::GiveBack(_, why) => why.word(),
        }
    }
}

impl From<Committed> for Ending {
    fn from(committed: Committed) -> Self {
        Self::Committed(committed)
    }
}

impl From<GiveBack> for Ending {
    fn from(GiveBack(delay, why): GiveBack) -> Self {
        Self::GiveBack(delay, why)
    }
}

/// A message of the stream of parked messages that brings another one back.
#[derive(Debug, Clone)]
pub(crate) struct Released {
    /// On that stream.
    pub(crate) sequence: u64,
    /// By the broker's clock.
    pub(crate) stored_at: Timestamp,
    /// `None` for one that this build does not know.
    pub(crate) verdict: Option<Verdict>,
    /// No client can read the release itself.
    is_unreadable: bool,
}

impl Released {
    /// Only its verdict counts, and none is a retry; `None` for a verdict that this build does not
    /// know. Its headers are its own, and not those of what it brings.
    pub(crate) fn by(delivered: &mut Delivered) -> Self {
        let message = &delivered.message;
        let verdict = verdict(&message.payload);
        let Stored { sequence, stored_at, .. } = *message;
        let is_unreadable = delivered.unreadable.take().is_some();
        Self { sequence, stored_at, verdict, is_unreadable }
    }
}

/// The verdict in the body of a release, as in [`Released::verdict`].
pub(crate) fn verdict(release: &[u8]) -> Option<Verdict> {
    let Ok(release) = serde_json::from_slice::<serde_json::Value>(release) else {
        return Some(Verdict::Retry);
    };
    match release.get("verdict") {
        None => Some(Verdict::Retry),
        Some(verdict) => serde_json::from_value(verdict.clone()).ok(),
    }
}

/// One delivery that this process has to settle.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) delivered: Delivered,
    pub(crate) saga: SagaId,
    /// The durable that handed it out.
    pub(crate) durable: String,
    /// What brought it back, if it was parked.
    pub(crate) released: Option<Released>,
    /// Its turn at the services that the step requires.
    pub(crate) turn: Turn,
}

impl Delivery {
    pub(crate) fn message(&self) -> &Stored {
        &self.delivered.message
    }

    /// Tells the messages of its durable apart.
    pub(crate) fn number(&self) -> u64 {
        self.sequence_of_release().unwrap_or(self.delivered.message.sequence)
    }

    fn sequence_of_release(&self) -> Option<u64> {
        self.released.as_ref().map(|released| released.sequence)
    }

    /// Ends the delivery; a message to be parked is on the parked stream before it is settled.
    pub(crate) async fn end(self, worker: &Worker, ending: Ending) {
        let Stored { sequence, .. } = self.message();
        let (ended, deliveries) = (ending.word(), self.delivered.deliveries);
        tracing::debug!(durable = self.durable, saga = %self.saga, sequence, deliveries, ended);
        match ending {
            _ if self.turn.is_ahead() && ending.waits_for_delivery() => {}
            Ending::Committed(Committed { .. }) => self.settle(worker, Settle::Ack).await,
            Ending::NotOurs(NotOurs { .. }) => self.settle(worker, Settle::Ack).await,
            Ending::GiveBack(delay, why) => {
                // For a saga that was never opened nothing runs, and there may be many of them.
                if why != Why::Unopened {
                    Box::pin(Earlier::survived(worker, &self)).await;
                }
                let brought = self.released.as_ref().is_some_and(|by| by.is_unreadable);
                let unreadable = brought || self.delivered.unreadable.is_some();
                let delay = if unreadable { delay.max(UNREADABLE_AGAIN) } else { delay };
                telemetry::returned(&self.durable, why, 1);
                self.settle(worker, Settle::Retry(delay)).await;
            }
            Ending::Park(bad) => {
                let Self { delivered, saga, durable, released, .. } = &self;
                // As before, so that it is released in the same way again.
                let durable = if released.is_some() { worker.name() } else { durable };
                let brought = self.sequence_of_release();
                let parked = park::park(worker, delivered, durable, Some(saga), brought, &bad);
                match Box::pin(parked).await {
                    Ok(SetAside { .. }) => {
                        failpoint::hit(Direction::Run, "after-park");
                        self.settle(worker, Settle::Term(bad.reason.code())).await;
                    }
                    Err(GiveBack(delay, why)) => {
                        Box::pin(Earlier::survived(worker, &self)).await;
                        telemetry::returned(durable, why, 1);
                        self.settle(worker, Settle::Retry(delay)).await;
                    }
                }
            }
        }
    }

    async fn settle(self, worker: &Worker, settle: Settle) {
        if settle == Settle::Ack && failpoint::loses_ack() {
            return;
        }
        worker.broker.settle(&self.delivered.receipt, settle).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reason;
    use crate::broker::Unreadable;
    use crate::testing::desk::Desk;

    const SECOND: Duration = Duration::from_secs(1);

    fn bad() -> BadData {
        BadData::new(Reason::BadMessage, "", "a test's")
    }

    fn unreadable() -> Option<Unreadable> {
        Some(Unreadable { what: "a bare CR", raw_headers: "NATS/1.0\r".into() })
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_given_back_comes_again_when_it_should() {
        let desk = Desk::of("charge-card");
        let delivery = desk.delivery(desk.done("book-hotel"), 1);
        delivery.end(&desk.worker, Ending::GiveBack(SECOND, Why::Later)).await;
        assert_eq!(desk.log.kept().settled, [Settle::Retry(SECOND)]);
    }

    /// Each delivery of it ends the connection, and so delays every other message.
    #[tokio::test(start_paused = true)]
    async fn what_no_client_can_read_comes_again_no_sooner_than_in_five_minutes() {
        let desk = Desk::of("charge-card");
        let message = desk.done("book-hotel");
        let mut first = desk.delivery(message.clone(), 1);
        first.delivered.unreadable = unreadable();
        let mut brought = desk.delivery(message, 1);
        brought.released = Some(Released {
            sequence: 1,
            stored_at: desk.log.now(),
            verdict: Some(Verdict::Retry),
            is_unreadable: true,
        });
        for delivery in [first, brought] {
            delivery.end(&desk.worker, Ending::GiveBack(SECOND, Why::Later)).await;
        }
        assert_eq!(desk.log.kept().settled, [Settle::Retry(UNREADABLE_AGAIN); 2]);
    }

    /// Otherwise its next delivery would pass for one that killed its worker, and run alone.
    #[tokio::test(start_paused = true)]
    async fn a_message_that_comes_again_and_again_in_good_order_is_not_suspected() {
        let desk = Desk::of("charge-card");
        let message = desk.done("book-hotel");
        for deliveries in 1..=5 {
            let delivery = desk.delivery(message.clone(), deliveries);
            assert!(!Earlier::of(&desk.worker, &delivery).await.is_suspicious(), "{deliveries}");
            delivery.end(&desk.worker, Ending::GiveBack(SECOND, Why::Later)).await;
        }
        desk.log.kept().is_full = true;
        for deliveries in 6..=10 {
            let delivery = desk.delivery(message.clone(), deliveries);
            assert!(!Earlier::of(&desk.worker, &delivery).await.is_suspicious(), "{deliveries}");
            delivery.end(&desk.worker, Ending::Park(bad())).await;
        }
        let again = |settle: &Settle| matches!(settle, Settle::Retry(_));
        assert!(desk.log.kept().settled.iter().all(again));
        assert_eq!(desk.log.kept().settled.len(), 10, "a full stream of parked messages");
        let unended = desk.delivery(message, 13);
        assert!(Earlier::of(&desk.worker, &unended).await.is_suspicious(), "three never ended");
    }

    /// There may be very many of them.
    #[tokio::test(start_paused = true)]
    async fn a_forged_signal_leaves_no_note_however_often_it_comes() {
        let desk = Desk::of("charge-card");
        let signal = desk.signal();
        for deliveries in 1..=5 {
            let delivery = desk.delivery(signal.clone(), deliveries);
            delivery.end(&desk.worker, Ending::GiveBack(SECOND, Why::Unopened)).await;
        }
        assert!(desk.log.kept().bucket.is_empty());
        assert_eq!(desk.log.kept().settled.len(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_is_parked_before_it_is_settled_and_one_that_is_unreadable_only_once() {
        let desk = Desk::of("charge-card");
        let message = desk.done("book-hotel");
        let parked = || desk.log.messages(&desk.worker.flow.parked_stream()).len();
        let park = async |message: &Stored| {
            let mut delivery = desk.delivery(message.clone(), 1);
            delivery.delivered.unreadable = unreadable();
            delivery.end(&desk.worker, Ending::Park(bad())).await;
        };
        park(&message).await;
        assert_eq!(parked(), 1);
        park(&message).await;
        assert_eq!(parked(), 1, "found again after a restart");
        park(&Stored { sequence: message.sequence + 1, ..message.clone() }).await;
        assert_eq!(parked(), 2, "another one of the same subject");
        let stored_at = message.stored_at + jiff::SignedDuration::from_secs(1);
        park(&Stored { sequence: message.sequence + 1, stored_at, ..message }).await;
        assert_eq!(parked(), 3, "of a log that was made anew");
        assert_eq!(desk.log.kept().settled, [Settle::Term(bad().reason.code()); 4]);
    }

    /// It is held for a while, and nothing is settled before it is parked.
    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_parked_for_long_goes_back() {
        let desk = Desk::of("charge-card");
        desk.log.kept().is_silent = true;
        let delivery = desk.delivery(desk.done("book-hotel"), 1);
        let began = tokio::time::Instant::now();
        delivery.end(&desk.worker, Ending::Park(bad())).await;
        let (held, most) = (began.elapsed(), desk.worker.limits.hold_max);
        assert!(held <= most && held > most / 2, "{held:?}");
        assert!(matches!(desk.log.kept().settled[..], [Settle::Retry(_)]));
        let times = desk.log.kept().published.len();
        assert!((10..300).contains(&times), "more and more seldom: {times}");
    }
}
