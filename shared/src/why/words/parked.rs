//! The words for a message that was set aside.

use super::{Code, Said, Words, clock, lasted, said};
use crate::Reason;
use crate::log::parked::{self, Parked};

impl Words<'_> {
    /// What to do about an opening of this type: a version may be newer, a type mistyped, too.
    pub(super) fn of_an_unknown_opening(&self, event_type: &str) -> String {
        let (worker, _) = self.names();
        let known = self.flow.opens.event.rsplit_once(".v").map(|(name, _)| name);
        if event_type.rsplit_once(".v").map(|(name, _)| name) == known {
            return format!("start a {worker} that knows this version");
        }
        format!(
            "if a newer client wrote it, start a {worker} that knows this type; if it is a typing \
             mistake, take all of this {} out of the log, as Quadrille's ops/replay.md says",
            self.flow.saga
        )
    }

    pub(super) fn of_parked(&self, entry: &Parked, code: Code) -> Said {
        let (worker, _) = self.names();
        let (tool, id) = (self.tool, &self.story.id);
        let place = match entry.pointer.as_str() {
            "" => String::new(),
            pointer => format!(" at {pointer}"),
        };
        let shows = format!("`{tool} parked show {id}` shows it");
        let retries = format!("`{tool} parked retry {id} --reason mended --write` tries it again");
        // A step that nothing takes back, behind the pivot, cannot be told to refuse either.
        let row = self.flow.row(&entry.durable);
        let is_given_up = row.is_none_or(|row| row.undo.is_some() || row.pivot.is_some());
        let gives_up = |before: &str| match is_given_up {
            true => {
                format!("{before}`{tool} parked discard {id} --reason REASON --write` gives it up")
            }
            false => String::new(),
        };
        let advice = match code {
            _ if entry.reason == Reason::UnknownType.code() => format!(
                "{shows}; if a newer client wrote it, start a {worker} that knows this type, then \
                 {retries}; if it is a typing mistake, take all of this {} out of the log, as \
                 Quadrille's ops/replay.md says: until then its id is spent",
                self.flow.saga
            ),
            Code::UnknownVersion => {
                format!("{shows}; start a {worker} that knows this version, then {retries}")
            }
            _ if parked::is_for_good(self.flow, entry) => format!(
                "{shows}, and it stays as it is; `{tool} parked discard {id} --reason unreadable \
                 --write` closes it, and its id is spent: a mended one needs another id"
            ),
            _ if entry.reason == Reason::MalformedHeader.code() => format!(
                "{shows}; nothing needs to be mended: {retries}, with what can be read of it{}",
                gives_up(", and ")
            ),
            _ => format!(
                "{shows}; mend the cause, then {retries}{}",
                gives_up("; where it cannot be mended, ")
            ),
        };
        said(
            format!(
                "waits for a human since {} ({}), because {} set message {} aside: {}{place}: {}",
                clock(entry.parked_at),
                lasted(entry.parked_at, self.seen.now),
                entry.durable,
                entry.sequence,
                entry.reason,
                entry.message
            ),
            "nothing happens by itself",
            advice,
        )
    }
}
