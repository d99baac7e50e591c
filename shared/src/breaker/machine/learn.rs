//! What the machine learns from a result, and what becomes of the message.

use std::time::Duration;

use super::ticket::Kind;
use super::{Doubt, Machine, Parking, State, Ticket, Verdict, hold_wait};
use crate::breaker::Message;
use crate::breaker::class::{Class, retry_after};

/// The first single try comes this soon: a short hiccup should cost no more.
const FIRST_SINGLE: Duration = Duration::from_millis(50);
/// While the fleet asks whether anybody is answered, single tries are this far apart.
const ASKED_SPACE: Duration = Duration::from_millis(300);
/// No held message waits longer: it is in hand, and an answer is cheap to ask for.
const HOLD_MAX: Duration = Duration::from_secs(30);
/// An undo that failed `max_attempts` times goes on for ever, so it goes on slowly.
const HOLD_BLOCKED: Duration = Duration::from_secs(300);

/// A service that works on it is asked this often, because an answer costs it little and a
/// decision should be recorded soon after it is made.
const HOLD_UNDECIDED: Duration = Duration::from_secs(4);
/// So many times, about two minutes: what takes longer, a bank debit, takes days.
const UNDECIDED_SOON: u32 = 64;

/// A replica that is cut off alone tries so many times less often, because the others do its work.
const SICK: u32 = 2;

impl Machine {
    /// The message with its next due time.
    pub(super) fn after(&mut self, message: Message, class: Class, now: Duration) -> Message {
        let longest =
            if message.undo && self.has_used_up(message.id) { HOLD_BLOCKED } else { HOLD_MAX };
        let is_soon = class == Class::Undecided && message.tries < UNDECIDED_SOON;
        let longest = if is_soon { HOLD_UNDECIDED } else { longest };
        let tries = message.tries.saturating_add(1);
        let wait = hold_wait(message.tries, longest, self.random.0.f64());
        let neutral = matches!(class, Class::Bad | Class::Busy(_));
        let message = Message { neutral, ..message };
        match class {
            Class::Answered => message,
            // Nothing was learnt and nothing moves, so it must not be called again at once.
            Class::Local => Message { due: now + wait, not_before: now + wait, ..message },
            Class::Busy(Some(asked)) => {
                let due = now + retry_after(asked, self.random.0.f64());
                Message { tries, due, not_before: due, ..message }
            }
            Class::Busy(None) | Class::Undecided | Class::Bad => {
                Message { tries, due: now + wait, ..message }
            }
            Class::NotSent | Class::Failed | Class::Credentials => {
                Message { tries, due: now + wait, ..message }
            }
        }
    }

    pub(super) fn learn(&mut self, ticket: &Ticket, class: Class, due: Duration, now: Duration) {
        let message = ticket.message;
        if let State::Probing(probe) = &mut self.state {
            probe.end(message.id, class, now);
        }
        match class {
            Class::Answered | Class::Undecided => self.answered(ticket, now),
            Class::NotSent | Class::Failed | Class::Credentials => {
                self.failed(message, class, now);
            }
            Class::Busy(_) => {
                if self.busy.is_full(message.id, due) {
                    self.limit = (self.limit / 2).max(1);
                }
            }
            Class::Bad | Class::Local => {}
        }
        if ticket.kind == Kind::Single {
            self.space_out(class, ticket.began, now);
        }
    }

    fn answered(&mut self, ticket: &Ticket, now: Duration) {
        let message = ticket.message;
        if message.is_first_try() {
            self.window.add(message.id, true, now);
        }
        self.busy.answered();
        self.charges.confirm(ticket.began);
        if matches!(self.state, State::Doubting(_)) && self.run.is_younger_than(ticket.began) {
            return;
        }
        self.run.clear();
        match &self.state {
            State::Flowing => self.limit = (self.limit + 1).min(self.settings.concurrency),
            State::Doubting(doubt) => {
                // Not half of the limit itself: at many random errors it would fall to one, and
                // failures do not mean that the service is full.
                let half = (self.settings.concurrency / 2).max(1);
                self.limit = if doubt.sick { 1 } else { self.limit.min(half) };
                self.state = State::Flowing;
            }
            State::Shut | State::Probing(_) => {}
        }
    }

    fn failed(&mut self, message: Message, class: Class, now: Duration) {
        if message.is_first_try() {
            self.window.add(message.id, false, now);
        }
        self.run.add(&message, class, self.settings.run, now);
        if self.state != State::Flowing {
            return;
        }
        if self.run.is_doubtful(self.settings.run, now) {
            self.charges.forgive();
            let next = now + self.spread(FIRST_SINGLE);
            let space = FIRST_SINGLE * 2;
            self.state =
                State::Doubting(Doubt { since: now, space, next, sick: false, asked: None });
        } else if class.is_chargeable() && self.window.blames(message.id, now) {
            self.charges.charge(message.id, self.settings.max_attempts, now);
        }
    }

    /// The next single try is later than the last one was, unless that was not made at all or only
    /// because the fleet asked.
    fn space_out(&mut self, class: Class, began: Duration, now: Duration) {
        let (space, longest) = match &self.state {
            State::Doubting(doubt) if doubt.sick => (doubt.space, self.settings.wait_max * SICK),
            State::Doubting(doubt) => (doubt.space, self.settings.wait_max),
            State::Flowing | State::Shut | State::Probing(_) => return,
        };
        let next = now + self.spread(space).min(longest);
        let again = now + self.spread(ASKED_SPACE);
        if let State::Doubting(doubt) = &mut self.state {
            doubt.asked = doubt.asked.map(|asked| asked.max(again));
            match class {
                Class::Local => {}
                _ if began < doubt.next => {}
                Class::Answered
                | Class::Undecided
                | Class::Bad
                | Class::Busy(_)
                | Class::NotSent
                | Class::Failed
                | Class::Credentials => {
                    doubt.next = next;
                    doubt.space = (space * 2).min(longest);
                }
            }
        }
    }

    pub(super) fn verdict(&self, message: Message, class: Class, is_plain: bool) -> Verdict {
        match class {
            Class::Answered => Verdict::Settle,
            // While the service is away, its edge may say so of every request.
            Class::Bad if is_plain && self.state == State::Flowing => Verdict::Park(Parking::Bad),
            Class::NotSent | Class::Failed | Class::Credentials if self.gives_back() => {
                Verdict::GiveBack { delay: Duration::ZERO, charged: self.attempts(message.id) }
            }
            Class::Undecided
            | Class::Bad
            | Class::Busy(_)
            | Class::NotSent
            | Class::Failed
            | Class::Credentials
            | Class::Local => Verdict::Hold(message),
        }
    }

    /// Others are answered: what fails here goes to them at once.
    fn gives_back(&self) -> bool {
        self.acting && self.is_sick()
    }
}
