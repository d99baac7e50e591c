//! What a call is to the machine: whether it may start, the ticket it carries, what comes of it.

use std::time::Duration;

use super::Epoch;
use crate::breaker::Message;

/// Which calls may start now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    Nothing,
    /// This many, and of messages tried before at most `retries` while new work is waiting.
    Free {
        free: u32,
        retries: u32,
    },
    /// One, allowed since this time: of a message that the log has behind those in hand, if there
    /// is one, else of one never tried before one that failed.
    Single {
        since: Duration,
    },
    /// One probe. The `first` is of what is in hand, all others of what this replica has not
    /// tried.
    Probe {
        first: bool,
        since: Duration,
    },
}

/// A call in flight. Give it back to the machine by `finish`, exactly once.
#[derive(Debug)]
#[must_use = "a ticket that is not finished keeps its slot for ever"]
pub struct Ticket {
    pub(super) message: Message,
    pub(super) epoch: Epoch,
    pub(super) kind: Kind,
    pub(super) began: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    Single,
    Probe,
}

impl Ticket {
    pub fn message(&self) -> Message {
        self.message
    }

    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub fn is_probe(&self) -> bool {
        self.kind == Kind::Probe
    }

    pub fn began(&self) -> Duration {
        self.began
    }
}

/// What to do with a message now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Decided: the outcome into its slot.
    Settle,
    Park(Parking),
    /// Keep it in hand, with in-progress acks, and ask for a permit again.
    Hold(Message),
    /// Back to the broker with this delay. `charged` is to be written down if it is not zero.
    GiveBack {
        delay: Duration,
        charged: u32,
    },
}

impl Verdict {
    /// The stricter of two: what one dependency decides is not undone by another's answer.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            // What the edge of one says is not parked while it may be away.
            (Self::Park(Parking::Bad), Self::Hold(held))
            | (Self::Hold(held), Self::Park(Parking::Bad)) => Self::Hold(held),
            (Self::Park(why), _) | (_, Self::Park(why)) => Self::Park(why),
            (
                Self::GiveBack { delay, charged },
                Self::GiveBack { delay: other, charged: others },
            ) => Self::GiveBack { delay: delay.max(other), charged: charged.max(others) },
            (Self::GiveBack { delay, charged }, Self::Hold(_) | Self::Settle)
            | (Self::Hold(_) | Self::Settle, Self::GiveBack { delay, charged }) => {
                Self::GiveBack { delay, charged }
            }
            (Self::Hold(one), Self::Hold(two)) => Self::Hold(Message {
                tries: one.tries.max(two.tries),
                due: one.due.max(two.due),
                not_before: one.not_before.max(two.not_before),
                ..one
            }),
            (Self::Hold(held), Self::Settle) | (Self::Settle, Self::Hold(held)) => Self::Hold(held),
            (Self::Settle, Self::Settle) => Self::Settle,
        }
    }
}

/// Why a message is set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parking {
    /// The service says that the request is wrong.
    Bad,
    /// It failed `max_attempts` times while the others were answered.
    Attempts,
}
