//! The invariants of the breaker that a pure machine can show, for any sequence of inputs.

mod steps;

use std::time::Duration;

use proptest::prelude::*;
use quadrille::breaker::class::Class;
use quadrille::breaker::fleet::{Effect, Entry, Mode, Override};
use quadrille::breaker::machine::{Machine, Offer, State, Ticket, Verdict};
use quadrille::breaker::replica::{Next, Replica};
use quadrille::breaker::{Message, MessageId, Settings};

use steps::{Step, class, step};

/// A replica, what it has in flight, and what must hold after every step.
struct Bench {
    replica: Replica,
    now: Duration,
    revision: u64,
    flights: Vec<Ticket>,
    in_hand: usize,
    pulled: u64,
    proposal: Option<Entry>,
    mode: Option<Mode>,
    limit: u32,
}

impl Bench {
    fn new(seed: u64) -> Self {
        let settings = Settings::default();
        let mut replica = Replica::new("me", settings, seed);
        replica.seen(Entry::default(), 0, Duration::ZERO);
        Self {
            replica,
            now: Duration::ZERO,
            revision: 0,
            flights: Vec::new(),
            in_hand: 0,
            pulled: 0,
            proposal: None,
            mode: None,
            limit: settings.concurrency,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Pull { undo } => {
                if self.replica.room(self.now) > 0 {
                    self.check_pull();
                    self.pulled += 1;
                    self.in_hand += 1;
                    let id = MessageId { source: u16::from(undo), number: self.pulled };
                    self.replica.hold(Message::new(id, undo, self.now), self.now);
                }
            }
            Step::Finish { which, class } => {
                if !self.flights.is_empty() {
                    let ticket = self.flights.swap_remove(which % self.flights.len());
                    self.finish(ticket, class);
                }
            }
            Step::Wait(millis) => {
                self.now += Duration::from_millis(millis);
                self.replica.tick(self.now);
            }
            Step::See { phase, mine, reason } => {
                let by = if mine { "me" } else { "other" }.to_owned();
                self.see(Entry { phase, by, reason, wait_ms: 3000, ..Entry::default() });
            }
            Step::Unreadable => self.replica.unreadable(self.now),
            Step::Force(mode) => {
                self.mode = mode;
                let forced = mode.map(|mode| {
                    let (by, reason) = (String::new(), String::new());
                    let forced = Override { mode, by, reason, until_ms: 0 };
                    (forced, Duration::from_secs(1_000_000))
                });
                self.replica.overridden(forced, self.now);
            }
            Step::Store => {
                if let Some(entry) = self.proposal.take() {
                    self.see(entry);
                }
            }
        }
        self.settle();
        let machine = self.replica.machine();
        assert_eq!(machine.out() as usize, self.flights.len(), "permits out");
        assert!((1..=self.limit).contains(&machine.limit()));
    }

    fn see(&mut self, entry: Entry) {
        self.revision += 1;
        self.replica.seen(entry, self.revision, self.now);
    }

    fn finish(&mut self, ticket: Ticket, class: Class) {
        // What is due by time alone is no doing of the ticket.
        self.replica.tick(self.now);
        let is_old = ticket.epoch() != self.replica.machine().epoch();
        let before = (self.replica.machine().state().clone(), self.replica.machine().limit());
        let charged = self.replica.machine().charged_total();
        let message = ticket.message();
        let verdict = self.replica.finish(ticket, class, self.now);
        let machine = self.replica.machine();
        if is_old {
            assert_eq!(before, (machine.state().clone(), machine.limit()), "an old epoch moved");
            assert_eq!(charged, machine.charged_total());
        }
        if class != Class::Answered {
            assert_eq!(charged, machine.charged_total(), "charged without an answer after it");
        }
        match verdict {
            Verdict::Hold(held) => {
                if let Class::Busy(Some(asked)) = class {
                    let asked = asked.min(Duration::from_secs(300));
                    assert!(held.not_before >= self.now + asked);
                }
                self.replica.hold(held, self.now);
            }
            Verdict::Settle => {
                assert_eq!(class, Class::Answered);
                self.in_hand -= 1;
            }
            Verdict::Park(_) => {
                assert_eq!(class, Class::Bad);
                self.in_hand -= 1;
            }
            Verdict::GiveBack { .. } => {
                assert!(class.is_failure(), "{message:?}");
                self.in_hand -= 1;
            }
        }
    }

