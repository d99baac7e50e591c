//! What a call came to, as the adapter tells it once; everything else follows from this.
//!
//! | class | signals | health | attempt charged | the message |
//! |---|---|---|---|---|
//! | `Answered` | 2xx, a business no | answer | – | settled with its outcome |
//! | `Undecided` | it works on it: a payment that is `processing` | answer | no | held |
//! | `Bad` | 400, 405, 410, 413, 415, 422: our request is wrong | neutral | at once | parked |
//! | `Busy` | 429, 503 with Retry-After, "this key is in use" | neutral | no | waits |
//! | `NotSent` | refused, DNS, TLS, no connection in time | failure | never | held |
//! | `Failed` | all else, a time-out after the request was written too | failure | perhaps | held |
//! | `Credentials` | 401, 403 | failure | perhaps | held; pauses are longer |
//! | `Local` | own shutdown, own limits, broker trouble | none | no | held or given back |

use std::time::Duration;

/// Longest wait a service may ask for; a longer one is cut to it, because a mistaken header must
/// not stop an order for a day.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);
/// Calls that were told to wait equally long do not all come back at the same moment.
const RETRY_AFTER_SPREAD: f64 = 0.2;

/// What a call came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The service spoke, yes or no.
    Answered,
    /// The service spoke, and has not decided yet: ask it again.
    Undecided,
    /// Our request is wrong. An edge may say so while the service behind it is dead: this says
    /// nothing of its health, and parks a message only while the calls flow.
    Bad,
    /// Not now: wait this long if it said so. Read it through [`retry_after`].
    Busy(Option<Duration>),
    /// Nothing was sent, so nothing can have happened.
    NotSent,
    /// No answer, or none that can be read; the effect may have happened.
    Failed,
    /// As `Failed`, but the service does not know us: that is not mended within seconds.
    Credentials,
    /// The call was not made or not finished for a reason of our own.
    Local,
}

impl Class {
    /// Whether it speaks against the dependency.
    pub fn is_failure(self) -> bool {
        match self {
            Self::NotSent | Self::Failed | Self::Credentials => true,
            Self::Answered | Self::Undecided | Self::Bad | Self::Busy(_) | Self::Local => false,
        }
    }

    /// Whether the service spoke: it is there.
    pub fn is_answer(self) -> bool {
        match self {
            Self::Answered | Self::Undecided => true,
            Self::Bad | Self::Busy(_) | Self::NotSent | Self::Failed => false,
            Self::Credentials | Self::Local => false,
        }
    }

    /// Whether it may count against the message: only what was sent and not answered.
    pub fn is_chargeable(self) -> bool {
        match self {
            Self::Failed | Self::Credentials => true,
            Self::Answered | Self::Undecided | Self::Bad | Self::Busy(_) => false,
            Self::NotSent | Self::Local => false,
        }
    }
}

/// How many calls came to what, since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    answered: u64,
    undecided: u64,
    bad: u64,
    busy: u64,
    not_sent: u64,
    failed: u64,
    credentials: u64,
    local: u64,
}

impl Tally {
    pub fn add(&mut self, class: Class) {
        let count = match class {
            Class::Answered => &mut self.answered,
            Class::Undecided => &mut self.undecided,
            Class::Bad => &mut self.bad,
            Class::Busy(_) => &mut self.busy,
            Class::NotSent => &mut self.not_sent,
            Class::Failed => &mut self.failed,
            Class::Credentials => &mut self.credentials,
            Class::Local => &mut self.local,
        };
        *count += 1;
    }

    /// Each class by its name in metrics, zeros too.
    pub fn by_class(&self) -> [(&'static str, u64); 8] {
        [
            ("answered", self.answered),
            ("undecided", self.undecided),
            ("bad", self.bad),
            ("busy", self.busy),
            ("not-sent", self.not_sent),
            ("failed", self.failed),
            ("credentials", self.credentials),
            ("local", self.local),
        ]
    }

    /// Calls that brought no answer.
    pub fn wasted(&self) -> u64 {
        self.not_sent + self.failed + self.credentials
    }
}

/// An error that knows its class.
pub trait Classified {
    fn class(&self) -> Class;
}

/// How long to wait when a service asks for `asked`: at most 5 minutes, and up to a fifth more by
/// `chance` (0 to 1).
pub fn retry_after(asked: Duration, chance: f64) -> Duration {
    let asked = asked.min(MAX_RETRY_AFTER);
    asked.mul_f64(1.0 + RETRY_AFTER_SPREAD * chance.clamp(0.0, 1.0)).max(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Class; 8] = [
        Class::Answered,
        Class::Undecided,
        Class::Bad,
        Class::Busy(None),
        Class::NotSent,
        Class::Failed,
        Class::Credentials,
        Class::Local,
    ];

    #[test]
    fn a_retry_after_is_never_shortened_and_at_most_a_fifth_longer() {
        for chance in [0.0, 0.3, 0.99, 1.0] {
            let wait = retry_after(Duration::from_secs(10), chance);
            assert!(wait >= Duration::from_secs(10) && wait <= Duration::from_secs(12), "{wait:?}");
        }
    }

    #[test]
    fn a_retry_after_of_a_day_is_cut_to_five_minutes() {
        assert_eq!(retry_after(Duration::from_secs(86_400), 0.0), MAX_RETRY_AFTER);
    }

    #[test]
    fn a_call_is_wasted_if_its_class_is_a_failure() {
        let mut tally = Tally::default();
        for (at, class) in ALL.into_iter().enumerate() {
            let wasted = tally.wasted();
            tally.add(class);
            assert_eq!(tally.by_class()[at].1, 1, "{class:?}");
            assert_eq!(tally.wasted() > wasted, class.is_failure(), "{class:?}");
        }
    }

    #[test]
    fn only_what_was_sent_and_not_answered_may_be_charged() {
        let of = |wanted: fn(Class) -> bool| ALL.map(wanted);
        assert_eq!(
            of(Class::is_chargeable),
            [false, false, false, false, false, true, true, false]
        );
        assert_eq!(of(Class::is_failure), [false, false, false, false, true, true, true, false]);
    }
}
