//! The words for a message that is tried again and again: whether its service answers others, and
//! what a person can do about it, because it may go on for ever without being set aside.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::reason::BLOCKED_AFTER;
use super::{Said, Words, clock, error, lasted, next_try, said};
use crate::breaker::fleet::Phase;
use crate::flow::Role;
use crate::worker::held::{Breaker, Held};

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
        let deadline =
            self.seen.deadline.map(|(_, until)| format!("its deadline, {}", clock(until)));
        let or = deadline.as_ref().map(|it| format!(", or until {it}")).unwrap_or_default();
        let next = match held.charged {
            0 => format!(
                "{}, and so on until it is answered{or}; no failure counts against it so far",
                next_try(held)
            ),
            count => format!(
                "{}; {count} of its failures count, and after {BLOCKED_AFTER}, unless \
                 max_attempts is set otherwise, it waits for a human",
                next_try(held)
            ),
        };
        let ends = self.what_ends_it(held, deadline.as_deref());
        said(what, next, format!("{}{}; {ends}", self.how_others_fare(held), self.services()))
    }

    /// What its replicas say of their other messages.
    fn how_others_fare(&self, held: &Held) -> String {
        let all = self.seen.replicas.iter().flat_map(|replica| &replica.held);
        let this = |one: &Held| one.durable == held.durable && one.sequence == held.sequence;
        let others = all.filter(|one| one.last_error.is_some() && !this(one)).count();
        let (saga, worker) = (self.flow.saga, self.names().0);
        match (others, self.all_named(held)) {
            (0, true) => format!("no other {saga} fails at {worker}"),
            (0, false) => format!(
                "no other {saga} is known to fail at {worker}, whose replicas did not name all \
                 that they hold"
            ),
            (1, true) => format!("another {saga} fails at {worker}, too"),
            (count, true) => format!("{count} others fail at {worker}, too"),
            (1, false) => format!("at least one other {saga} fails at {worker}, too"),
            (count, false) => format!("at least {count} others fail at {worker}, too"),
        }
    }

    /// Whether the replicas that answered named all that is held: one that does not answer is
    /// missing, but what it was delivered is in hand.
    fn all_named(&self, held: &Held) -> bool {
        let named = self.seen.replicas.iter().flat_map(|replica| &replica.held);
        let named = named.filter(|one| one.durable == held.durable).count() as u64;
        let durable = self.seen.durable.as_ref();
        durable.is_some_and(|durable| durable.in_hand <= named)
            && self.seen.unanswered.is_empty()
            && self.seen.replicas.iter().all(|one| one.held.len() == one.held_total)
    }

    /// What the replicas say of each service: the worst, where they differ.
    fn services(&self) -> String {
        let each = self.seen.replicas.iter();
        let each = || each.clone().flat_map(|at| at.breakers.iter().map(move |one| (at, one)));
        let names: BTreeSet<_> = each().map(|(_, one)| &one.dependency).collect();
        let said = names.into_iter().map(|name| {
            let of_this = || each().filter(|(_, one)| one.dependency == *name);
            let since = of_this().filter_map(|(_, one)| one.doubting_since).min();
            let works = |one: &Breaker| one.gate_open && one.phase == Phase::Flowing;
            match (since, of_this().find(|(_, one)| !works(one))) {
                (Some(since), _) => format!(", and {name} gives no answers since {}", clock(since)),
                (None, Some((at, one))) => {
                    let at = &at.instance;
                    format!(", and {name} does not count as working at {at}: {}", phase(one))
                }
                (None, None) => format!(", and {name} counts as working"),
            }
        });
        said.collect()
    }

    fn what_ends_it(&self, held: &Held, deadline: Option<&str>) -> String {
        let (flow, tool, id) = (self.flow, self.tool, &self.story.id);
        let services = self.seen.services.iter().map(|service| service.name).collect::<Vec<_>>();
        let side = match services.as_slice() {
            [] => "look at the log of its worker".to_owned(),
            services => format!("ask {} about this {}", services.join(" and "), flow.saga),
        };
        let turned = self.story.state.turned_by.is_some() || self.story.is_past_its_pivot(flow);
        let is_undo = self.seen.awaited.as_ref().is_some_and(|one| one.role == Role::Undo);
        let before = deadline.map(|it| format!(" before {it}")).unwrap_or_default();
        match flow.cancels() {
            Some(_) if !turned => format!("{side}, or `{tool} cancel {id}` takes it back"),
            Some(_) | None if held.charged == 0 || is_undo => {
                format!("{side}: nothing else ends it{before}")
            }
            // After some failures more it is set aside.
            Some(_) | None => side,
        }
    }
}

/// `paused`; `shut`, where a replica takes no messages whatever the phase.
fn phase(breaker: &Breaker) -> String {
    match serde_json::to_value(breaker.phase) {
        Ok(Value::String(phase)) if breaker.phase != Phase::Flowing => phase,
        _ => "shut".to_owned(),
    }
}