    fn check_pull(&self) {
        let is_shut = *self.replica.machine().state() == State::Shut;
        let beats = matches!(self.mode, Some(Mode::Flowing | Mode::Observe));
        assert!(!is_shut || beats, "a pull while the gate is shut");
        assert!(self.mode != Some(Mode::Paused), "a pull against an override");
    }

    /// Everything that may happen by itself.
    fn settle(&mut self) {
        while let Some(next) = self.replica.next(self.now) {
            match next {
                Next::Call(ticket) => {
                    self.check_call(&ticket);
                    self.flights.push(ticket);
                }
                Next::Park(message) => {
                    assert!(!message.undo);
                    self.in_hand -= 1;
                }
                Next::GiveBack { .. } => self.in_hand -= 1,
            }
        }
        assert_eq!(self.in_hand, self.replica.held().count() + self.flights.len());
        for effect in self.replica.take_effects() {
            match effect {
                Effect::Write { expected, entry } => {
                    assert!(self.mode.is_none(), "written against an override");
                    assert!(expected <= self.revision);
                    self.proposal = Some(entry);
                }
                Effect::PauseServer(wait) => {
                    assert!(wait <= Duration::from_secs(300));
                    assert!(self.mode != Some(Mode::Observe));
                }
                Effect::ResumeServer | Effect::Log(_) => {}
            }
        }
    }

    fn check_call(&self, ticket: &Ticket) {
        assert!(ticket.message().not_before <= self.now, "a call before its Retry-After");
        let machine = self.replica.machine();
        if !machine.is_acting() {
            return;
        }
        match machine.state() {
            State::Flowing => assert!(self.flights.len() < machine.limit() as usize),
            State::Doubting(_) => assert!(self.flights.is_empty(), "one call at a time"),
            State::Shut => panic!("a call while shut"),
            State::Probing(_) => {
                let epoch = machine.epoch();
                let same = self.flights.iter().filter(|flight| flight.epoch() == epoch);
                assert_eq!(same.count(), 0, "one probe at a time");
            }
        }
    }
}

fn flowing(seed: u64) -> Machine {
    let mut machine = Machine::new(Settings::default(), seed);
    machine.open(Duration::ZERO, false);
    machine
}

fn call(machine: &mut Machine, message: Message, class: Class, now: Duration) -> Verdict {
    let ticket = machine.start(message, now);
    machine.finish(ticket, class, now)
}

