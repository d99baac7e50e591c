//! The *circuit breaker*: when an outside service stops answering, the worker stops taking work.
//!
//! What the textbook calls closed, half-open and open is called flowing, doubting and paused here.
//! The difference is what it limits: not the calls of messages that were taken already, but the
//! pull, so that an outage burns no delivery and no attempt. Everything that decides is pure
//! (state, input, time); [`gate`] and [`call`] are the async edges. No NATS, no step, no I/O.

use std::time::Duration;

pub mod class;
pub mod window;

pub mod machine;

pub mod fleet;

pub mod replica;

pub mod gate;

pub mod call;

/// What an operator may set for one dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How long one call takes at most while the service is well: all requests of one attempt, one
    /// after the other. An answer that comes later contradicts no suspicion.
    pub timeout: Duration,
    /// Most calls of this replica at once, undo and forward together.
    pub concurrency: u32,
    /// This many failed first tries in a row, nothing answered between, make a replica doubt.
    pub run: u32,
    /// The first pause of the fleet; each one after it is twice as long.
    pub wait: Duration,
    /// The longest pause, and the longest time between two single tries of a doubting replica.
    pub wait_max: Duration,
    /// A message is parked after this many charged failures.
    pub max_attempts: u32,
    /// Most messages that a replica keeps in hand; what is more goes back to the broker.
    pub holds: usize,
    pub fleet: FleetMode,
}

/// Whether the replicas of a worker decide together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FleetMode {
    On,
    /// Each replica decides for itself; the key is neither read nor written.
    Off,
    /// Decides and logs everything, and acts on nothing.
    Observe,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(2),
            concurrency: 8,
            run: 8,
            wait: Duration::from_secs(2),
            wait_max: Duration::from_secs(15),
            max_attempts: 8,
            holds: 512,
            fleet: FleetMode::On,
        }
    }
}

/// Settings that contradict each other: refused at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    #[error("`{0}` must be more than zero")]
    Zero(&'static str),
    #[error("`run` must be at least 3: fewer failures may be one message's own")]
    ShortRun,
    #[error("`wait` must not exceed `wait_max`")]
    WaitAboveMaximum,
    #[error("`wait_max` must not exceed {} s", fleet::LONGEST_PAUSE.as_secs())]
    LongWait,
}

impl Settings {
    /// # Errors
    /// The first [`Contradiction`] found.
    pub fn check(&self) -> Result<(), Contradiction> {
        let zero = [
            ("timeout", self.timeout.is_zero()),
            ("concurrency", self.concurrency == 0),
            ("wait", self.wait.is_zero()),
            ("max_attempts", self.max_attempts == 0),
            ("holds", self.holds == 0),
        ];
        if let Some((name, _)) = zero.into_iter().find(|(_, is_zero)| *is_zero) {
            return Err(Contradiction::Zero(name));
        }
        if (self.run as usize) < machine::DIFFERENT {
            return Err(Contradiction::ShortRun);
        }
        if self.wait > self.wait_max {
            return Err(Contradiction::WaitAboveMaximum);
        }
        if self.wait_max > fleet::LONGEST_PAUSE {
            return Err(Contradiction::LongWait);
        }
        Ok(())
    }
}

/// A prober that has had no message for this long says that there is none. Not sooner, because a
/// slow broker would then end a pause; and nothing waits for it if it is true.
const NOTHING_AFTER: Duration = Duration::from_secs(1);

impl Settings {
    /// Before others take a silent prober over, which they do after three time-outs.
    fn nothing_after(&self) -> Duration {
        NOTHING_AFTER.min(self.timeout)
    }
}

/// Tells messages apart within one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    /// Which of the worker's subscriptions it came from.
    pub source: u16,
    /// Its number there.
    pub number: u64,
}

/// A message in hand: pulled and not settled. Times are on the replica's own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    pub id: MessageId,
    /// Undo comes before forward while there are few slots, and is never parked for its failures.
    pub undo: bool,
    /// The last answer decided nothing, Bad or Busy: others are better probes.
    pub neutral: bool,
    /// How often it was called here and not decided. Zero makes it a first try.
    pub tries: u32,
    /// When to try it again. A probe or a single try may come sooner.
    pub due: Duration,
    /// The service asked not to be called for it before this (Retry-After). Nothing comes sooner.
    pub not_before: Duration,
}

impl Message {
    /// A message that was just pulled.
    pub fn new(id: MessageId, undo: bool, now: Duration) -> Self {
        Self { id, undo, neutral: false, tries: 0, due: now, not_before: Duration::ZERO }
    }

    pub fn is_first_try(&self) -> bool {
        self.tries == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_contradict_nothing() {
        assert_eq!(Settings::default().check(), Ok(()));
    }

    #[test]
    fn contradicting_settings_are_refused_with_the_rule() {
        let settings = Settings::default();
        let check = |settings: Settings| settings.check().unwrap_err();
        let no_slots = check(Settings { concurrency: 0, ..settings });
        assert_eq!(no_slots, Contradiction::Zero("concurrency"));
        assert_eq!(check(Settings { run: 2, ..settings }), Contradiction::ShortRun);
        let wait = Duration::from_secs(16);
        assert_eq!(check(Settings { wait, ..settings }), Contradiction::WaitAboveMaximum);
        let wait_max = Duration::from_secs(301);
        assert_eq!(check(Settings { wait_max, ..settings }), Contradiction::LongWait);
    }
}
