//! What a service decides about a command. The services make decisions and `world` carries them
//! out. This type is in a module below both, because neither service may know the world.

use std::time::Duration;

use crate::answer::Answer;
use crate::intent::Intent;
use crate::ledger::Fact;

/// What a service takes its time for, after it has answered.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Slowly {
    /// A payment is `processing` for this long.
    pub(crate) processing: Option<Duration>,
    /// A refund is `pending` for this long.
    pub(crate) refund_pending: Option<Duration>,
    /// And then fails.
    pub(crate) refund_fails: bool,
}

/// What a service makes of a command, before anything is written or applied.
#[derive(Debug)]
pub(crate) struct Decision {
    pub(crate) answer: Answer,
    /// Whether the key remembers the answer. False for what failed before execution began.
    pub(crate) keep: bool,
    pub(crate) intent: Option<Intent>,
    pub(crate) facts: Vec<Fact>,
}

impl Decision {
    /// Nothing happened, and the key stays free.
    pub(crate) fn rejected(answer: Answer) -> Self {
        Self { answer, keep: false, intent: None, facts: Vec::new() }
    }

    /// Nothing happened, and the key says so from now on.
    pub(crate) fn answered(answer: Answer) -> Self {
        Self { answer, keep: true, intent: None, facts: Vec::new() }
    }
}
