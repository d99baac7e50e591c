//! One replica and one dependency, still pure: its machine, its part in the fleet, and the messages
//! in hand, of which it says who is called next.
//!
//! The gate drives it with tokio's clock and the simulation with its own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::class::{Class, Tally};
use super::fleet::{Effect, Entry, Fleet, News, Override};
use super::machine::{Machine, State, Ticket, Verdict};
use super::{FleetMode, Message, MessageId, Settings};

mod choice;
mod report;
#[cfg(test)]
mod tests;

/// New work gets this long to arrive before a message that failed is called in its place.
pub(super) const NEW_WORK_FIRST: Duration = Duration::from_millis(200);

/// So many of the messages that were called ahead of their turn are remembered.
const CALLED_AHEAD: usize = 64;

/// What is given back for want of room does not come straight back.
const LEAST_DELAY: Duration = Duration::from_secs(1);

/// One replica's view of one dependency.
#[derive(Debug, Clone)]
pub struct Replica {
    settings: Settings,
    machine: Machine,
    fleet: Fleet,
    /// In hand and waiting for a call.
    held: BTreeMap<MessageId, Message>,
    /// In hand, and to be given back.
    leaving: BTreeMap<MessageId, Duration>,
    /// Subscriptions that have more than was pulled.
    more: BTreeSet<u16>,
    /// A message was pulled and has not come here yet.
    expects: bool,
    /// When there are more than was pulled, single calls are also of those ([`Self::try_ahead`]).
    looks_ahead: bool,
    /// The latest calls, one after the other, were of such messages.
    ahead_in_a_row: u32,
    /// The latest of such messages: one that fails by itself is not to count again and again.
    called_ahead: VecDeque<MessageId>,
    calls: Tally,
    effects: Vec<Effect>,
}

/// What happens to a held message.
#[derive(Debug)]
pub enum Next {
    Call(Ticket),
    /// It failed `max_attempts` times.
    Park(Message),
    GiveBack {
        message: Message,
        delay: Duration,
        charged: u32,
    },
}

impl Replica {
    /// `me` names this process among the replicas, and differs after a restart. Nothing starts
    /// before the key was read ([`Self::seen`]) or found to be unreadable ([`Self::unreadable`]).
    pub fn new(me: impl Into<String>, settings: Settings, seed: u64) -> Self {
        let mut machine = Machine::new(settings, seed);
        match settings.fleet {
            FleetMode::On => {}
            FleetMode::Off => machine.open(Duration::ZERO, false),
            FleetMode::Observe => machine.act(false),
        }
        Self {
            settings,
            machine,
            fleet: Fleet::new(me.into(), settings, seed.wrapping_add(1)),
            held: BTreeMap::new(),
            leaving: BTreeMap::new(),
            more: BTreeSet::new(),
            expects: false,
            looks_ahead: false,
            ahead_in_a_row: 0,
            called_ahead: VecDeque::new(),
            calls: Tally::default(),
            effects: Vec::new(),
        }
    }

    /// A message is in hand and waits for a call. If there are too many, the one due last leaves.
    pub fn hold(&mut self, message: Message, now: Duration) {
        self.held.insert(message.id, message);
        self.fleet.holds(true);
        if self.held.len() > self.settings.holds {
            // Not what was just pulled, or it would go round and round.
            let staying = |held: &&Message| !self.leaving.contains_key(&held.id);
            let staying = self.held.values().filter(staying);
            let last = staying.max_by_key(|held| (!held.is_first_try(), held.due)).copied();
            if let Some(last) = last {
                let delay = last.due.max(last.not_before).saturating_sub(now);
                self.leaving.insert(last.id, delay.max(LEAST_DELAY));
            }
        }
    }

    /// A message stops waiting, because its handling was cancelled.
    pub fn release(&mut self, message: MessageId) {
        self.held.remove(&message);
        self.leaving.remove(&message);
    }

    /// Charged failures that were written down when the message was given back earlier.
    pub fn remember(&mut self, message: MessageId, attempts: u32) {
        self.machine.remember(message, attempts);
    }

    /// A message is no longer in hand: another dependency of its step decided.
    pub fn forget(&mut self, message: MessageId) {
        self.release(message);
        self.machine.forget(message);
    }

    /// Whether a subscription has more messages than were pulled.
    pub fn more(&mut self, source: u16, more: bool) {
        if more {
            self.more.insert(source);
        } else {
            self.more.remove(&source);
        }
    }

    /// Whether a pulled message is on its way here.
    pub fn expects(&mut self, expects: bool) {
        self.expects = expects;
    }

    /// From now on the loop of a subscription looks ahead when [`Self::wants_ahead`] says so.
    pub fn looks_ahead(&mut self) {
        self.looks_ahead = true;
    }

