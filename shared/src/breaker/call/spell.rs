//! When fallbacks are news: the first of a spell is, and so is the answer that ends it.
//!
//! One failing call in five must not make two lines of log for each, so a spell ends only when
//! there was no fallback for a while. Pure: time is a `Duration` since any start.

use std::time::Duration;

/// At most two lines in this time, and no longer than this until an operator reads that it is over.
const QUIET: Duration = Duration::from_secs(10);

/// Whether calls fall back these days.
#[derive(Debug, Default)]
pub(super) struct Spell {
    /// The latest fallback of the spell.
    latest: Option<Duration>,
}

impl Spell {
    /// Whether this fallback begins a spell.
    pub(super) fn fell_back(&mut self, now: Duration) -> bool {
        self.latest.replace(now).is_none()
    }

    /// Whether this answer ends one.
    pub(super) fn answered(&mut self, now: Duration) -> bool {
        let is_over = self.latest.is_some_and(|latest| now.saturating_sub(latest) >= QUIET);
        if is_over {
            self.latest = None;
        }
        is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_outage_is_news_when_it_begins_and_when_it_is_over() {
        let mut spell = Spell::default();
        assert!(!spell.answered(SECOND), "nothing has begun");
        let begins: Vec<_> = (2..100).map(|second| spell.fell_back(SECOND * second)).collect();
        assert_eq!(begins.iter().filter(|begins| **begins).count(), 1);
        assert!(begins[0]);
        assert!(!spell.answered(SECOND * 108));
        assert!(spell.answered(SECOND * 109));
        assert!(!spell.answered(SECOND * 110));
        assert!(spell.fell_back(SECOND * 111));
    }

    #[test]
    fn now_and_then_a_failure_is_one_spell() {
        let mut spell = Spell::default();
        let news = (0..1_000).filter(|at| match at % 5 {
            0 => spell.fell_back(SECOND * *at),
            _ => spell.answered(SECOND * *at),
        });
        assert_eq!(news.count(), 1);
    }
}
