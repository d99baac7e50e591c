//! The words for a saga that was never opened, though messages with its id are there: mostly, a
//! client has mistyped the subject.

use super::{Said, Words, said};
use crate::log::story::{Line, nearest_slot};

impl Words<'_> {
    pub(super) fn of_a_stray(&self, line: &Line) -> Said {
        let (flow, id) = (self.flow, &self.story.id);
        let subject = |slot: &str| format!("{}.{slot}.{id}", flow.subjects);
        let (stray, at) = (subject(&line.slot), line.sequence);
        if let Some(occupied) = self.story.occupied(flow) {
            let what = format!("was never opened, and {}", occupied.what());
            return said(
                what,
                "",
                format!(
                    "`nats stream get {} {}` shows what it holds",
                    flow.stream,
                    occupied.sequence()
                ),
            );
        }
        if let Some(cancels) = flow.cancels().filter(|one| one.asked.slot == line.slot) {
            let mut events = self.story.events.iter();
            return match events.find(|line| line.slot == cancels.refused.slot) {
                Some(refused) => said(
                    format!(
                        "was never opened; its cancellation, message {at}, was refused by {}",
                        refused.sequence
                    ),
                    "what is opened now is not taken back",
                    "",
                ),
                None => said(
                    format!("was never opened, and its cancellation is asked for by message {at}"),
                    "that waits half a minute for it: what is opened meanwhile is taken back",
                    "",
                ),
            };
        }
        let is_known = flow.events().iter().any(|(slot, _)| *slot == line.slot);
        let what = match is_known {
            true => format!("was never opened, so message {at} under {stray} counts for nothing"),
            false => format!(
                "was never opened: message {at} has its id, and nobody reads its subject, {stray}"
            ),
        };
        let opening = subject(flow.opens.slot);
        let right = match nearest_slot(flow, &line.slot).filter(|_| !is_known) {
            Some(slot) if slot != flow.opens.slot => {
                format!("was {} meant? {opening} opens one", subject(slot))
            }
            Some(_) => format!("was {opening} meant? Publish it there"),
            None => format!("publish what opens it under {opening}"),
        };
        let shows = format!("`nats stream get {} {at}` shows what it holds", flow.stream);
        said(what, "nothing happens by itself", format!("{right}; {shows}"))
    }
}
