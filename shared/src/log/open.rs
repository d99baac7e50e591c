//! Opens a saga: its first event goes into the opening slot, or what is there already is found.
//!
//! A publish that looks failed may have been stored. So an opening without an answer is published
//! again, with the same guard, until the slot says what it holds. No time-out and no empty read
//! means "not stored": once patience is at an end, the answer is [`Error::NoAnswer`], and opening
//! the saga again is safe.
//!
//! A worker's resolver is in the pipeline: it holds its message for as long as it takes, and checks
//! that an event comes after its cause. Here a caller waits, and gets an answer to act on.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep};

use super::envelope::{CLIENT, Envelope, Occasion, Outgoing};
use crate::broker::{Broker, Published, Stored, Unknown};
use crate::{BadData, Event, Flow, SagaId, Slot};

/// The wait before the next publish, in milliseconds. It is random, so that many callers spread
/// out: a proposal in flight takes up to 50 ms (measured), a change of the leader some seconds.
const WAIT_MS: std::ops::Range<u64> = 20..200;

/// What opens a saga.
#[derive(Debug, Clone)]
pub struct Opening {
    /// The flow's opening slot of the saga: `trips.requested.T1`.
    pub slot: Slot,
    /// A CloudEvent in the structured form, as [`Outgoing`] makes it; at
    /// most 64 KB. It is sent as one (`application/cloudevents+json`), so workers would park a
    /// bare body, and the saga's opening slot would be spent.
    pub payload: Bytes,
    /// Whether another call may send these very bytes.
    pub sender: Sender,
}

/// Which call it was that stored the bytes of an opening, if they are in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// This one, because the time of the call is in them.
    OnlyThisCall,
    /// This one or another: they are a document that each call sends as it is.
    PerhapsAnother,
}

/// A saga whose opening is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// Of the opening, in the flow's stream.
    pub sequence: u64,
    pub when: When,
}

/// Which call stored the opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// This one.
    Now,
    /// An earlier one, or one at the same time.
    Before,
    /// This one or another: an answer was lost, and the bytes do not tell the two apart.
    Unknown,
}

/// Why a saga is not known to be open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not stored, and never will be: the slot holds another opening, which stands.
    #[error("the saga is open already, with other data (sequence {sequence})")]
    Taken { sequence: u64 },
    /// Not stored: the stream is at its `max_bytes`, which an operator must raise.
    #[error("the log is full")]
    Full,
    /// Stored or not: the broker gave no answer that says which. Open the saga again, under the
    /// same id.
    #[error("no answer says whether it was stored: {0}")]
    NoAnswer(String),
    /// Not stored, and never will be: the message is over 64 KB.
    #[error("the event is over 64 KB")]
    TooLarge,
    /// Not stored, and never will be: wrong configuration, or a bug of ours.
    #[error("the broker refuses it ({code}): {description}")]
    Rejected { code: u64, description: String },
}

/// Opens a saga; may be called again with the same opening, and then finds what is there.
///
/// `is_the_same` says whether what is stored in the slot opens the saga in the same way as
/// `opening`, whatever form either of them has. It is asked only about a slot that is taken.
///
/// A publish takes a time of its own (2 s on NATS), so a call may last that much longer than
/// `patience`.
///
/// # Errors
/// Each [`Error`] says whether the opening is stored. [`Error::NoAnswer`] is the one that does not
/// know; it comes after `patience`, and also where the broker refuses after it gave no answer.
pub async fn open(
    broker: &dyn Broker,
    flow: &Flow,
    opening: &Opening,
    is_the_same: impl Fn(&Stored) -> bool,
    patience: Duration,
) -> Result<Opened, Error> {
    let Opening { slot, payload, sender: _ } = opening;
    let give_up = Instant::now() + patience;
    // A publish without an answer may be stored: then the next one meets it, and no refusal of the
    // next one says anything about it.
    let mut lost = false;
    loop {
        let published = broker.publish_once(slot, payload.clone()).await;
        let why = match published {
            Published::Stored { sequence } => return Ok(Opened { sequence, when: When::Now }),
            Published::Conflict => match broker.last(flow.stream, slot.subject()).await {
                Ok(Some(stored)) if is_the_same(&stored) => {
                    return Ok(opening.found(&stored, lost));
                }
                Ok(Some(Stored { sequence, .. })) => return Err(Error::Taken { sequence }),
                Ok(None) => "the slot is taken, and reads as empty".to_owned(),
                Err(unavailable) => unavailable.to_string(),
            },
            Published::Unknown(Unknown::Busy) => "the broker is busy".to_owned(),
            Published::Unknown(Unknown::NoAnswer(why)) => {
                lost = true;
                why
            }
            Published::Unknown(Unknown::Full) if lost => Error::Full.to_string(),
            Published::TooLarge if lost => Error::TooLarge.to_string(),
            Published::Rejected { code, description } if lost => {
                Error::Rejected { code, description }.to_string()
            }
            Published::Unknown(Unknown::Full) => return Err(Error::Full),
            Published::TooLarge => return Err(Error::TooLarge),
            Published::Rejected { code, description } => {
                return Err(Error::Rejected { code, description });
            }
        };
        if Instant::now() >= give_up {
            return Err(Error::NoAnswer(why));
        }
        sleep(Duration::from_millis(fastrand::u64(WAIT_MS))).await;
    }
}

impl Opening {
    /// What a client wants, in the envelope of this call: `data` is sent as it is. `traceparent` is
    /// the client's, if it has a trace of its own.
    pub fn wrap(
        flow: &'static Flow,
        saga: &SagaId,
        data: &RawValue,
        traceparent: Option<&str>,
    ) -> Self {
        let slot = flow.slot(flow.opens.slot, saga);
        // Only people read this time, because a program that needs one takes the broker's.
        let time = Timestamp::now();
        let traceparent = traceparent.map(str::to_owned);
        let occasion = Occasion { cause: None, traceparent, time, seal: None, work: None };
        let event = (flow.opens.event, data);
        let payload = Outgoing::new(flow, slot.clone(), CLIENT, event, &occasion).payload;
        Self { slot, payload, sender: Sender::OnlyThisCall }
    }

    /// The event in this opening, as a worker would read it if it were sent.
    ///
    /// # Errors
    /// As a worker would park it.
    pub fn event<E: Event>(&self, flow: &Flow) -> Result<E, BadData> {
        let unsent = Stored {
            subject: self.slot.subject().to_owned(),
            sequence: 0,
            stored_at: Timestamp::UNIX_EPOCH,
            headers: Vec::new(),
            payload: self.payload.clone(),
        };
        self.event_of(flow, &unsent)
    }

    /// The event in a message of this opening's slot, in whatever form it was sent.
    ///
    /// # Errors
    /// As a worker would park it.
    pub fn event_of<E: Event>(&self, flow: &Flow, stored: &Stored) -> Result<E, BadData> {
        let (slot, saga) = (&self.slot, self.slot.saga());
        Envelope::read(flow, slot.name(), saga, flow.opens.event, stored)?.event(saga)
    }

    /// Which call stored what says the same. Without a lost answer it cannot be this one.
    fn found(&self, stored: &Stored, lost: bool) -> Opened {
        let when = match (lost && stored.payload == self.payload, self.sender) {
            (false, _) => When::Before,
            (true, Sender::OnlyThisCall) => When::Now,
            (true, Sender::PerhapsAnother) => When::Unknown,
        };
        Opened { sequence: stored.sequence, when }
    }
}

#[cfg(test)]
mod tests;
