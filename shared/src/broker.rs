//! The broker as the runtime needs it: a small port, so that the protocol can be read, and later
//! simulated, without any broker.
//!
//! `Unknown` is a value, not an error: a publish whose answer is lost may have been stored, and
//! every caller must say what it does about that. The adapter is `nats`.

mod bucket;
mod inspection;
mod published;
mod pull;
mod reading;
mod service;

use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use jiff::Timestamp;

use crate::Slot;

pub use bucket::{Entry, Pause, Seen, Watch};
use bucket::{no_change, no_fleet};
pub use inspection::{DurableState, Incarnation, Inspection, StreamState};
pub use published::{BatchMessage, Published, Unknown};
pub use pull::{Delivered, Pull, Pulled, Receipt, Unreadable};
pub use reading::{Care, Page};
pub use service::{Answers, Refused, Request, ServiceError};

/// The broker did not answer a read or a request; nothing is known.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the broker gave no answer: {0}")]
pub struct Unavailable(pub String);

/// A stored message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub subject: String,
    pub sequence: u64,
    /// When the broker stored it, by the broker's clock.
    pub stored_at: Timestamp,
    pub headers: Headers,
    pub payload: Bytes,
}

/// The headers that the envelope can use (`content-type`, `ce-*`, `traceparent`), with names in
/// lower case; unknown and malformed headers are left out.
pub type Headers = Vec<(String, String)>;

/// What the worker tells the broker about a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settle {
    /// Done: never again.
    Ack,
    /// Deliver again after this delay.
    Retry(Duration),
    /// Still at work: start `ack_wait` over.
    Progress,
    /// Never again, because it was set aside; the reason appears in the broker's advisory.
    Term(&'static str),
}

