//! When "not now" is about the service and not about one message's key.

use std::time::Duration;

use crate::breaker::MessageId;

/// One message may be told to wait because its own key is in use; three in a row are not chance.
const IN_A_ROW: usize = 3;

/// The latest messages that were told to wait, nothing answered between.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Busy {
    row: Vec<(MessageId, Duration)>,
    until: Duration,
}

impl Busy {
    /// Notes that `message` waits until `due`. True when the whole replica is to wait, and to make
    /// fewer calls at once.
    pub(super) fn is_full(&mut self, message: MessageId, due: Duration) -> bool {
        self.row.retain(|(seen, _)| *seen != message);
        self.row.push((message, due));
        if self.row.len() < IN_A_ROW {
            return false;
        }
        // The soonest of them: what one message has to wait for longer is its own affair.
        let soonest = self.row.drain(..).map(|(_, due)| due).min();
        self.until = self.until.max(soonest.unwrap_or_default());
        true
    }

    pub(super) fn answered(&mut self) {
        self.row.clear();
    }

    /// No call before this.
    pub(super) fn until(&self) -> Duration {
        self.until
    }
}
