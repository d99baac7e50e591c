use super::*;
use crate::breaker::fleet::{Phase, Reason};

/// A replica and its clock.
struct Bench {
    replica: Replica,
    now: Duration,
    revision: u64,
}

fn id(number: u64) -> MessageId {
    MessageId { source: 0, number }
}

fn flowing_with(settings: Settings) -> Bench {
    let mut replica = Replica::new("me", settings, 1);
    replica.seen(Entry::default(), 0, Duration::ZERO);
    Bench { replica, now: Duration::ZERO, revision: 0 }
}

fn flowing() -> Bench {
    flowing_with(Settings::default())
}

impl Bench {
    fn pull(&mut self, number: u64) {
        self.replica.hold(Message::new(id(number), false, self.now), self.now);
    }

    fn pull_undo(&mut self, number: u64) {
        self.replica.hold(Message::new(id(number), true, self.now), self.now);
    }

    /// A message that was tried before and is due.
    fn hold_tried(&mut self, number: u64) {
        let message = Message { tries: 1, ..Message::new(id(number), false, self.now) };
        self.replica.hold(message, self.now);
    }

    fn next(&mut self) -> Option<Next> {
        self.replica.next(self.now)
    }

    fn ticket(&mut self) -> Option<Ticket> {
        match self.next() {
            Some(Next::Call(ticket)) => Some(ticket),
            None => None,
            Some(other) => panic!("{other:?}"),
        }
    }

    /// The messages that start now, in their order.
    fn start_all(&mut self) -> Vec<u64> {
        let mut started = Vec::new();
        while let Some(ticket) = self.ticket() {
            started.push(ticket.message().id.number);
        }
        started
    }

    fn finish(&mut self, ticket: Ticket, class: Class) -> Verdict {
        self.replica.finish(ticket, class, self.now)
    }

    fn call(&mut self, number: u64, class: Class) {
        self.pull(number);
        let ticket = self.ticket().expect("a free slot");
        self.finish(ticket, class);
    }

    fn doubt(&mut self) {
        for number in 1000..1008 {
            self.call(number, Class::Failed);
        }
    }

    fn see(&mut self, phase: Phase, by: &str, reason: Reason) {
        self.revision += 1;
        let entry = Entry { phase, by: by.into(), reason, wait_ms: 2000, ..Entry::default() };
        self.replica.seen(entry, self.revision, self.now);
    }

    fn probing(&mut self) {
        self.see(Phase::Probing, "me", Reason::NoAnswer);
    }

    fn limit_of(&mut self, limit: u32) {
        self.see(Phase::Flowing, "x", Reason::Recovered);
        self.now += Duration::from_secs(1);
        for number in 2000..(1999 + u64::from(limit)) {
            self.call(number, Class::Answered);
        }
    }

    fn room(&self) -> u32 {
        self.replica.room(self.now)
    }

    fn wait(&mut self, seconds: f64) {
        self.now += Duration::from_secs_f64(seconds);
    }
}

#[test]
fn no_more_is_pulled_than_can_start() {
    let mut bench = flowing();
    assert_eq!(bench.room(), 8);
    bench.pull(1);
    bench.pull(2);
    assert_eq!(bench.room(), 6);
    assert_eq!(bench.start_all(), [1, 2]);
    assert_eq!(bench.room(), 6);
}

#[test]
fn a_shut_gate_has_no_room_and_starts_nothing() {
    let mut bench = flowing();
    bench.pull(1);
    bench.see(Phase::Paused, "other", Reason::NoAnswer);
    assert_eq!(bench.room(), 0);
    assert!(bench.start_all().is_empty());
}

#[test]
fn what_was_tried_has_half_of_the_slots_while_new_work_is_waiting_and_else_all() {
    let mut bench = flowing();
    bench.replica.more(0, true);
    for number in 1..=8 {
        bench.hold_tried(number);
    }
    assert_eq!(bench.start_all().len(), 4);
    bench.replica.more(0, false);
    assert_eq!(bench.start_all().len(), 4);
}

#[test]
fn new_messages_in_hand_are_new_work_too() {
    let mut bench = flowing();
    for number in 1..=8 {
        bench.hold_tried(number);
    }
    for number in 11..=18 {
        bench.pull(number);
    }
    let started = bench.start_all();
    assert_eq!(started.len(), 8);
    assert_eq!(started.iter().filter(|number| **number < 10).count(), 4);
}