fn message(number: u64, tries: u32) -> Message {
    let id = MessageId { source: 0, number };
    Message { tries, ..Message::new(id, false, Duration::ZERO) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Invariants 1, 2, 8, 9, and that every message in hand is accounted for.
    #[test]
    fn whatever_happens_the_gate_the_permits_and_the_override_hold(
        seed in any::<u64>(),
        steps in proptest::collection::vec(step(), 1..300),
    ) {
        let mut bench = Bench::new(seed);
        for step in steps {
            bench.step(step);
        }
    }

    /// Invariant 3, of one replica: from any state, once all calls are answered, it flows.
    #[test]
    fn from_any_state_it_flows_again_once_the_dependency_answers(
        seed in any::<u64>(),
        steps in proptest::collection::vec(step(), 1..150),
    ) {
        let mut bench = Bench::new(seed);
        let is_credentials = |step: &Step| {
            matches!(step, Step::Finish { class: Class::Credentials, .. })
        };
        // A pause for credentials lasts up to 72 s.
        let longest_pause = if steps.iter().any(is_credentials) { 72 } else { 15 };
        for step in steps {
            bench.step(step);
        }
        bench.step(Step::Force(None));
        // What was asked for by Retry-After, at most.
        bench.step(Step::Wait(360_000));
        let began = bench.now;
        let within = Duration::from_secs(longest_pause + 3 * 2 + 2);
        while *bench.replica.machine().state() != State::Flowing {
            assert!(bench.now < began + within, "{:?}", bench.replica);
            bench.step(Step::Pull { undo: false });
            bench.step(Step::Wait(50));
            bench.step(Step::Finish { which: 0, class: Class::Answered });
            bench.step(Step::Store);
        }
    }

    /// Invariants 4 and 5: one message never makes a replica doubt, and is charged at most as often
    /// as it may be, whatever it gets and whatever the others' answers are between.
    #[test]
    fn one_message_never_makes_a_replica_doubt(
        seed in any::<u64>(),
        results in proptest::collection::vec((class(), 0..60_000u64, any::<bool>()), 1..200),
    ) {
        let mut machine = flowing(seed);
        let mut now = Duration::ZERO;
        for (number, (class, millis, other)) in (100..).zip(results) {
            now += Duration::from_millis(millis);
            if class != Class::Answered {
                call(&mut machine, message(1, 0), class, now);
                call(&mut machine, message(1, 5), class, now);
            }
            prop_assert!(machine.doubting_since().is_none());
            if other {
                call(&mut machine, message(number, 0), Class::Answered, now);
            }
            prop_assert!(machine.attempts(message(1, 0).id) <= 8);
        }
    }

    /// Invariant 4: what is no answer to a sent request is never charged, and neither is an outage.
    #[test]
    fn an_outage_of_any_kind_and_length_charges_nothing(
        seed in any::<u64>(),
        good in 0..200u64,
        failures in proptest::collection::vec((1..40u64, 0..3u32, 0..3usize, 0..10_000u64), 8..300),
    ) {
        let mut machine = flowing(seed);
        let mut now = Duration::ZERO;
        for number in 0..good {
            call(&mut machine, message(1000 + number, 0), Class::Answered, now);
        }
        for (number, tries, class, millis) in failures {
            now += Duration::from_millis(millis);
            let class = [Class::Failed, Class::NotSent, Class::Credentials][class];
            call(&mut machine, message(number, tries), class, now);
        }
        // A doubt or a pause must have come of it for it to be called an outage.
        if machine.doubting_since().is_none() {
            machine.shut();
            machine.open(now, true);
        }
        for number in 0..20 {
            now += Duration::from_secs(20);
            call(&mut machine, message(5000 + number, 0), Class::Answered, now);
        }
        prop_assert_eq!(machine.charged_total(), 0);
    }

    /// Invariant 9: refusals are answers.
    #[test]
    fn answers_alone_never_make_a_replica_doubt(seed in any::<u64>(), calls in 1..500u64) {
        let mut machine = flowing(seed);
        for number in 0..calls {
            let verdict = call(&mut machine, message(number, 0), Class::Answered, Duration::ZERO);
            prop_assert_eq!(verdict, Verdict::Settle);
        }
        prop_assert_eq!(machine.offer(Duration::ZERO), Offer::Free { free: 8, retries: 4 });
    }

    /// Invariant 8: given the same results, an observing machine decides what an acting one does.
    #[test]
    fn observing_decides_as_acting_does(
        seed in any::<u64>(),
        results in proptest::collection::vec((class(), 0..20_000u64, 0..30u64, 0..2u32), 1..200),
    ) {
        let mut acting = flowing(seed);
        let mut observing = acting.clone();
        observing.act(false);
        let mut now = Duration::ZERO;
        for (class, millis, number, tries) in results {
            now += Duration::from_millis(millis);
            let one = call(&mut acting, message(number, tries), class, now);
            let other = call(&mut observing, message(number, tries), class, now);
            prop_assert_eq!(one, other);
            prop_assert_eq!(acting.state(), observing.state());
            prop_assert_eq!(acting.limit(), observing.limit());
        }
        observing.act(true);
        prop_assert_eq!(acting, observing);
    }

    /// Invariant 6: a replica that nobody answers stops pulling, whatever kind of failure it gets.
    #[test]
    fn a_replica_that_nobody_answers_stops_pulling(
        seed in any::<u64>(),
        classes in proptest::collection::vec(0..3usize, 8),
    ) {
        let mut machine = flowing(seed);
        for (number, class) in (0..).zip(classes) {
            let class = [Class::Failed, Class::NotSent, Class::Credentials][class];
            call(&mut machine, message(number, 0), class, Duration::ZERO);
        }
        prop_assert_eq!(machine.offer(Duration::ZERO), Offer::Nothing);
    }
}
