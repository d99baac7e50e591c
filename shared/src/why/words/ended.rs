//! The words for a saga that is taken back, or was.

use super::{Said, Words, nothing};
use crate::log::story::{Line, Turn};
use crate::undo::cancel;

impl Words<'_> {
    pub(super) fn of_a_cancelled_one(&self) -> Said {
        let turned = self.turned().map(|turned| format!(", because {turned}"));
        let turned = turned.unwrap_or_default();
        let all = "nothing is held, charged or owed, and it waits for nothing";
        nothing(&format!("is cancelled{turned}: {all}"))
    }

    /// What turned the saga around.
    pub(super) fn turned(&self) -> Option<String> {
        let Turn { slot, by, reason } = self.story.state.turned_by.as_ref()?;
        let asked = self.flow.cancels().filter(|_| reason == cancel::REASON);
        let asked = asked.and_then(|cancels| {
            self.story.events.iter().find(|line| line.slot == cancels.asked.slot)
        });
        Some(match asked {
            Some(Line { source, reason, .. }) => {
                let why = reason.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
                format!("{source} asked for it{why}")
            }
            None => format!("{by} refused {slot} ({reason})"),
        })
    }
}
