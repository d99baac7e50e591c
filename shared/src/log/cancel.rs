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
use crate::flow::Role;
use crate::topology::parked_stream_name;
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
    let occasion = Occasion { cause: None, traceparent, time, seal: None, work: None };
    let event = (cancels.event, &*event::data(asked));
    let payload = Outgoing::new(flow, slot.clone(), source, event, &occasion).payload;
    Some(Opening { slot, payload, sender: Sender::OnlyThisCall })
}

/// Asks once more, unless that was asked and nobody has heard it yet; harmless if the saga has
/// turned around, or cannot any longer.
pub async fn ask_again(broker: &dyn Broker, flow: &Flow, saga: &SagaId) -> Published {
    let subject = flow.released(&flow.cancel_durable(), saga);
    match unheard(broker, flow, &subject).await {
        Some(sequence) => Published::Stored { sequence },
        None => broker.publish(&subject, Bytes::new()).await,
    }
}

/// The release that its durable is still to deliver for the first time, so that whoever repeats a
/// wish while no worker hears it fills no stream. Without an answer there is none.
async fn unheard(broker: &dyn Broker, flow: &Flow, subject: &str) -> Option<u64> {
    let stream = parked_stream_name(flow);
    let release = broker.last(&stream, subject).await.ok()??;
    let mut durables = flow.durables(Some(flow.closing().worker)).into_iter();
    let durable = durables.find(|durable| durable.role == Role::Released)?;
    let state = broker.durable(&stream, &durable.name).await.ok()??;
    // Not up to where all are settled: that stays behind any message that is held, and a wish must
    // not be swallowed. One that is in hand may be asked a second time.
    (state.delivered < release.sequence).then_some(release.sequence)
}
