//! The words for what has to do with the worker's replicas.

use super::{Said, Words, clock, next_try, nothing, said, tries};
use crate::flow::Role;
use crate::log::parked::Verdict;
use crate::log::story::Coming;
use crate::why::reason::Reason;

impl Words<'_> {
    pub(super) fn of_a_worker(&self, reason: &Reason<'_>) -> Said {
        let (worker, _) = self.names();
        match reason {
            Reason::Held(held) => said(
                format!("waits for {worker}, which holds it until a call is free{}", tries(held)),
                next_try(held, self.seen.now),
                String::new(),
            ),
            Reason::NoWorker => said(
                format!("waits for {worker}, of which no replica answers"),
                "it goes on by itself once one runs",
                format!("start {worker}, or look why it ended or hangs"),
            ),
            Reason::Lag { before } => said(
                format!("waits for {worker}, which has up to {before} messages before it"),
                "its turn comes by itself",
                format!("more replicas of {worker} go through them faster"),
            ),
            Reason::InHand if self.is_told_to_refuse() => said(
                format!("waits for {worker}, which an operator has told to refuse it"),
                "it does so once no earlier attempt can have an effect any more, a minute or so \
                 after the command",
                String::new(),
            ),
            Reason::InHand => said(
                format!("waits for {worker}, to which it was delivered"),
                format!("the outcome comes at any moment{}", self.again()),
                String::new(),
            ),
            _ => nothing(""),
        }
    }

    /// Whether what comes back is a message that an operator gave up.
    fn is_told_to_refuse(&self) -> bool {
        let coming = self.story.coming.iter();
        let awaited = self.seen.awaited.as_ref().filter(|one| one.role == Role::Released);
        awaited.is_some_and(|awaited| {
            let is_it = |comes: &&Coming| comes.sequence == awaited.trigger.sequence;
            let verdict = coming.clone().find(is_it).map(|comes| &comes.release.verdict);
            matches!(verdict, Some(Verdict::Refuse))
        })
    }

    /// When a message comes again whose replica has died: that was now at the latest.
    fn again(&self) -> String {
        let wait = self.seen.durable.as_ref().map(|durable| durable.ack_wait);
        let until = wait.and_then(|wait| self.seen.now.checked_add(wait).ok());
        until.map_or_else(String::new, |until| {
            let until = clock(until);
            format!(
                "; if its replica has died, the broker delivers it again, at {until} at the latest"
            )
        })
    }
}
