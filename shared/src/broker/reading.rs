//! Reading a stream in its order, without a consumer.

use super::Stored;

/// Some messages of a stream, one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// In stream order; a sequence may be missing, where a message is no longer there.
    pub messages: Vec<Stored>,
    /// How many there are behind the last of these, as far as the replica that answered knows.
    pub left: u64,
}

/// How a page is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Care {
    /// In one request, from any replica, which may lag. A message whose headers no client can read
    /// ends the connection, perhaps for good.
    Fast,
    /// One request a message, from the leader, whose answer does no harm.
    Careful,
}
