//! The fleet decides together over one compare-and-set key: it pauses when a replica gets no answer
//! and nobody contradicts with one.
//!
//! Pure: what is seen in the key, the replica's own machine and the time go in; proposals for the
//! key, the server's pauses and news for the log come out. All times run on the replica's own clock
//! from the moment it sees an entry, so that clocks need not agree.

use std::time::Duration;

use super::Settings;
use super::machine::Machine;

mod enter;
mod entry;
mod force;
mod plan;
#[cfg(test)]
mod tests;

pub use entry::{Effect, Entry, Mode, News, Override, Phase, Reason};
use plan::Plan;

/// A doubt shorter than this is nobody else's business.
const SUSPECT_AFTER: Duration = Duration::from_millis(500);
/// Time for the key to travel, beside the time that a call may take.
const TRAVEL: Duration = Duration::from_millis(200);
/// Replicas that wait for the same moment do not all write.
const STAGGER: Duration = Duration::from_millis(100);
/// A proposal without an effect is made again.
const PROPOSE_AGAIN: Duration = Duration::from_secs(1);
/// After this long without a pause, the next one is short again.
const CALM: Duration = Duration::from_secs(60);
/// Nobody mends credentials in two seconds, and many services lock out who keeps trying.
const CREDENTIALS_WAIT: Duration = Duration::from_secs(60);
/// Whatever the key says, no pause blocks for longer: it may have been written by another version.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// One replica's part in the fleet, for one dependency.
#[derive(Debug, Clone)]
pub struct Fleet {
    me: String,
    settings: Settings,
    random: fastrand::Rng,
    key: Key,
    /// What is decided on. While observing, what would have been written counts as seen.
    view: View,
    /// What is stored.
    stored: View,
    forced: Option<(Override, Duration)>,
    open_since: Duration,
    quiet_until: Duration,
    asked: Option<Duration>,
    holds: bool,
    /// This replica's own calls led to a pause, since the fleet last flowed.
    failed: bool,
}

/// Whether the key can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    NotYet,
    Read,
    /// Each replica is on its own.
    Lost,
}

/// Whether an entry is news to this replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// The first that it read.
    First,
    New,
    /// Seen before, and now it counts again.
    Already,
}

/// An entry, and when it was seen here.
#[derive(Debug, Clone, Default)]
struct View {
    entry: Entry,
    revision: u64,
    at: Duration,
    stagger: Duration,
    /// This replica got an answer to a call that it began after it saw the suspicion.
    contradicted: bool,
}

impl Fleet {
    /// `me` names this process among the replicas, and differs after a restart.
    pub fn new(me: String, settings: Settings, seed: u64) -> Self {
        Self {
            me,
            settings,
            random: fastrand::Rng::with_seed(seed),
            key: Key::NotYet,
            view: View::default(),
            stored: View::default(),
            forced: None,
            open_since: Duration::ZERO,
            quiet_until: Duration::ZERO,
            asked: None,
            holds: false,
            failed: false,
        }
    }

    /// Whether there are messages in hand: a prober without any can find out nothing while others
    /// hold some.
    pub fn holds(&mut self, holds: bool) {
        self.holds = holds;
    }

    /// The key was read, by the watch or because this replica wrote it. Older revisions are
    /// ignored. Call it with the default entry where there is none.
    pub fn seen(
        &mut self,
        machine: &mut Machine,
        entry: Entry,
        revision: u64,
        now: Duration,
    ) -> Vec<Effect> {
        let (key, old) = (self.key, self.stored.revision);
        if key == Key::Read && revision <= old {
            return Vec::new();
        }
        let mut effects = Vec::new();
        if key == Key::Lost {
            effects.push(Effect::Log(News::KeyReadable));
        }
        self.key = Key::Read;
        self.asked = None;
        let is_known = key == Key::Lost && revision == old;
        let news = match key {
            Key::NotYet => Known::First,
            Key::Lost if is_known => Known::Already,
            Key::Lost | Key::Read => Known::New,
        };
        if !is_known {
            let stagger = STAGGER.mul_f64(self.random.f64());
            let pauses = entry.phase == Phase::Paused && entry.by == self.me;
            let acts = !matches!(self.mode(), Some(Mode::Observe | Mode::Flowing));
            if pauses && key == Key::Read && acts {
                effects.push(Effect::PauseServer(entry.wait().min(LONGEST_PAUSE)));
            }
            self.stored = View { entry, revision, at: now, stagger, contradicted: false };
        }
        self.view = self.stored.clone();
        self.enter(machine, news, now, &mut effects);
        effects
    }

