//! The laws that every step must obey. Each law panics if it is broken.
//!
//! A law looks at the outside world only: how often the effect happened, and how often it was taken
//! back. It runs the step in two replicas, and fails or pauses it at each of its calls in turn. So
//! it visits every point at which a process can die or be overtaken.

use std::fmt::Debug;
use std::pin::pin;
use std::time::Duration;

use crate::ids::Direction;

use super::{Faults, When, context, saga_id};
use crate::step::{Evidence, Outcome, Step, StepError, Undo};

/// Attempts a step gets before a law considers it stuck: a fault strikes only once.
const ATTEMPTS: u32 = 5;
/// Calls a step may make before a law considers it endless.
const CALLS: u32 = 1_000;

/// How often the effect happened in the outside world, and how often it was taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effects {
    pub done: u32,
    pub undone: u32,
}

/// Two replicas of a step, and the outside world they share.
pub struct World<S> {
    here: S,
    there: S,
    effects: Box<dyn Fn() -> Effects + Send + Sync>,
}

impl<S> World<S> {
    /// `replica` is called twice.
    pub fn new(
        replica: impl Fn() -> S,
        effects: impl Fn() -> Effects + Send + Sync + 'static,
    ) -> Self {
        Self { here: replica(), there: replica(), effects: Box::new(effects) }
    }
}

/// All laws of a step that cannot be undone: the second run finds what the first did.
pub async fn hold_for_step<S>(world: impl Fn(Faults) -> World<S>, on: &S::On)
where
    S: Step<Done: PartialEq + Debug, Refused: PartialEq + Debug>,
{
    running_twice_is_running_once(&world, on).await;
    failing_anywhere_and_running_again_is_running_once(&world, on).await;
}

/// All laws of a step that can be undone.
pub async fn hold_for_undo<S>(world: impl Fn(Faults) -> World<S>, on: &S::On)
where
    S: Undo<Done: PartialEq + Debug, Refused: PartialEq + Debug, Undone: PartialEq + Debug>,
{
    hold_for_step(&world, on).await;
    undoing_twice_is_undoing_once(&world, on).await;
    failing_anywhere_unwinds(&world, on).await;
    nothing_takes_effect_after_undoing_the_unknown(&world, on).await;
}

/// One effect at most, and the same outcome both times.
pub async fn running_twice_is_running_once<S>(world: impl Fn(Faults) -> World<S>, on: &S::On)
where
    S: Step<Done: PartialEq + Debug, Refused: PartialEq + Debug>,
{
    let world = world(Faults::none());
    let first = run(&world.here, on).await;
    let second = run(&world.there, on).await;
    assert_eq!(first, second, "running twice is running once: the outcomes differ");
    world.expect_one_effect_of(&first, "running twice is running once");
}

/// No matter which call fails, the next attempt ends as if none had failed.
pub async fn failing_anywhere_and_running_again_is_running_once<S>(
    world: impl Fn(Faults) -> World<S>,
    on: &S::On,
) where
    S: Step<Done: PartialEq + Debug, Refused: PartialEq + Debug>,
{
    for (call, when) in every_call() {
        let faults = Faults::failing(call, when);
        let world = world(faults.clone());
        let first = attempt(&world.here, on).await;
        if !faults.struck() {
            return;
        }
        let outcome = run(&world.there, on).await;
        if let Ok(first) = first {
            assert_eq!(
                first, outcome,
                "the step refused a saga whose effect it could not find out"
            );
        }
        let law = format!("failing {when:?} call {call} and running again is running once");
        world.expect_one_effect_of(&outcome, &law);
    }
}

/// Undoing happens once, no matter how often it is asked for, by which replica and with which
/// evidence.
pub async fn undoing_twice_is_undoing_once<S>(world: impl Fn(Faults) -> World<S>, on: &S::On)
where
    S: Undo<Done: PartialEq + Debug, Refused: PartialEq + Debug, Undone: PartialEq + Debug>,
{
    for known in [true, false] {
        let world = world(Faults::none());
        let outcome = run(&world.here, on).await;
        let first = undo(&world.here, on, evidence(&outcome, known)).await;
        let second = undo(&world.there, on, evidence(&outcome, known)).await;
        assert_eq!(first, second, "undoing twice is undoing once: the outcomes differ");
        world.expect_nothing_held("undoing twice is undoing once");
    }
}

