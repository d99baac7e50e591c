//! Whose fault a failure is: the message's, if the others are answered.
//!
//! The last first tries are kept with their message, because a message must not testify for or
//! against itself, and because what is tried again speaks of itself, not of the dependency.

use std::collections::VecDeque;
use std::time::Duration;

use super::MessageId;

/// Evidence is this many first tries: at 20 % random errors eight wrong charges in a row are then
/// a matter of three in a million.
const TRIES: usize = 20;
/// One or two answers prove nothing.
const AT_LEAST: usize = 5;
/// What was true ten minutes ago may be an outage by now.
const TOO_OLD: Duration = Duration::from_secs(600);
/// This share, in percent, must have been answered.
const ANSWERED_PERCENT: usize = 75;
/// More are kept than are looked at, because some may be of the message in question.
const KEPT: usize = TRIES * 2;

/// The latest first tries and whether each was answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Window {
    tries: VecDeque<Try>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Try {
    message: MessageId,
    at: Duration,
    answered: bool,
}

impl Window {
    /// Adds a first try. Neutral results are not added: they are no evidence.
    pub fn add(&mut self, message: MessageId, answered: bool, now: Duration) {
        if self.tries.len() == KEPT {
            self.tries.pop_front();
        }
        self.tries.push_back(Try { message, at: now, answered });
    }

    /// Whether the others are answered, so that a failure of `message` is its own.
    pub fn blames(&self, message: MessageId, now: Duration) -> bool {
        let fresh = |one: &&Try| now.saturating_sub(one.at) <= TOO_OLD;
        let others = self.tries.iter().rev().filter(|one| one.message != message);
        let others: Vec<_> = others.filter(fresh).take(TRIES).collect();
        let answered = others.iter().filter(|one| one.answered).count();
        others.len() >= AT_LEAST && answered * 100 >= others.len() * ANSWERED_PERCENT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> MessageId {
        MessageId { source: 0, number }
    }

    fn window(answers: &[bool]) -> Window {
        let mut window = Window::default();
        for (number, answered) in (100..).zip(answers) {
            window.add(id(number), *answered, Duration::ZERO);
        }
        window
    }

    #[test]
    fn four_answers_are_too_few_to_blame_a_message_and_five_are_enough() {
        assert!(!window(&[true; 4]).blames(id(1), Duration::ZERO));
        assert!(window(&[true; 5]).blames(id(1), Duration::ZERO));
    }

    #[test]
    fn a_message_is_blamed_only_while_three_quarters_of_the_others_are_answered() {
        assert!(window(&[false, true, true, true].repeat(5)).blames(id(1), Duration::ZERO));
        let mut fewer = [false, true, true, true].repeat(5);
        fewer[1] = false;
        assert!(!window(&fewer).blames(id(1), Duration::ZERO));
    }

    #[test]
    fn only_the_last_twenty_count() {
        let mut answers = vec![false; 20];
        answers.extend([true; 20]);
        assert!(window(&answers).blames(id(1), Duration::ZERO));
        answers.extend([false; 6]);
        assert!(!window(&answers).blames(id(1), Duration::ZERO));
    }

    #[test]
    fn a_message_is_no_evidence_about_itself() {
        let mut window = window(&[true; 4]);
        window.add(id(1), true, Duration::ZERO);
        assert!(!window.blames(id(1), Duration::ZERO));
        assert!(window.blames(id(2), Duration::ZERO));
    }

    #[test]
    fn evidence_of_more_than_ten_minutes_ago_is_none() {
        let window = window(&[true; 20]);
        assert!(window.blames(id(1), Duration::from_secs(600)));
        assert!(!window.blames(id(1), Duration::from_secs(601)));
    }
}
