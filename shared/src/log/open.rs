//! Opens a saga: its first event goes into the opening slot, or what is there already is found.
//!
//! A publish that looks failed may have been stored. So an opening without an answer is published
//! again, with the same guard, until the slot says what it holds. No time-out and no empty read
//! means "not stored": once patience is at an end, the answer is "nobody knows", and opening the
//! saga again is safe.
//!
//! A worker's resolver is in the pipeline: it holds its message for as long as it takes, and checks
//! that an event comes after its cause. Here a caller waits, and gets an answer to act on.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use crate::broker::{Broker, Published, Stored, Unknown};
use crate::{Flow, Slot};

/// The wait before the next publish, in milliseconds. It is random, so that many callers spread
/// out: a proposal in flight takes up to 50 ms (measured), a change of the leader some seconds.
const WAIT_MS: std::ops::Range<u64> = 20..200;

/// What opens a saga.
#[derive(Debug, Clone)]
pub struct Opening {
    /// The flow's opening slot of the saga: `orders.placed.A123`.
    pub slot: Slot,
    /// A message in any form that [`Envelope`](super::envelope::Envelope) reads; at most 64 KB.
    pub payload: Bytes,
    /// Which calls may send these very bytes.
    pub sender: Sender,
}

/// Which calls may send the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// Only this one, because the time of the call is in them.
    ThisCall,
    /// Any: a document that is sent as it is.
    AnyCall,
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
    #[error("nobody knows whether it was stored: {0}")]
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
            Published::Unknown(Unknown::Full) => sure(Error::Full, lost)?,
            Published::TooLarge => sure(Error::TooLarge, lost)?,
            Published::Rejected { code, description } => {
                sure(Error::Rejected { code, description }, lost)?
            }
        };
        if Instant::now() >= give_up {
            return Err(Error::NoAnswer(why));
        }
        sleep(Duration::from_millis(fastrand::u64(WAIT_MS))).await;
    }
}

/// A refusal of this publish, unless an earlier one may be stored: then only why it was refused.
fn sure(refused: Error, lost: bool) -> Result<String, Error> {
    if lost { Ok(refused.to_string()) } else { Err(refused) }
}

impl Opening {
    /// Which call stored what says the same. Without a lost answer it cannot be this one.
    fn found(&self, stored: &Stored, lost: bool) -> Opened {
        let when = match (lost && stored.payload == self.payload, self.sender) {
            (false, _) => When::Before,
            (true, Sender::ThisCall) => When::Now,
            (true, Sender::AnyCall) => When::Unknown,
        };
        Opened { sequence: stored.sequence, when }
    }
}

#[cfg(test)]
mod tests;
