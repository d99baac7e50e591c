//! The words for a message that is tried again and again: whether its service answers others, and
//! what a person can do about it, because it may go on for ever without being set aside.

use std::collections::BTreeMap;

use super::super::reason::MOST_ATTEMPTS;
use super::{Said, Words, clock, error, lasted, next_try, said};
use crate::breaker::fleet::Phase;
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
        let next = match held.charged {
            0 => format!(
                "{}, and so on until it is answered; no failure counts against it so far",
                next_try(held)
            ),
            count => {
                let then = match self.is_undo() {
                    true => "it is tried more slowly; it is never given up",
                    false => "it waits for a human",
                };
                format!(
                    "{}; {count} of its failures count, and after {MOST_ATTEMPTS}, unless \
                     max_attempts is set otherwise, {then}",
                    next_try(held)
                )
            }
        };
        let ends = self.what_ends_it(held);
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
            (0, false) => {
                format!("no other {saga} is known to fail at {worker}, as far as its replicas say")
            }
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
        let mut worst = BTreeMap::new();
        for replica in &self.seen.replicas {
            for one in &replica.breakers {
                let told = told(one, &replica.instance);
                let worst = worst.entry(&one.dependency).or_insert_with(|| told.clone());
                if told.0 > worst.0 {
                    *worst = told;
                }
            }
        }
        worst.into_iter().map(|(name, (_, told))| format!(", and {name} {told}")).collect()
    }

    fn what_ends_it(&self, held: &Held) -> String {
        let (flow, tool, id) = (self.flow, self.tool, &self.story.id);
        let services = self.seen.services.iter().map(|service| service.name).collect::<Vec<_>>();
        let side = match services.as_slice() {
            [] => "look at the log of its worker".to_owned(),
            services => format!("ask {} about this {}", services.join(" and "), flow.saga),
        };
        let turned = self.story.state.turned_by.is_some() || self.story.is_past_its_pivot(flow);
        let before = self.seen.deadline.map_or("", |_| " before its deadline");
        match flow.cancels() {
            Some(_) if !turned => format!("{side}, or `{tool} cancel {id}` takes it back"),
            Some(_) | None if held.charged == 0 || self.is_undo() => {
                format!("{side}: nothing else ends it{before}")
            }
            // After some failures more it is set aside.
            Some(_) | None => side,
        }
    }

    fn is_undo(&self) -> bool {
        self.story.state.waits_for.as_ref().is_some_and(|waits| {
            let undo = self.flow.row(&waits.worker).and_then(|row| row.undo);
            undo.is_some_and(|undo| undo.slot == waits.slot)
        })
    }
}

/// How bad it is, and what it is called; `at` is the replica that says so.
fn told(service: &Breaker, at: &str) -> (u8, String) {
    if let Some(since) = service.doubting_since {
        let none = format!("gives {at} no answers since {}", clock(since));
        return match service.cut_off {
            true => (2, format!("{none}, and others are answered")),
            false => (3, none),
        };
    }
    let phase = match service.phase {
        Phase::Flowing if service.gate_open => return (0, "counts as working".to_owned()),
        Phase::Flowing => "shut",
        Phase::Suspected => "suspected",
        Phase::Paused => "paused",
        Phase::Probing => "probing",
    };
    (1, format!("does not count as working at {at}: {phase}"))
}
