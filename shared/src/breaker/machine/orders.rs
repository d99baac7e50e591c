//! What the fleet tells the machine, and what it asks of it.

use std::time::Duration;

use super::{Epoch, Machine, Proof, State};
use crate::breaker::MessageId;
use crate::breaker::fleet::Reason;
use crate::breaker::replica::NEW_WORK_FIRST;

impl Machine {
    /// The fleet is paused, or another replica probes: nothing starts, and what is in flight
    /// decides nothing any more.
    pub fn shut(&mut self) {
        self.begin(State::Shut);
    }

    /// This replica makes the test calls.
    pub fn probe(&mut self, now: Duration) {
        self.begin(State::Probing(super::Probe::new(now)));
    }

    /// Calls flow again from `at` on, one at first when `gently`.
    pub fn open(&mut self, at: Duration, gently: bool) {
        self.limit = if gently { 1 } else { self.settings.concurrency };
        self.opens_at = at;
        self.begin(State::Flowing);
    }

    fn begin(&mut self, state: State) {
        self.epoch = Epoch(self.epoch.0 + 1);
        self.run.clear();
        self.charges.forgive();
        self.busy.answered();
        self.state = state;
    }

    /// Others are answered while this replica doubts: it is the sick one.
    pub fn sicken(&mut self) {
        if let State::Doubting(doubt) = &mut self.state {
            doubt.sick = true;
        }
    }

    /// Another replica gets no answers and asks whether anybody does: single tries from `at` on.
    /// Without it, replicas that wait long would pause the fleet over errors at random.
    pub fn ask(&mut self, at: Duration) {
        if let State::Doubting(doubt) = &mut self.state {
            doubt.asked = Some(at);
        }
    }

    /// The question is answered: single tries come as rarely as before it.
    pub fn ask_no_more(&mut self) {
        if let State::Doubting(doubt) = &mut self.state {
            doubt.asked = None;
        }
    }

    /// Whether decisions are acted on. What they are does not depend on it.
    pub fn act(&mut self, acting: bool) {
        self.acting = acting;
    }

    /// Whether decisions are acted on.
    pub fn is_acting(&self) -> bool {
        self.acting
    }

    /// The prober found no message to probe with.
    pub fn nothing_to_probe(&mut self) {
        if let State::Probing(probe) = &mut self.state {
            probe.exhaust();
        }
    }

    /// What the probes have shown, once they have.
    pub fn proof(&self) -> Option<Proof> {
        match &self.state {
            State::Probing(probe) => probe.proof(),
            State::Flowing | State::Doubting(_) | State::Shut => None,
        }
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    /// Begins at 0 and only grows.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Most calls at once, as learnt.
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// Whether there are as many slots as there can be, so that nobody needs to be put first.
    pub fn is_full_speed(&self) -> bool {
        self.state == State::Flowing && self.limit == self.settings.concurrency
    }

    /// Calls in flight, of any epoch.
    pub fn out(&self) -> u32 {
        self.out
    }

    /// Whether the fleet keeps this replica from calling.
    pub fn is_stopped(&self) -> bool {
        match &self.state {
            State::Shut | State::Probing(_) => true,
            State::Flowing | State::Doubting(_) => false,
        }
    }

    /// Whether this replica makes the test calls.
    pub fn is_probing(&self) -> bool {
        matches!(self.state, State::Probing(_))
    }

    /// Since when there were no answers.
    pub fn doubting_since(&self) -> Option<Duration> {
        match &self.state {
            State::Doubting(doubt) => Some(doubt.since),
            State::Flowing | State::Shut | State::Probing(_) => None,
        }
    }

    pub fn is_sick(&self) -> bool {
        matches!(&self.state, State::Doubting(doubt) if doubt.sick)
    }

    /// Why there are no answers: `Credentials` if no failure of this run was anything else.
    pub fn reason(&self) -> Reason {
        self.run.reason()
    }

    /// Charged failures of a message in hand.
    pub fn attempts(&self, message: MessageId) -> u32 {
        self.charges.of(message)
    }

    /// What was written down when the message was given back earlier.
    pub fn remember(&mut self, message: MessageId, attempts: u32) {
        self.charges.load(message, attempts.min(self.settings.max_attempts));
    }

    /// The message is no longer in hand.
    pub fn forget(&mut self, message: MessageId) {
        self.charges.forget(message);
    }

    /// Charged failures of all messages since the start.
    pub fn charged_total(&self) -> u64 {
        self.charges.totals().map(|(_, total)| total).sum()
    }

    /// Charged failures of the messages of one subscription since the start.
    pub fn charged_of(&self, source: u16) -> u64 {
        self.charges.totals().find(|(of, _)| *of == source).map_or(0, |(_, total)| total)
    }

    /// The messages in hand that failed as often as they may.
    pub fn used_up(&self) -> impl Iterator<Item = MessageId> {
        self.charges.at_least(self.settings.max_attempts)
    }

    /// Whether a message failed as often as it may.
    pub fn has_used_up(&self, message: MessageId) -> bool {
        self.attempts(message) >= self.settings.max_attempts
    }

    /// When [`Self::offer`] may change by time alone.
    pub fn wakes_at(&self, now: Duration) -> Option<Duration> {
        let (by_state, is_single) = match &self.state {
            State::Flowing => (self.opens_at.max(self.idle_since), self.limit == 1),
            State::Doubting(doubt) => (doubt.due().max(self.idle_since), true),
            State::Shut => (Duration::ZERO, false),
            State::Probing(probe) => (probe.since(), true),
        };
        let next = by_state.max(self.busy.until());
        // A message tried before gets its turn when no new one has come in the meantime.
        let late = is_single.then_some(next + NEW_WORK_FIRST);
        let nothing = self.is_probing().then_some(next + self.settings.nothing_after());
        let times = [Some(next), Some(self.busy.until()), late, nothing];
        times.into_iter().flatten().filter(|at| *at > now).min()
    }
}
