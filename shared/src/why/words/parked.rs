//! The words for a message that was set aside.

use super::{Code, Said, Words, clock, lasted, said};
use crate::Reason;
use crate::log::parked::{self, Parked};

impl Words<'_> {
    pub(super) fn of_parked(&self, entry: &Parked, code: Code) -> Said {
        let (worker, _) = self.names();
        let (tool, id) = (self.tool, &self.story.id);
        let place = match entry.pointer.as_str() {
            "" => String::new(),
            pointer => format!(" at {pointer}"),
        };
        let shows = format!("`{tool} parked show {id}` shows it");
        let retries = format!("`{tool} parked retry {id} --reason mended --write` tries it again");
        let gives_up = format!("`{tool} parked discard {id} --reason REASON --write` gives it up");
        let advice = match code {
            _ if entry.reason == Reason::UnknownType.code() => format!(
                "{shows}; if a newer client wrote it, start a {worker} that knows this type, then \
                 {retries}; if it is a typing mistake, take all of this {} out of the log, as \
                 Quadrille's ops/replay.md says: until then it harms no other, and its id is spent",
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
                "{shows}; nothing needs to be mended: {retries}, with what can be read of it, and \
                 {gives_up}"
            ),
            _ => format!(
                "{shows}; mend the cause, then {retries}; where it cannot be mended, {gives_up}"
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
