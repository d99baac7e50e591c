//! The words for a message that is tried again and again: whether its service answers others, and
//! what a person can do about it, because it may go on for ever without being set aside.

use super::{Said, Words, clock, error, lasted, next_try, said};
use crate::worker::held::Held;

impl Words<'_> {
    pub(super) fn of_a_retry(&self, held: &Held) -> Said {
        let (worker, _) = self.names();
        let since = self.story.state.waits_for.as_ref().map_or(held.since, |waits| waits.since);
        let (from, long) = (clock(since), lasted(since, self.seen.now));
        let (attempt, error) = (held.attempt, error(held));
        let what = format!(
            "waits for {worker} to be answered, since {from} ({long}): attempt {attempt} failed: \
             {error}"
        );
        let next = match held.charged {
            0 => format!("{}, and so on until it is answered", next_try(held)),
            _ => next_try(held),
        };
        said(what, next, format!("{}; {}", self.how_others_fare(held), self.what_ends_it()))
    }

    /// What its replicas say of their other messages, and of the services.
    fn how_others_fare(&self, held: &Held) -> String {
        let all = self.seen.replicas.iter().flat_map(|replica| &replica.held);
        let others = all.filter(|one| one.last_error.is_some() && one.sequence != held.sequence);
        let (saga, worker) = (self.flow.saga, self.names().0);
        let others = match others.count() {
            0 => format!("no other {saga} fails at {worker}"),
            1 => format!("another {saga} fails at {worker}, too"),
            count => format!("{count} others fail at {worker}, too"),
        };
        let breakers = || self.seen.replicas.iter().flat_map(|replica| &replica.breakers);
        let since = breakers().filter_map(|one| Some((one, one.doubting_since?)));
        match (since.min_by_key(|(_, since)| *since), breakers().next()) {
            (Some((one, since)), _) => {
                format!("{others}, and {} gives no answers since {}", one.dependency, clock(since))
            }
            (None, Some(one)) => format!("{others}, and {} counts as working", one.dependency),
            (None, None) => others,
        }
    }

    fn what_ends_it(&self) -> String {
        let (flow, tool, id) = (self.flow, self.tool, &self.story.id);
        let services = self.seen.services.iter().map(|service| service.name).collect::<Vec<_>>();
        let side = match services.as_slice() {
            [] => "look at the log of its worker".to_owned(),
            services => format!("ask {} about this {}", services.join(" and "), flow.saga),
        };
        let turned = self.story.state.turned_by.is_some() || self.story.is_past_its_pivot(flow);
        match flow.cancels() {
            Some(_) if !turned => format!("{side}, or `{tool} cancel {id}` takes it back"),
            Some(_) | None => format!("{side}: nothing else ends it"),
        }
    }
}
