//! Deliveries of one durable, as the loop that handles them asks for them.

use bytes::Bytes;
use futures::future::BoxFuture;

use super::Stored;

/// A message that a durable handed out; it stays in flight until it is settled with its receipt.
#[derive(Debug, Clone)]
pub struct Delivered {
    pub message: Stored,
    /// 1 on the first delivery.
    pub deliveries: u64,
    /// Messages that the durable had still to deliver, when the broker sent this one.
    pub pending: u64,
    pub receipt: Receipt,
    /// `None` for a message that came as messages do.
    pub unreadable: Option<Unreadable>,
}

/// What is wrong with a message that no client can read, because the server stores any header
/// bytes. It was read in another way, and its other headers count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// For a human; quotes nothing of the headers.
    pub what: &'static str,
    pub raw_headers: Bytes,
}

/// Identifies one delivery to the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt(pub String);

impl Receipt {
    /// Of a message that was read from the log: the broker hears nothing of it.
    pub fn none() -> Self {
        Self(String::new())
    }
}

/// What a pull brought.
#[derive(Debug)]
pub enum Pulled {
    Message(Delivered),
    /// The durable no longer exists.
    Deleted,
}

/// Deliveries of one durable.
pub trait Pull: Send {
    /// The next delivery. Never keeps more than `free` undelivered messages on request, so that
    /// each of them can start at once; renews its requests. Recovers from reconnects, leader
    /// changes and silent pulls without ending.
    ///
    /// With `free` 0 it asks for nothing, and hands out what is on its way. Safe to cancel.
    fn next(&mut self, free: usize) -> BoxFuture<'_, Pulled>;

    /// Stops asking, and returns what was delivered but never handed out by [`Pull::next`].
    fn stop(self: Box<Self>) -> BoxFuture<'static, Vec<Delivered>>;
}
