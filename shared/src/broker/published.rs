//! What is written to a stream, and what that comes to.

use bytes::Bytes;

/// What a publish came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published {
    /// Acknowledged: it is in the stream (for a batch: all of it, and this is the last message's).
    Stored { sequence: u64 },
    /// Not stored, because the subject's last message is not the expected one (*optimistic
    /// concurrency*): read the subject.
    Conflict,
    /// It is not known whether it is stored, or it may still be stored later. Publish again.
    Unknown(Unknown),
    /// Not stored, and never will be: over the size limit of a message of this stream.
    TooLarge,
    /// Not stored, and never will be: wrong configuration or a bug of ours.
    Rejected { code: u64, description: String },
}

/// Why a publish has no answer that decides anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unknown {
    /// The broker asks for another try in a few milliseconds: a proposal is in flight, or busy.
    Busy,
    /// The stream is at `max_bytes`: nothing was stored, and an operator must raise the limit.
    Full,
    /// Time-out, lost connection, no leader: it may be stored.
    NoAnswer(String),
}

/// One message of an atomic batch.
#[derive(Debug, Clone)]
pub struct BatchMessage {
    /// An exact subject; one message a subject in a batch.
    pub subject: String,
    /// Stream sequence of the subject's last message; 0 when it must have none.
    pub expected_last: u64,
    pub payload: Bytes,
}
