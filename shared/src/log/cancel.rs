//! Asks that a saga be cancelled: a message in its cancel slot. The closing worker answers, and
//! what it answered is in the saga's story.
//!
//! The slot is used once. Whoever asks again, because the first wish came in vain, releases the
//! wish on the stream of parked messages.

use bytes::Bytes;
use jiff::Timestamp;

use super::envelope::{Occasion, Outgoing};
use super::open::{Opening, Sender};
use crate::broker::{Broker, Published};
use crate::event::{self, runtime::CancelRequested};
use crate::{Flow, SagaId};

/// The wish, to be sent as an opening is ([`open`](super::open::open)): whatever the slot holds is
/// the same wish. `None` if the flow knows no cancellation.
///
/// `source` names the program that asks.
pub fn wish(
    flow: &'static Flow,
    saga: &SagaId,
    source: &'static str,
    asked: &CancelRequested,
    traceparent: Option<&str>,
) -> Option<Opening> {
    let cancels = flow.cancels()?.asked;
    let slot = flow.slot(cancels.slot, saga);
    // Only people read this time, because a program that needs one takes the broker's.
    let time = Timestamp::now();
    let traceparent = traceparent.map(str::to_owned);
    let occasion = Occasion { cause: None, traceparent, time, work: None };
    let event = (cancels.event, &*event::data(asked));
    let payload = Outgoing::new(flow, slot.clone(), source, event, &occasion).payload;
    Some(Opening { slot, payload, sender: Sender::OnlyThisCall })
}

/// Asks once more; harmless if the saga has turned around, or cannot any longer.
pub async fn ask_again(broker: &dyn Broker, flow: &Flow, saga: &SagaId) -> Published {
    let subject = flow.released(&flow.cancel_durable(), saga);
    broker.publish(&subject, Bytes::new()).await
}