#[test]
fn with_one_slot_new_work_and_what_was_tried_take_turns() {
    let mut bench = flowing();
    bench.limit_of(1);
    for number in 1..=3 {
        bench.hold_tried(number);
        bench.pull(number + 10);
    }
    let mut order = Vec::new();
    while let Some(ticket) = bench.ticket() {
        order.push(ticket.message().is_first_try());
        bench.finish(ticket, Class::Local);
    }
    assert_eq!(order, [false, true, false, true, false, true]);
}

#[test]
fn a_held_message_takes_no_slot_and_starts_when_it_is_due() {
    let mut bench = flowing();
    let due = Duration::from_secs(5);
    let held = Message { tries: 1, due, ..Message::new(id(1), false, bench.now) };
    bench.replica.hold(held, bench.now);
    assert_eq!(bench.room(), 8);
    assert!(bench.start_all().is_empty());
    assert_eq!(bench.replica.wakes_at(bench.now), Some(due));
    bench.now = due;
    assert_eq!(bench.start_all(), [1]);
}

#[test]
fn undo_goes_first_while_there_are_few_slots_and_in_turn_when_there_are_all() {
    let mut few = flowing();
    few.limit_of(4);
    few.pull(1);
    few.wait(0.001);
    few.pull_undo(2);
    assert_eq!(few.start_all(), [2, 1]);

    let mut all = flowing();
    all.pull(1);
    all.wait(0.001);
    all.pull_undo(2);
    assert_eq!(all.start_all(), [1, 2]);
}

#[test]
fn a_doubting_replica_pulls_one_and_tries_what_was_never_tried_before_what_failed() {
    let mut bench = flowing();
    bench.doubt();
    bench.hold_tried(1);
    assert_eq!(bench.room(), 0);
    bench.wait(0.07);
    assert_eq!(bench.room(), 1);
    assert!(bench.start_all().is_empty());
    bench.pull(2);
    assert_eq!(bench.room(), 0);
    assert_eq!(bench.start_all(), [2]);
}

#[test]
fn a_doubting_replica_tries_what_failed_when_no_new_work_has_come() {
    let mut bench = flowing();
    bench.doubt();
    bench.hold_tried(1);
    bench.wait(0.06 + 0.2);
    assert_eq!(bench.start_all(), [1]);
}

#[test]
fn the_first_probe_is_in_hand_undo_first_and_the_others_were_never_tried() {
    let mut bench = flowing();
    for number in 1..=3 {
        bench.hold_tried(number);
    }
    bench.pull_undo(4);
    bench.probing();
    assert_eq!(bench.room(), 0);
    let first = bench.ticket().unwrap();
    assert_eq!(first.message().id, id(4));
    bench.finish(first, Class::Failed);
    assert_eq!(bench.room(), 1);
    assert!(bench.start_all().is_empty());
    bench.pull(5);
    assert_eq!(bench.start_all(), [5]);
}

#[test]
fn other_held_messages_are_probes_when_no_new_work_has_come_each_at_most_once() {
    let mut bench = flowing();
    bench.hold_tried(1);
    bench.hold_tried(2);
    bench.probing();
    let first = bench.ticket().unwrap();
    let verdict = bench.finish(first, Class::Failed);
    let Verdict::Hold(held) = verdict else { panic!("{verdict:?}") };
    bench.replica.hold(held, bench.now);
    bench.wait(0.2);
    let second = bench.ticket().unwrap();
    assert_eq!(second.message().id, id(2));
    bench.finish(second, Class::Busy(None));
    bench.wait(0.2);
    assert!(bench.start_all().is_empty());
    // One failed, none was answered, none is left.
    assert_eq!(writes(&mut bench).last(), Some(&Phase::Paused));
}

fn writes(bench: &mut Bench) -> Vec<Phase> {
    let effects = bench.replica.take_effects();
    let phase = |effect: &Effect| match effect {
        Effect::Write { entry, .. } => Some(entry.phase),
        Effect::PauseServer(_) | Effect::ResumeServer | Effect::Log(_) => None,
    };
    effects.iter().filter_map(phase).collect()
}

#[test]
fn a_prober_with_nothing_held_and_nothing_to_pull_says_recovered() {
    let mut bench = flowing();
    bench.probing();
    assert!(bench.start_all().is_empty());
    assert_eq!(writes(&mut bench), []);
    bench.wait(0.2);
    assert!(bench.start_all().is_empty());
    assert_eq!(writes(&mut bench), [Phase::Flowing]);
}

