//! What a client may tell the payment service to do. A file of its own, because `form` makes
//! commands and the service decides about them.

use crate::intent::NewIntent;
use crate::operation::Operation;

#[derive(Debug)]
pub(crate) enum Command {
    Create(NewIntent),
    /// A payment method replaces the intent's, which may have been declined.
    Confirm {
        intent: String,
        payment_method: Option<String>,
    },
    Cancel {
        intent: String,
    },
    /// Without an amount: all that is still held.
    Refund {
        intent: String,
        amount: Option<u64>,
    },
}

impl Command {
    pub(crate) fn operation(&self) -> Operation {
        match self {
            Self::Create(_) => Operation::Create,
            Self::Confirm { .. } => Operation::Confirm,
            Self::Cancel { .. } => Operation::Cancel,
            Self::Refund { .. } => Operation::Refund,
        }
    }
}