/// No matter which call of run or undo fails, undo leaves nothing, with either evidence.
pub async fn failing_anywhere_unwinds<S>(world: impl Fn(Faults) -> World<S>, on: &S::On)
where
    S: Undo<Done: PartialEq + Debug, Refused: PartialEq + Debug>,
{
    for known in [true, false] {
        for (call, when) in every_call() {
            let faults = Faults::failing(call, when);
            let world = world(faults.clone());
            if known {
                let outcome = run(&world.here, on).await;
                undo(&world.there, on, evidence(&outcome, true)).await;
            } else {
                let _ = attempt(&world.here, on).await;
                undo(&world.there, on, Evidence::Unknown).await;
            }
            if !faults.struck() {
                break;
            }
            let law = format!("failing {when:?} call {call} unwinds (recorded: {known})");
            world.expect_nothing_held(&law);
        }
    }
}

/// The fence: once `undo(Unknown)` has returned, no run takes effect, neither a late one nor one
/// that was paused at any of its calls.
pub async fn nothing_takes_effect_after_undoing_the_unknown<S: Undo>(
    world: impl Fn(Faults) -> World<S>,
    on: &S::On,
) {
    let idle = world(Faults::none());
    undo(&idle.there, on, Evidence::Unknown).await;
    idle.expect_nothing_held("undoing what never ran leaves nothing");
    let _ = attempt(&idle.here, on).await;
    idle.expect_nothing_held("no run takes effect after undoing the unknown");

    for (call, when) in every_call() {
        let faults = Faults::pausing(call, when);
        let world = world(faults.clone());
        let mut overtaken = pin!(attempt(&world.here, on));
        tokio::select! {
            biased;
            _ = &mut overtaken => return,
            () = faults.paused() => {}
        }
        undo(&world.there, on, Evidence::Unknown).await;
        faults.resume();
        let _ = overtaken.await;
        let law = format!("no run overtaken {when:?} its call {call} takes effect");
        world.expect_nothing_held(&law);
        let _ = attempt(&world.there, on).await;
        world.expect_nothing_held(&format!("{law}, nor does it when it runs again"));
    }
}

impl<S: Step> World<S> {
    #[track_caller]
    fn expect_one_effect_of(&self, outcome: &Outcome<S::Done, S::Refused>, law: &str) {
        let done = u32::from(matches!(outcome, Outcome::Done(_)));
        assert_eq!((self.effects)(), Effects { done, undone: 0 }, "{law}");
    }

    #[track_caller]
    fn expect_nothing_held(&self, law: &str) {
        let Effects { done, undone } = (self.effects)();
        assert!(done <= 1, "{law}: it took effect {done} times");
        assert_eq!(done, undone, "{law}: done on the left, undone on the right");
    }
}

fn every_call() -> impl Iterator<Item = (u32, When)> {
    let calls = (1..=CALLS).flat_map(|call| [(call, When::Before), (call, When::After)]);
    calls.chain(std::iter::from_fn(|| panic!("the step makes more than {CALLS} calls")))
}

fn evidence<Done, Refused>(outcome: &Outcome<Done, Refused>, known: bool) -> Evidence<&Done> {
    match outcome {
        Outcome::Done(done) if known => Evidence::Recorded(done),
        Outcome::Done(_) | Outcome::Refused(_) => Evidence::Unknown,
    }
}

async fn attempt<S: Step>(step: &S, on: &S::On) -> Result<Outcome<S::Done, S::Refused>, StepError> {
    step.run(on, &context::<S>(Direction::Run, saga_id(), Duration::ZERO)).await
}

async fn run<S: Step>(step: &S, on: &S::On) -> Outcome<S::Done, S::Refused> {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        match attempt(step, on).await {
            Ok(outcome) => return outcome,
            Err(error) => last = Some(error),
        }
    }
    panic!("the step does not come to an outcome: {last:?}")
}

async fn undo<S: Undo>(step: &S, on: &S::On, evidence: Evidence<&S::Done>) -> S::Undone {
    let context = context::<S>(Direction::Undo, saga_id(), Duration::ZERO);
    let mut last = None;
    for _ in 0..ATTEMPTS {
        match step.undo(on, evidence, &context).await {
            Ok(undone) => return undone,
            Err(error) => last = Some(error),
        }
    }
    panic!("the undo does not come to an end: {last:?}")
}
