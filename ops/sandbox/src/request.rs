//! What a client asks, once its request is well-formed: a change or a question.
//!
//! The routes make these values, `exchange` sends them through the faults and the keys, and `world`
//! carries them out. This file knows the services' commands, but neither HTTP nor the world.

use crate::carrier::NewLabel;
use crate::operation::Operation;
use crate::payment;
use crate::quote::Parcel;

/// A well-formed request that may change something.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) key: String,
    /// Path and parameters in one text, to tell a repetition from another request.
    pub(crate) request: String,
    pub(crate) command: Command,
}

#[derive(Debug)]
pub(crate) enum Command {
    Payment(payment::Command),
    Label(NewLabel),
}

/// A request that changes nothing.
#[derive(Debug)]
pub(crate) enum Question {
    Search {
        order: String,
        /// The value of `metadata[log]`, where it is searched for, too.
        log: Option<String>,
    },
    Retrieve {
        intent: String,
    },
    Refunds {
        intent: String,
    },
    Lookup {
        key: String,
    },
    Rates(Parcel),
}

impl Change {
    pub(crate) fn operation(&self) -> Operation {
        match &self.command {
            Command::Payment(command) => command.operation(),
            Command::Label(_) => Operation::Label,
        }
    }
}

impl Question {
    pub(crate) fn operation(&self) -> Operation {
        match self {
            Self::Search { .. } => Operation::Search,
            Self::Retrieve { .. } => Operation::Retrieve,
            Self::Refunds { .. } => Operation::Refunds,
            Self::Lookup { .. } => Operation::Lookup,
            Self::Rates(_) => Operation::Rates,
        }
    }
}
