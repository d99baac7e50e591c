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
                next_try(held, self.seen.now)
            ),
            count => {
                let then = match self.is_undo() {
                    true => "it is tried more slowly; it is never given up",
                    false => "it waits for a human",
                };
                format!(
                    "{}; {count} of its failures count, and after {MOST_ATTEMPTS}, unless \
                     max_attempts is set otherwise, {then}",
                    next_try(held, self.seen.now)
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
        let mut services = BTreeMap::<_, Vec<_>>::new();
        for replica in &self.seen.replicas {
            for one in &replica.breakers {
                services.entry(&one.dependency).or_default().push((one, &*replica.instance));
            }
        }
        let of = |(name, mut said): (_, Vec<(&Breaker, &str)>)| {
            let worst = said.iter().map(|(one, _)| trouble(one)).max();
            said.retain(|(one, _)| Some(trouble(one)) == worst);
            format!(", and {name} {}", told(&said))
        };
        services.into_iter().map(of).collect()
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

/// How bad it is; 0 if it counts as working.
fn trouble(service: &Breaker) -> u8 {
    match (service.doubting_since, service.phase) {
        (Some(_), _) if service.cut_off => 5,
        (Some(_), _) => 6,
        (None, Phase::Flowing) if service.gate_open => 0,
        (None, Phase::Flowing) => 1,
        (None, Phase::Suspected) => 2,
        (None, Phase::Probing) => 3,
        (None, Phase::Paused) => 4,
    }
}

/// What it is called, which replicas say with one voice, each with its name.
fn told(said: &[(&Breaker, &str)]) -> String {
    let at = match said {
        [(_, replica)] => (*replica).to_owned(),
        several => format!("{} replicas", several.len()),
    };
    if let Some(since) = said.iter().filter_map(|(one, _)| one.doubting_since).min() {
        let others =
            if said.iter().all(|(one, _)| one.cut_off) { ", and others are answered" } else { "" };
        return format!("gives {at} no answers since {}{others}", clock(since));
    }
    let phase = match said.first().map(|(one, _)| (one.phase, one.gate_open)) {
        Some((Phase::Flowing, true)) | None => return "counts as working".to_owned(),
        Some((Phase::Flowing, false)) => "shut",
        Some((Phase::Suspected, _)) => "suspected",
        Some((Phase::Paused, _)) => "paused",
        Some((Phase::Probing, _)) => "probing",
    };
    format!("does not count as working at {at}: {phase}")
}
