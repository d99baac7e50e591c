//! The right to make one call, given back exactly once: by `finish`, or when it is dropped.

use std::sync::Arc;

use super::Limiter;
use crate::breaker::Message;
use crate::breaker::class::Class;
use crate::breaker::machine::{Ticket, Verdict};

/// A slot at every dependency that the step requires. Dropped without `finish`, by a cancelled or a
/// panicking call, it comes back as [`Class::Local`].
#[derive(Debug)]
#[must_use = "a permit that is dropped is a call that was not made"]
pub struct Permit {
    message: Message,
    slots: Vec<Slot>,
}

impl Permit {
    pub(super) fn new(message: Message, slots: Vec<Slot>) -> Self {
        Self { message, slots }
    }

    /// Whether the fleet has not paused, probed or opened since it was granted.
    pub fn is_current(&self) -> bool {
        self.slots.iter().all(Slot::is_current)
    }

    /// What the call came to at all dependencies, and so what to do with the message.
    pub fn finish(self, class: Class) -> Verdict {
        self.finish_each(|_| class)
    }

    /// What it came to at each, by the dependency's name; [`Class::Local`] for one that was not
    /// called. The strictest verdict counts.
    pub fn finish_each(self, mut class: impl FnMut(&str) -> Class) -> Verdict {
        let Self { message, slots } = self;
        let limiters: Vec<_> = slots.iter().map(|slot| slot.limiter.clone()).collect();
        // A step without dependencies was answered by all of them.
        let mut verdict = Verdict::Settle;
        for slot in slots {
            let class = class(slot.limiter.name());
            verdict = verdict.and(slot.finish(class));
        }
        match verdict {
            Verdict::Hold(_) => {}
            Verdict::Settle | Verdict::Park(_) | Verdict::GiveBack { .. } => {
                for limiter in limiters.iter().skip(1) {
                    limiter.drive(|replica, _| replica.forget(message.id));
                }
            }
        }
        verdict
    }
}

/// A slot at one dependency.
#[derive(Debug)]
pub(super) struct Slot {
    limiter: Arc<Limiter>,
    ticket: Option<Ticket>,
}

impl Slot {
    pub(super) fn new(limiter: Arc<Limiter>, ticket: Ticket) -> Self {
        Self { limiter, ticket: Some(ticket) }
    }

    pub(super) fn take(&mut self) -> Option<Ticket> {
        self.ticket.take()
    }

    fn is_current(&self) -> bool {
        let epoch = self.limiter.look(|replica| replica.machine().epoch());
        self.ticket.as_ref().is_some_and(|ticket| ticket.epoch() == epoch)
    }

    fn finish(mut self, class: Class) -> Verdict {
        let ticket = self.ticket.take().expect("only finish and drop take the ticket");
        self.limiter.drive(|replica, now| replica.finish(ticket, class, now))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.limiter.drive(|replica, now| replica.finish(ticket, Class::Local, now));
        }
    }
}
