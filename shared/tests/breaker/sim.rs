//! A discrete-event simulation of replicas, one dependency, one key and one stream of messages.
//!
//! It drives the pure [`Replica`] exactly as the gate does, with its own clock: no runtime, no
//! sleeping, the same run for the same seed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::time::Duration;

use quadrille::breaker::class::Class;
use quadrille::breaker::fleet::{Effect, Entry, News, Phase};
use quadrille::breaker::machine::{Parking, Ticket, Verdict};
use quadrille::breaker::replica::{Next, Replica};
use quadrille::breaker::{Message, MessageId, Settings};

mod event;
mod key;
mod report;
pub(crate) mod scenarios;

use event::{Due, Event};
pub(crate) use report::Counts;

/// A delivery comes back this long after its replica was killed.
const ACK_WAIT: Duration = Duration::from_secs(30);

/// What the dependency does with one call: how long it takes, what comes back.
pub(crate) type Dependency = Box<dyn FnMut(&Call, &mut fastrand::Rng) -> (Duration, Class)>;

pub(crate) struct Call {
    pub(crate) at: f64,
    pub(crate) replica: usize,
    pub(crate) message: u64,
    /// Calls in flight, of all replicas.
    pub(crate) busy: u32,
}

pub(crate) fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

struct Seat {
    replica: Replica,
    life: u64,
    wakes: Option<Duration>,
    /// Called now, so that a kill can bring them back.
    calling: Vec<MessageId>,
}

pub(crate) struct Simulation {
    pub(crate) now: Duration,
    events: BinaryHeap<Reverse<Due>>,
    sequence: u64,
    seats: Vec<Seat>,
    settings: Settings,
    pub(crate) key: (Entry, u64),
    key_is_readable: bool,
    queue: VecDeque<u64>,
    deliveries: BTreeMap<u64, u64>,
    next_message: u64,
    /// Messages a second; zero for none.
    rate: f64,
    dependency: Dependency,
    is_down: fn(f64, usize) -> bool,
    busy: u32,
    probing_now: u32,
    rng: fastrand::Rng,
    pub(crate) counts: Counts,
    pub(crate) log: Vec<(Duration, Phase, String)>,
    paused_since: Option<Duration>,
    lives: u64,
    /// The replica to kill when the key next enters this phase.
    pub(crate) kill_on: Option<(Phase, bool)>,
    undo_every: u64,
    /// Replica and message of each call for a message that is still in the queue.
    ahead: BTreeSet<(usize, u64)>,
}

pub(crate) struct Setup {
    pub(crate) replicas: usize,
    pub(crate) rate: f64,
    pub(crate) backlog: u64,
    pub(crate) seed: u64,
    pub(crate) settings: Settings,
}

impl Simulation {
    pub(crate) fn new(
        setup: Setup,
        dependency: Dependency,
        is_down: fn(f64, usize) -> bool,
    ) -> Self {
        let mut simulation = Self {
            now: Duration::ZERO,
            events: BinaryHeap::new(),
            sequence: 0,
            seats: Vec::new(),
            settings: setup.settings,
            key: (Entry::default(), 0),
            key_is_readable: true,
            queue: (0..setup.backlog).collect(),
            deliveries: BTreeMap::new(),
            next_message: setup.backlog,
            rate: setup.rate,
            dependency,
            is_down,
            busy: 0,
            probing_now: 0,
            rng: fastrand::Rng::with_seed(setup.seed),
            counts: Counts::default(),
            log: Vec::new(),
            paused_since: None,
            lives: 0,
            kill_on: None,
            undo_every: 10,
            ahead: BTreeSet::new(),
        };
        for replica in 0..setup.replicas {
            let seat = simulation.seat(replica);
            simulation.seats.push(seat);
            simulation.greet(replica);
        }
        if setup.rate > 0.0 {
            simulation.at(seconds(1.0 / setup.rate), Event::Arrive);
        }
        simulation
    }

    fn seat(&mut self, replica: usize) -> Seat {
        self.lives += 1;
        let name = format!("{replica}-{}", self.lives);
        let mut replica = Replica::new(name, self.settings, self.rng.u64(..));
        replica.looks_ahead();
        Seat { replica, life: self.lives, wakes: None, calling: Vec::new() }
    }