/// The broker. Every call may be repeated; only a repeated [`Broker::publish`] stores twice.
pub trait Broker: Send + Sync + 'static {
    /// Writes a slot that must be empty (*optimistic concurrency*). The only guarded publish on the
    /// flow's stream. The payload is a structured CloudEvent, as
    /// [`Outgoing`](crate::log::envelope::Outgoing) makes it.
    fn publish_once<'a>(&'a self, slot: &'a Slot, payload: Bytes) -> BoxFuture<'a, Published>;

    /// What this broker calls a subject of the flow, for people.
    fn shown(&self, subject: &str) -> String {
        subject.to_owned()
    }

    /// Publishes to a stream without a guard, and waits for the acknowledgement.
    fn publish<'a>(&'a self, subject: &'a str, payload: Bytes) -> BoxFuture<'a, Published>;

    /// Publishes 1 to 1,000 messages of one stream, all or nothing.
    fn publish_batch(&self, messages: Vec<BatchMessage>) -> BoxFuture<'_, Published>;

    /// Deliveries of a durable that exists.
    fn pull<'a>(
        &'a self,
        stream: &'a str,
        durable: &'a str,
    ) -> BoxFuture<'a, Result<Box<dyn Pull>, Unavailable>>;

    /// Tells the broker about a delivery; if that is lost, the broker delivers the message again.
    fn settle<'a>(&'a self, receipt: &'a Receipt, settle: Settle) -> BoxFuture<'a, ()>;

    /// The last message of a subject or a filter, from the leader. `None` does not prove that
    /// nothing is stored, because an old leader may answer.
    fn last<'a>(
        &'a self,
        stream: &'a str,
        subject: &'a str,
    ) -> BoxFuture<'a, Result<Option<Stored>, Unavailable>>;

    /// The last message of every subject that matches one of the filters, in stream order, from any
    /// replica. A message that is missing in the answer may be stored all the same. At most 1,024
    /// subjects.
    fn last_of_many<'a>(
        &'a self,
        stream: &'a str,
        filters: Vec<String>,
    ) -> BoxFuture<'a, Result<Vec<Stored>, Unavailable>>;

    /// Up to `most` messages (1 to 1,024) from sequence `from` on, or fewer where they are large.
    /// An empty page proves nothing.
    fn read_page<'a>(
        &'a self,
        _stream: &'a str,
        _from: u64,
        _most: usize,
        _care: Care,
    ) -> BoxFuture<'a, Result<Page, Unavailable>> {
        no_fleet()
    }

    /// As [`Broker::read_page`], but only what matches a filter, with or without care as is needed.
    fn read_matching<'a>(
        &'a self,
        _stream: &'a str,
        _filter: &'a str,
        _from: u64,
        _most: usize,
    ) -> BoxFuture<'a, Result<Page, Unavailable>> {
        no_fleet()
    }

    /// Every subject of a stream that matches the filter, in any order.
    fn subjects<'a>(
        &'a self,
        _stream: &'a str,
        _filter: &'a str,
    ) -> BoxFuture<'a, Result<Vec<String>, Unavailable>> {
        Box::pin(async { Err(Unavailable("this broker lists no subjects".to_owned())) })
    }

    /// Compares the live settings of the streams and of a worker's durables with the flow's.
    fn inspect<'a>(
        &'a self,
        flow: &'static crate::Flow,
        worker: &'a str,
    ) -> BoxFuture<'a, Result<Inspection, Unavailable>>;

    /// How far and how full a stream is; `None` if there is none of this name.
    fn state<'a>(
        &'a self,
        _stream: &'a str,
    ) -> BoxFuture<'a, Result<Option<StreamState>, Unavailable>> {
        Box::pin(async { Err(Unavailable("this broker tells no states".to_owned())) })
    }

    /// How far a durable is; `None` if there is none of this name.
    fn durable<'a>(
        &'a self,
        _stream: &'a str,
        _durable: &'a str,
    ) -> BoxFuture<'a, Result<Option<DurableState>, Unavailable>> {
        no_fleet()
    }

    /// Serves the endpoints `<prefix>.<endpoint>` as one instance of a discoverable service. Goes
    /// on after a request with headers that no client can read, which gets no answer.
    fn serve<'a>(
        &'a self,
        service: &'a str,
        prefix: &'a str,
        endpoints: &'a [&'a str],
        answers: Answers,
    ) -> BoxFuture<'a, Result<tokio::sync::mpsc::Receiver<Request>, Unavailable>>;

    /// The answers of all instances of a service that answer within `patience`; none where nobody
    /// serves `subject`. An instance's error counts as no answer.
    fn ask_each<'a>(
        &'a self,
        _subject: &'a str,
        _payload: Bytes,
        _patience: Duration,
    ) -> BoxFuture<'a, Result<Vec<Bytes>, Unavailable>> {
        no_fleet()
    }

    /// Asks a service; a [`ServiceError`] is its own answer.
    fn request<'a>(
        &'a self,
        subject: &'a str,
        payload: Bytes,
    ) -> BoxFuture<'a, Result<Result<Bytes, ServiceError>, Unavailable>>;

    /// As [`Broker::request`], with headers, and with the document of an error. A value with a line
    /// break is [`Unavailable`].
    fn command<'a>(
        &'a self,
        _subject: &'a str,
        _headers: Headers,
        _payload: Bytes,
    ) -> BoxFuture<'a, Result<Result<Bytes, Refused>, Unavailable>> {
        no_fleet()
    }

    /// Resolves when everything sent so far has left this process.
    fn flush(&self) -> BoxFuture<'_, ()>;

    /// The entry of a key, from the leader; `None` if there is none, or no longer. As with
    /// [`Broker::last`], an old leader may answer: decide by [`Broker::compare_and_set`].
    ///
    /// A key is `[A-Za-z0-9_=/-]{1,}`, or several of these joined by dots.
    fn entry<'a>(
        &'a self,
        _bucket: &'a str,
        _key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Entry>, Unavailable>> {
        no_fleet()
    }

    /// Writes a key if its current entry has the revision `expected`; 0 if it must have none, a
    /// deleted or expired one included. `Stored` says the new revision.
    ///
    /// With `time_to_live`, rounded up to whole seconds and at least 1 s, the entry ends by itself.
    /// Without, it stays as long as the bucket keeps entries: a renewal must say it again. Only
    /// [`topology::BREAKERS`](crate::topology::BREAKERS) takes it.
    ///
    /// A repeated call whose first answer was lost says `Conflict` of the caller's own entry: read
    /// the key.
    fn compare_and_set<'a>(
        &'a self,
        _bucket: &'a str,
        _key: &'a str,
        _expected: u64,
        _value: Bytes,
        _time_to_live: Option<Duration>,
    ) -> BoxFuture<'a, Published> {
        no_change()
    }

    /// Ends a key whose current entry has the revision `expected`; watches hear that it is gone.
    /// Answers as [`Broker::compare_and_set`] does, and on the same bucket.
    fn remove<'a>(
        &'a self,
        _bucket: &'a str,
        _key: &'a str,
        _expected: u64,
    ) -> BoxFuture<'a, Published> {
        no_change()
    }

    /// Watches the key `prefix` and all keys below it (`<prefix>.…`), or the whole bucket if it is
    /// empty. Costs the broker a consumer, so a process needs one watch for all of its keys.
    fn watch<'a>(
        &'a self,
        _bucket: &'a str,
        _prefix: &'a str,
    ) -> BoxFuture<'a, Result<Box<dyn Watch>, Unavailable>> {
        no_fleet()
    }

    /// Whether a durable is paused.
    fn paused<'a>(
        &'a self,
        _stream: &'a str,
        _durable: &'a str,
    ) -> BoxFuture<'a, Result<Pause, Unavailable>> {
        no_fleet()
    }

    /// Pauses a durable for every replica until `until` by the broker's clock, and says how it is
    /// paused then. A longer pause is left as it is ([`Pause::is_longer_than`]); `Off` means that
    /// the time is over. What was delivered before may still be on its way.
    ///
    /// The broker cannot compare and set a pause, so only one process at a time should call this,
    /// and [`Broker::resume`], for a durable.
    fn pause<'a>(
        &'a self,
        _stream: &'a str,
        _durable: &'a str,
        _until: Timestamp,
    ) -> BoxFuture<'a, Result<Pause, Unavailable>> {
        no_fleet()
    }

    /// Ends a pause that was asked for until `until`, or for less, and says how it is paused then.
    /// A longer pause is left as it is.
    fn resume<'a>(
        &'a self,
        _stream: &'a str,
        _durable: &'a str,
        _until: Timestamp,
    ) -> BoxFuture<'a, Result<Pause, Unavailable>> {
        no_fleet()
    }
}