#[test]
fn one_message_that_always_fails_cannot_keep_a_dependency_paused() {
    let mut bench = flowing();
    let mut poison = Message { tries: 3, ..Message::new(id(1), false, bench.now) };
    bench.probing();
    for number in 10..20 {
        bench.replica.hold(poison, bench.now);
        bench.pull(number);
        let Some(ticket) = bench.ticket() else { break };
        let is_poison = ticket.message().id == id(1);
        let class = if is_poison { Class::NotSent } else { Class::Answered };
        if let Verdict::Hold(held) = bench.finish(ticket, class) {
            poison = held;
        }
    }
    assert_eq!(writes(&mut bench), [Phase::Flowing]);
}

#[test]
fn nothing_is_called_before_its_retry_after_whatever_the_state() {
    let make = |bench: &mut Bench| {
        let not_before = bench.now + Duration::from_secs(60);
        let message = Message::new(id(1), false, bench.now);
        let message = Message { tries: 1, due: not_before, not_before, ..message };
        bench.replica.hold(message, bench.now);
    };
    let mut flows = flowing();
    make(&mut flows);
    let mut doubts = flowing();
    doubts.doubt();
    make(&mut doubts);
    let mut probes = flowing();
    make(&mut probes);
    probes.probing();
    for mut bench in [flows, doubts, probes] {
        bench.wait(30.0);
        assert!(bench.start_all().is_empty());
    }
}

#[test]
fn a_sick_replica_gives_back_all_that_it_holds() {
    let mut bench = flowing();
    bench.doubt();
    bench.hold_tried(1);
    bench.pull(2);
    bench.see(Phase::Flowing, "me", Reason::Contradicted);
    for expected in [1, 2] {
        match bench.next() {
            Some(Next::GiveBack { message, delay, charged: 0 }) => {
                assert_eq!((message.id, delay), (id(expected), Duration::ZERO));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(bench.next().is_none());
}

#[test]
fn beyond_the_holds_the_one_due_last_goes_back_with_its_delay_and_what_was_charged() {
    let mut bench = flowing_with(Settings { holds: 2, ..Settings::default() });
    bench.replica.remember(id(2), 3);
    for (number, due) in [(1, 10), (2, 30), (3, 20)] {
        let due = Duration::from_secs(due);
        let message = Message { tries: 1, due, ..Message::new(id(number), false, bench.now) };
        bench.replica.hold(message, bench.now);
    }
    match bench.next() {
        Some(Next::GiveBack { message, delay, charged: 3 }) => {
            assert_eq!((message.id, delay), (id(2), Duration::from_secs(30)));
        }
        other => panic!("{other:?}"),
    }
    assert!(bench.next().is_none());
}

#[test]
fn what_was_just_pulled_is_not_what_goes_back() {
    let mut bench = flowing_with(Settings { holds: 2, ..Settings::default() });
    bench.hold_tried(1);
    bench.hold_tried(2);
    bench.wait(100.0);
    bench.pull(3);
    match bench.next() {
        Some(Next::GiveBack { message, delay, .. }) => {
            assert!(
                message.id != id(3) && delay >= Duration::from_secs(1),
                "{message:?} {delay:?}"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_message_that_used_up_its_attempts_is_parked_and_an_undo_is_not() {
    let mut bench = flowing();
    let undo = id(2);
    bench.replica.remember(id(1), 8);
    bench.replica.remember(undo, 8);
    bench.hold_tried(1);
    let message = Message { tries: 9, ..Message::new(undo, true, bench.now) };
    bench.replica.hold(message, bench.now);
    assert!(matches!(bench.next(), Some(Next::Park(message)) if message.id == id(1)));
    assert_eq!(bench.start_all(), [2]);
}

#[test]
fn a_released_message_is_never_started() {
    let mut bench = flowing();
    bench.pull(1);
    bench.replica.release(id(1));
    assert!(bench.start_all().is_empty());
}

#[test]
fn only_whose_turn_it_is_starts_by_itself() {
    let mut bench = flowing();
    bench.limit_of(1);
    bench.pull_undo(1);
    let forward = Message::new(id(2), false, bench.now);
    assert!(bench.replica.try_start(forward, bench.now).is_none());
    bench.replica.release(id(1));
    let ticket = bench.replica.try_start(forward, bench.now).unwrap();
    bench.finish(ticket, Class::Answered);
}
