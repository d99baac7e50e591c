//! What may happen to a replica, drawn at random.

use std::time::Duration;

use proptest::prelude::*;
use quadrille::breaker::class::Class;
use quadrille::breaker::fleet::{Mode, Phase, Reason};

/// One thing that happens to a replica.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Pull {
        undo: bool,
    },
    Finish {
        which: usize,
        class: Class,
    },
    Wait(u64),
    See {
        phase: Phase,
        mine: bool,
        reason: Reason,
    },
    Unreadable,
    Force(Option<Mode>),
    /// What the replica itself proposed is stored.
    Store,
}

pub(super) fn class() -> impl Strategy<Value = Class> {
    prop_oneof![
        4 => Just(Class::Answered),
        1 => Just(Class::Bad),
        1 => prop_oneof![Just(None), (0..600u64).prop_map(|s| Some(Duration::from_secs(s)))]
            .prop_map(Class::Busy),
        2 => Just(Class::NotSent),
        4 => Just(Class::Failed),
        1 => Just(Class::Credentials),
        1 => Just(Class::Local),
    ]
}

pub(super) fn phase() -> impl Strategy<Value = Phase> {
    prop_oneof![
        Just(Phase::Flowing),
        Just(Phase::Suspected),
        Just(Phase::Paused),
        Just(Phase::Probing)
    ]
}

pub(super) fn reason() -> impl Strategy<Value = Reason> {
    prop_oneof![
        Just(Reason::NoAnswer),
        Just(Reason::Contradicted),
        Just(Reason::Withdrawn),
        Just(Reason::Recovered)
    ]
}

pub(super) fn mode() -> impl Strategy<Value = Option<Mode>> {
    prop_oneof![
        2 => Just(None),
        1 => Just(Some(Mode::Paused)),
        1 => Just(Some(Mode::Flowing)),
        1 => Just(Some(Mode::Observe))
    ]
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => any::<bool>().prop_map(|undo| Step::Pull { undo }),
        12 => (any::<usize>(), class()).prop_map(|(which, class)| Step::Finish { which, class }),
        6 => (0..20_000u64).prop_map(Step::Wait),
        2 => (phase(), any::<bool>(), reason())
            .prop_map(|(phase, mine, reason)| Step::See { phase, mine, reason }),
        1 => Just(Step::Unreadable),
        1 => mode().prop_map(Step::Force),
        4 => Just(Step::Store),
    ]
}