    /// What happens next to a message in hand; call it until it says `None`.
    pub fn next(&mut self, now: Duration) -> Option<Next> {
        if let Some((id, delay)) = self.leaving.pop_first() {
            let Some(message) = self.held.remove(&id) else { return self.next(now) };
            let charged = self.machine.attempts(id);
            self.machine.forget(id);
            return Some(Next::GiveBack { message, delay, charged });
        }
        if let Some(id) = self.used_up() {
            self.machine.forget(id);
            return self.held.remove(&id).map(Next::Park);
        }
        match self.choose(now) {
            Some(id) => {
                let message = self.held.remove(&id)?;
                self.ahead_in_a_row = 0;
                Some(Next::Call(self.machine.start(message, now)))
            }
            None => {
                if self.has_nothing_to_probe(now) {
                    self.machine.nothing_to_probe();
                    self.decide(now);
                }
                None
            }
        }
    }

    /// Starts this message now if it is its turn.
    pub fn try_start(&mut self, message: Message, now: Duration) -> Option<Ticket> {
        let used_up = self.machine.attempts(message.id) >= self.settings.max_attempts;
        if used_up && !message.undo {
            // It is parked instead, which `next` sees to once it is held.
            return None;
        }
        if self.held.contains_key(&message.id) {
            return None;
        }
        self.held.insert(message.id, message);
        let is_its_turn = self.choose(now) == Some(message.id);
        self.held.remove(&message.id);
        is_its_turn.then(|| {
            self.ahead_in_a_row = 0;
            self.machine.start(message, now)
        })
    }

    /// Starts this message, which was not pulled, if one is wanted now and it had no turn yet.
    /// When many in a row fail for reasons of their own, one from behind them shows that the
    /// dependency answers.
    pub fn try_ahead(&mut self, message: Message, now: Duration) -> Option<Ticket> {
        let had_its_turn = self.had_its_turn(&message) || self.called_ahead.contains(&message.id);
        if had_its_turn || !self.wants_ahead(now) {
            return None;
        }
        self.ahead_in_a_row += 1;
        self.called_ahead.truncate(CALLED_AHEAD - 1);
        self.called_ahead.push_front(message.id);
        Some(self.machine.start(message, now))
    }

    /// Ends a call. A message to be held is not held again before [`Self::hold`].
    pub fn finish(&mut self, ticket: Ticket, class: Class, now: Duration) -> Verdict {
        let doubted = self.machine.doubting_since();
        let began = ticket.began();
        self.calls.add(class);
        let verdict = self.machine.finish(ticket, class, now);
        if class.is_answer() {
            self.fleet.answered(began);
        }
        match (doubted, self.machine.state()) {
            (None, State::Doubting(_)) => self.log(News::Doubting(self.machine.reason())),
            (Some(_), State::Flowing) => self.log(News::Answered),
            (None | Some(_), _) => {}
        }
        self.decide(now);
        verdict
    }

    /// The key was read, or written by this replica.
    pub fn seen(&mut self, entry: Entry, revision: u64, now: Duration) {
        self.with_fleet(now, |fleet, machine| fleet.seen(machine, entry, revision, now));
    }

    /// The key was deleted.
    pub fn deleted(&mut self, now: Duration) {
        self.with_fleet(now, |fleet, machine| fleet.deleted(machine, now));
    }

    /// The key or its watch is gone: on its own.
    pub fn unreadable(&mut self, now: Duration) {
        self.with_fleet(now, |fleet, machine| fleet.unreadable(machine, now));
    }

    /// An operator's override, with the time it has left, or none.
    pub fn overridden(&mut self, wanted: Option<(Override, Duration)>, now: Duration) {
        self.with_fleet(now, |fleet, machine| fleet.overridden(machine, wanted, now));
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Duration) {
        self.with_fleet(now, |_, _| Vec::new());
    }

    /// What is to be done since the last time this was asked.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Whether [`Self::take_effects`] would return any.
    pub fn has_effects(&self) -> bool {
        !self.effects.is_empty()
    }

    /// When something may be due by time alone: call [`Self::tick`] and [`Self::next`] then.
    pub fn wakes_at(&self, now: Duration) -> Option<Duration> {
        let fleet = self.fleet.wakes_at(&self.machine);
        let dues = self.held.values().map(|held| held.due.max(held.not_before));
        let due = dues.filter(|due| *due > now).min();
        [fleet, self.machine.wakes_at(now), due].into_iter().flatten().min()
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Messages in hand that wait for a call.
    pub fn held(&self) -> impl Iterator<Item = &Message> {
        self.held.values()
    }

    fn with_fleet(
        &mut self,
        now: Duration,
        input: impl FnOnce(&mut Fleet, &mut Machine) -> Vec<Effect>,
    ) {
        let was_sick = self.machine.is_sick();
        let effects = input(&mut self.fleet, &mut self.machine);
        self.effects.extend(effects);
        self.decide(now);
        if self.machine.is_sick() && !was_sick && self.machine.is_acting() {
            self.leaving.extend(self.held.keys().map(|id| (*id, Duration::ZERO)));
        }
    }

    fn decide(&mut self, now: Duration) {
        self.fleet.holds(!self.held.is_empty());
        let effects = self.fleet.decide(&mut self.machine, now);
        self.effects.extend(effects);
    }

    fn log(&mut self, news: News) {
        self.effects.push(Effect::Log(news));
    }

    fn used_up(&self) -> Option<MessageId> {
        let is_forward = |id: &MessageId| self.held.get(id).is_some_and(|held| !held.undo);
        self.machine.used_up().find(is_forward)
    }
}
