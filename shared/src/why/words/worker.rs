//! The words for what has to do with the worker's replicas.

use super::{Said, Words, clock, next_try, nothing, said, tries};
use crate::why::reason::Reason;

impl Words<'_> {
    pub(super) fn of_a_worker(&self, reason: &Reason<'_>) -> Said {
        let (worker, _) = self.names();
        match reason {
            Reason::Held(held) => said(
                format!("waits for {worker}, which holds it until a call is free{}", tries(held)),
                next_try(held),
                String::new(),
            ),
            Reason::NoWorker => said(
                format!("waits for {worker}, of which no replica runs"),
                "it goes on by itself once one does",
                format!("start {worker}, or look why it ended"),
            ),
            Reason::Lag { before } => said(
                format!("waits for {worker}, which has up to {before} messages before it"),
                "its turn comes by itself",
                format!("more replicas of {worker} go through them faster"),
            ),
            Reason::InHand => said(
                format!("waits for {worker}, to which it was delivered"),
                format!("the outcome comes at any moment{}", self.again()),
                String::new(),
            ),
            _ => nothing(""),
        }
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
