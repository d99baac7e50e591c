//! What one replica knows of one dependency from its own calls, and which calls may start.
//!
//! Pure: time is a `Duration` since any start, chance comes from a seed. The fleet's decisions
//! arrive as [`Machine::shut`], [`Machine::probe`] and [`Machine::open`]; between them the machine
//! flows or doubts by itself. It never waits, writes or logs.

use std::time::Duration;

use super::class::Class;
use super::replica::NEW_WORK_FIRST;
use super::window::Window;
use super::{Message, Settings};

mod busy;
mod charges;
mod learn;
mod orders;
mod probe;
mod run;
mod ticket;
#[cfg(test)]
mod tests;

use busy::Busy;
use charges::Charges;
pub use probe::{Probe, Proof};
pub use run::{DIFFERENT, Run};
use ticket::Kind;
pub use ticket::{Offer, Parking, Ticket, Verdict};

/// Replicas that began to doubt together do not try together.
const SPREAD: std::ops::Range<f64> = 0.8..1.2;
/// The first wait of a held message.
const HOLD: Duration = Duration::from_secs(1);

/// A number that changes whenever the fleet pauses, probes or opens: what began before it is not
/// evidence about what is true after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(u64);

/// The replica's view of one dependency.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    settings: Settings,
    state: State,
    epoch: Epoch,
    /// Most calls at once, as learnt.
    limit: u32,
    out: u32,
    retries_out: u32,
    /// Whether the latest call was of a message tried before.
    was_retry: bool,
    idle_since: Duration,
    /// When a recovered replica begins, so that the fleet does not begin at one moment.
    opens_at: Duration,
    run: Run,
    window: Window,
    charges: Charges,
    busy: Busy,
    random: Random,
    acting: bool,
}

/// The generator, comparable so that tests can say "nothing moved".
#[derive(Debug, Clone)]
struct Random(fastrand::Rng);

impl PartialEq for Random {
    fn eq(&self, other: &Self) -> bool {
        self.0.get_seed() == other.0.get_seed()
    }
}

/// What the replica is doing.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// Calls run, up to the limit.
    Flowing,
    /// No answers: one call at a time, further and further apart.
    Doubting(Doubt),
    /// The fleet is paused, or another replica probes.
    Shut,
    /// This replica makes the calls that test the paused dependency.
    Probing(Probe),
}

/// A spell without answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    since: Duration,
    space: Duration,
    next: Duration,
    /// Others are answered: it is this replica that is cut off.
    sick: bool,
    /// The fleet asks whether anybody is answered, and waits for this replica from then on.
    asked: Option<Duration>,
}

impl Doubt {
    /// When the next single try may begin.
    fn due(&self) -> Duration {
        self.asked.map_or(self.next, |asked| asked.min(self.next))
    }
}

impl Machine {
    /// Shut until the fleet's key was read, or was found to be unreadable.
    pub fn new(settings: Settings, seed: u64) -> Self {
        Self {
            settings,
            state: State::Shut,
            epoch: Epoch(0),
            limit: settings.concurrency,
            out: 0,
            retries_out: 0,
            was_retry: false,
            idle_since: Duration::ZERO,
            opens_at: Duration::ZERO,
            run: Run::default(),
            window: Window::default(),
            charges: Charges::default(),
            busy: Busy::default(),
            random: Random(fastrand::Rng::with_seed(seed)),
            acting: true,
        }
    }

    /// Which calls may start now.
    pub fn offer(&self, now: Duration) -> Offer {
        if !self.acting {
            return self.free(self.settings.concurrency, now);
        }
        if now < self.busy.until() {
            return Offer::Nothing;
        }
        match &self.state {
            State::Flowing if now >= self.opens_at => self.free(self.limit, now),
            State::Doubting(doubt) if self.out == 0 && now >= doubt.due() => {
                Offer::Single { since: doubt.due().max(self.idle_since).max(self.busy.until()) }
            }
            State::Probing(probe) => probe.offer(self.busy.until()),
            State::Flowing | State::Doubting(_) | State::Shut => Offer::Nothing,
        }
    }

    fn free(&self, limit: u32, now: Duration) -> Offer {
        match limit.saturating_sub(self.out) {
            0 => Offer::Nothing,
            free => {
                // With one slot they take turns, or the few that always fail would keep it; but the
                // new work may have gone to other replicas.
                let nothing_new = self.out == 0 && now >= self.idle_since + NEW_WORK_FIRST;
                let turn = u32::from(!self.was_retry || nothing_new);
                let most = if limit == 1 { turn } else { limit / 2 };
                Offer::Free { free, retries: most.saturating_sub(self.retries_out) }
            }
        }
    }

    /// Begins a call that [`Self::offer`] allows.
    pub fn start(&mut self, message: Message, now: Duration) -> Ticket {
        self.out += 1;
        self.was_retry = !message.is_first_try();
        self.retries_out += u32::from(self.was_retry);
        let kind = match &mut self.state {
            State::Flowing | State::Shut => Kind::Plain,
            State::Doubting(_) => Kind::Single,
            State::Probing(probe) => {
                probe.begin(message.id);
                Kind::Probe
            }
        };
        Ticket { message, epoch: self.epoch, kind, began: now }
    }

    /// Ends a call: its slot is free, the machine has learnt, and the message has its verdict.
    pub fn finish(&mut self, ticket: Ticket, class: Class, now: Duration) -> Verdict {
        self.out -= 1;
        self.retries_out -= u32::from(!ticket.message.is_first_try());
        if self.out == 0 {
            self.idle_since = now;
        }
        let message = self.after(ticket.message, class, now);
        if ticket.epoch == self.epoch {
            self.learn(&ticket, class, message.due, now);
        }
        let is_plain = ticket.kind == Kind::Plain && ticket.epoch == self.epoch;
        let verdict = self.verdict(message, class, is_plain);
        match verdict {
            Verdict::Hold(_) => {}
            Verdict::Settle | Verdict::Park(_) | Verdict::GiveBack { .. } => {
                self.charges.forget(message.id);
            }
        }
        verdict
    }

    fn spread(&mut self, wait: Duration) -> Duration {
        wait.mul_f64(SPREAD.start + (SPREAD.end - SPREAD.start) * self.random.0.f64())
    }
}

/// How long a held message waits after it was tried `tries` times before: doubled from 1 s, full
/// jitter by `chance` (0 to 1), at most `longest`.
pub fn hold_wait(tries: u32, longest: Duration, chance: f64) -> Duration {
    let doubled = HOLD.saturating_mul(1 << tries.min(20));
    doubled.min(longest).mul_f64(chance.clamp(0.0, 1.0))
}
