//! Deliveries of one durable, as the loop that handles them asks for them.

use futures::future::BoxFuture;

use super::Delivered;

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
    /// `free` is at least 1. Safe to cancel.
    fn next(&mut self, free: usize) -> BoxFuture<'_, Pulled>;

    /// Stops asking, and returns what was delivered but never handed out by [`Pull::next`].
    fn stop(self: Box<Self>) -> BoxFuture<'static, Vec<Delivered>>;
}