    /// A replica that starts reads the key before its first pull, or finds it unreadable.
    fn greet(&mut self, replica: usize) {
        let (entry, revision) = self.key.clone();
        let now = self.now;
        if self.key_is_readable {
            self.seats[replica].replica.seen(entry, revision, now);
        } else {
            self.seats[replica].replica.unreadable(now);
        }
        self.pump(replica);
    }

    fn at(&mut self, wait: Duration, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse(Due(self.now + wait, self.sequence, event)));
    }

    pub(crate) fn kill_at(&mut self, at: f64, replica: usize) {
        self.at(seconds(at), Event::Kill(replica));
    }

    pub(crate) fn unreadable_between(&mut self, from: f64, until: f64) {
        self.at(seconds(from), Event::Unreadable(true));
        self.at(seconds(until), Event::Unreadable(false));
    }

    pub(crate) fn stop_arriving_at(&mut self, at: f64) {
        self.at(seconds(at), Event::StopArriving);
    }

    pub(crate) fn send_at(&mut self, at: f64) {
        let message = self.next_message;
        self.next_message += 1;
        self.at(seconds(at), Event::Queue(message, false));
    }

    pub(crate) fn run_until(&mut self, end: f64) {
        let end = seconds(end);
        while let Some(Reverse(Due(at, ..))) = self.events.peek() {
            if *at >= end {
                break;
            }
            let Some(Reverse(Due(at, _, event))) = self.events.pop() else { break };
            self.now = at;
            self.happen(event);
        }
        self.now = end;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive => {
                if self.rate > 0.0 {
                    self.queue.push_back(self.next_message);
                    self.next_message += 1;
                    let wait = -(1.0 - self.rng.f64()).ln() / self.rate;
                    self.at(seconds(wait), Event::Arrive);
                    self.offer();
                }
            }
            Event::StopArriving => self.rate = 0.0,
            Event::Queue(message, first) => {
                if first {
                    self.queue.push_front(message);
                } else {
                    self.queue.push_back(message);
                }
                self.offer();
            }
            Event::Finish { replica, life, ticket, class } => {
                self.busy -= 1;
                self.probing_now -= u32::from(ticket.is_probe());
                if self.seats[replica].life == life {
                    self.finish(replica, ticket, class);
                }
            }
            Event::See { replica, entry, revision } => {
                if self.key_is_readable {
                    let now = self.now;
                    self.seats[replica].replica.seen(entry, revision, now);
                    self.pump(replica);
                }
            }
            Event::Tick { replica, at } => {
                if self.seats[replica].wakes == Some(at) {
                    self.seats[replica].wakes = None;
                    let now = self.now;
                    self.seats[replica].replica.tick(now);
                    self.pump(replica);
                }
            }
            Event::Kill(replica) => self.kill(replica),
            Event::Unreadable(true) => {
                self.key_is_readable = false;
                for replica in 0..self.seats.len() {
                    let now = self.now;
                    self.seats[replica].replica.unreadable(now);
                    self.pump(replica);
                }
            }
            Event::Unreadable(false) => {
                self.key_is_readable = true;
                for replica in 0..self.seats.len() {
                    let (entry, revision) = self.key.clone();
                    let now = self.now;
                    self.seats[replica].replica.seen(entry, revision, now);
                    self.pump(replica);
                }
            }
        }
    }

    fn kill(&mut self, replica: usize) {
        let seat = self.seat(replica);
        let dead = std::mem::replace(&mut self.seats[replica], seat);
        // What was called ahead of its turn is in the queue.
        let calling =
            dead.calling.into_iter().filter(|id| !self.ahead.remove(&(replica, id.number)));
        let in_hand = dead.replica.held().map(|held| held.id).chain(calling);
        for id in in_hand.collect::<Vec<_>>() {
            self.at(ACK_WAIT, Event::Queue(id.number, true));
        }
        self.counts.charged_by_the_dead += dead.replica.machine().charged_total();
        self.greet(replica);
    }

    /// New work is offered to all replicas in any order.
    fn offer(&mut self) {
        let mut order: Vec<_> = (0..self.seats.len()).collect();
        self.rng.shuffle(&mut order);
        for replica in order {
            if self.queue.is_empty() {
                break;
            }
            self.pump(replica);
        }
    }

    /// What the gate does after every input: pull, dispatch, carry out effects, set the timer.
    fn pump(&mut self, replica: usize) {
        let now = self.now;
        let offered = !self.queue.is_empty();
        loop {
            self.look_ahead(replica);
            let seat = &mut self.seats[replica];
            seat.replica.more(0, !self.queue.is_empty());
            while seat.replica.room(now) > 0 {
                let Some(message) = self.queue.pop_front() else { break };
                let deliveries = self.deliveries.entry(message).or_default();
                *deliveries += 1;
                self.counts.most_deliveries = self.counts.most_deliveries.max(*deliveries);
                let id = MessageId { source: 0, number: message };
                let undo = message % self.undo_every == 0;
                seat.replica.hold(Message::new(id, undo, now), now);
            }
            seat.replica.more(0, !self.queue.is_empty());
            let most_held = seat.replica.held().count();
            self.counts.most_held = self.counts.most_held.max(most_held);
            let Some(next) = seat.replica.next(now) else { break };
            match next {
                Next::Call(ticket) => self.call(replica, ticket),
                Next::Park(message) => self.park(message, Parking::Attempts),
                Next::GiveBack { message, delay, .. } => self.give_back(message, delay),
            }
        }
        self.effects(replica);
        if offered && self.queue.is_empty() {
            self.seats[replica].replica.more(0, false);
        }
        let seat = &mut self.seats[replica];
        let wakes = seat.replica.wakes_at(now);
        if wakes != seat.wakes {
            seat.wakes = wakes;
            if let Some(at) = wakes {
                self.at(at.saturating_sub(now), Event::Tick { replica, at });
            }
        }
    }

    /// Calls for the newest message or for any, if one ahead of its turn is wanted.
    fn look_ahead(&mut self, replica: usize) {
        let now = self.now;
        let wants = self.seats[replica].replica.wants_ahead(now);
        if !wants || self.queue.len() < 2 {
            return;
        }
        let last = self.queue.len() - 1;
        let at = if self.rng.bool() { last } else { self.rng.usize(..=last) };
        let number = self.queue[at];
        if number.is_multiple_of(self.undo_every) {
            return;
        }
        let message = Message::new(MessageId { source: 0, number }, false, now);
        let Some(ticket) = self.seats[replica].replica.try_ahead(message, now) else { return };
        self.ahead.insert((replica, number));
        self.call(replica, ticket);
    }

    fn call(&mut self, replica: usize, ticket: Ticket) {
        self.counts.calls += 1;
        self.busy += 1;
        if ticket.is_probe() {
            self.counts.probes += 1;
            self.probing_now += 1;
            self.counts.probes_at_once = self.counts.probes_at_once.max(self.probing_now);
        } else if self.seats[replica].replica.machine().is_stopped() {
            self.counts.calls_while_shut += 1;
        }
        let at = self.now.as_secs_f64();
        if (self.is_down)(at, replica) {
            self.counts.wasted += 1;
        }
        let id = ticket.message().id;
        let call = Call { at, replica, message: id.number, busy: self.busy };
        let (takes, class) = (self.dependency)(&call, &mut self.rng);
        if matches!(class, Class::Busy(_)) {
            self.counts.over += 1;
        }
        let seat = &mut self.seats[replica];
        seat.calling.push(id);
        let life = seat.life;
        self.at(takes, Event::Finish { replica, life, ticket, class });
    }

    fn finish(&mut self, replica: usize, ticket: Ticket, class: Class) {
        let now = self.now;
        let message = ticket.message();
        let seat = &mut self.seats[replica];
        seat.calling.retain(|id| *id != message.id);
        let verdict = seat.replica.finish(ticket, class, now);
        if self.ahead.remove(&(replica, message.id.number)) {
            let waits = self.queue.iter().position(|number| *number == message.id.number);
            if let (Verdict::Settle, Some(at)) = (verdict, waits) {
                self.queue.remove(at);
                self.counts.good += 1;
                self.counts.answered_at.push(now);
            }
            return self.pump(replica);
        }
        match verdict {
            Verdict::Settle => {
                self.counts.good += 1;
                self.counts.answered_at.push(now);
            }
            Verdict::Park(why) => self.park(message, why),
            Verdict::Hold(message) => seat.replica.hold(message, now),
            Verdict::GiveBack { delay, .. } => self.give_back(message, delay),
        }
        self.pump(replica);
    }

    fn park(&mut self, message: Message, why: Parking) {
        assert!(!message.undo || why == Parking::Bad, "an undo was parked for its failures");
        self.counts.parked.insert(message.id.number, why);
    }

    fn give_back(&mut self, message: Message, delay: Duration) {
        self.counts.given_back += 1;
        self.at(delay, Event::Queue(message.id.number, true));
    }
}