    /// The key was deleted: as if nothing had ever been written, and revisions begin anew.
    pub fn deleted(&mut self, machine: &mut Machine, now: Duration) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.key == Key::Read && self.stored.revision > 0 {
            self.asked = None;
            self.stored = View { at: now, ..View::default() };
            self.view = self.stored.clone();
            self.enter(machine, Known::New, now, &mut effects);
        }
        effects
    }

    /// The key cannot be read or its watch has ended: this replica is on its own. A pause that is
    /// known of runs to its end.
    pub fn unreadable(&mut self, machine: &mut Machine, now: Duration) -> Vec<Effect> {
        match self.key {
            Key::Lost => return Vec::new(),
            Key::NotYet if self.mode() != Some(Mode::Paused) => self.open(machine, now, true),
            Key::NotYet | Key::Read => {}
        }
        self.key = Key::Lost;
        self.asked = None;
        machine.ask_no_more();
        vec![Effect::Log(News::KeyUnreadable)]
    }

    /// A call that began at `began` was answered: this may contradict a suspicion.
    pub fn answered(&mut self, began: Duration) {
        if self.view.entry.phase == Phase::Suspected && began >= self.view.at {
            self.view.contradicted = true;
        }
    }

    /// Decides what is due. Call it after every input and at [`Self::wakes_at`].
    pub fn decide(&mut self, machine: &mut Machine, now: Duration) -> Vec<Effect> {
        if self.forced.as_ref().is_some_and(|(_, ends)| now >= *ends) {
            return self.overridden(machine, None, now);
        }
        let Some((at, plan)) = self.plan(machine) else { return Vec::new() };
        if now < at || self.asked.is_some_and(|asked| now < asked + PROPOSE_AGAIN) {
            return Vec::new();
        }
        let mut effects = Vec::new();
        let entry = match plan {
            Plan::Open => {
                self.open_gently(machine, now);
                return effects;
            }
            Plan::Write(entry) => entry,
            Plan::Pause { k, reason } => self.pause(k, reason),
        };
        if self.mode() == Some(Mode::Observe) {
            effects.push(Effect::Log(News::WouldWrite(entry.clone())));
            let (revision, stagger) = (self.view.revision, self.view.stagger);
            self.view = View { entry, revision, at: now, stagger, contradicted: false };
            self.enter(machine, Known::New, now, &mut effects);
        } else {
            self.asked = Some(now);
            effects.push(Effect::Write { expected: self.stored.revision, entry });
        }
        effects
    }

    /// When [`Self::decide`] has something to do, if nothing else happens.
    pub fn wakes_at(&self, machine: &Machine) -> Option<Duration> {
        let again = self.asked.map_or(Duration::ZERO, |asked| asked + PROPOSE_AGAIN);
        let planned = self.plan(machine).map(|(at, _)| at.max(again));
        let ends = self.forced.as_ref().map(|(_, ends)| *ends);
        planned.into_iter().chain(ends).min()
    }

    /// What is stored in the key, and its revision.
    pub fn stored(&self) -> (&Entry, u64) {
        (&self.stored.entry, self.stored.revision)
    }

    /// False while each replica is on its own.
    pub fn is_readable(&self) -> bool {
        self.key == Key::Read
    }

    /// What this replica decides on: the stored entry or, while observing, what it would have
    /// written; and since when, on its own clock.
    pub fn view(&self) -> (&Entry, Duration) {
        (&self.view.entry, self.view.at)
    }

    /// An operator's override while it lives.
    pub fn forced(&self) -> Option<&Override> {
        self.forced.as_ref().map(|(forced, _)| forced)
    }
}
