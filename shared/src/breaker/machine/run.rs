//! The failures since the last answer, and when they are too many to be the messages' own.

use std::time::Duration;

use crate::breaker::class::Class;
use crate::breaker::fleet::Reason;
use crate::breaker::{Message, MessageId};

/// Failures of one or two messages are theirs, however many they are.
pub const DIFFERENT: usize = 3;
/// Where few orders come, a run of eight takes hours: three messages and this long are enough.
const LONG: Duration = Duration::from_secs(10);

/// The failures since the last answer, of calls begun in this epoch.
///
/// Only first tries speak of the dependency; what is tried again speaks of itself. One message
/// tried fifty times is one, and the few that always fail must not drown the many that pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Run {
    firsts: Vec<MessageId>,
    different: Vec<MessageId>,
    not_sent: u32,
    began: Option<Duration>,
    of_credentials: bool,
}

impl Run {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn add(&mut self, message: &Message, class: Class, longest: u32, now: Duration) {
        let of_credentials = class == Class::Credentials;
        self.of_credentials = of_credentials && (self.began.is_none() || self.of_credentials);
        self.began.get_or_insert(now);
        self.not_sent = self.not_sent.saturating_add(u32::from(class == Class::NotSent));
        let note = |seen: &mut Vec<MessageId>, most: usize| {
            if seen.len() < most && !seen.contains(&message.id) {
                seen.push(message.id);
            }
        };
        note(&mut self.different, DIFFERENT);
        if message.is_first_try() {
            note(&mut self.firsts, longest as usize);
        }
    }

    /// `longest` failed first tries; as many that were not sent; or several messages over a while.
    /// Never one or two messages alone.
    pub(super) fn is_doubtful(&self, longest: u32, now: Duration) -> bool {
        let several = self.different.len() >= DIFFERENT;
        let long = self.began.is_some_and(|began| now.saturating_sub(began) >= LONG);
        self.firsts.len() >= longest as usize
            || several && self.not_sent >= longest
            || several && long
    }

    /// Whether a call that began then says nothing of it: a late answer to an early call does not
    /// mean that the service answers now.
    pub(super) fn is_younger_than(&self, began: Duration) -> bool {
        self.began.is_some_and(|first| began < first)
    }

    pub(super) fn reason(&self) -> Reason {
        if self.of_credentials { Reason::Credentials } else { Reason::NoAnswer }
    }
}
