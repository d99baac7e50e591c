//! One dependency of a worker: its replica behind a lock, those who wait, and the timer.

use std::collections::{HashMap, hash_map};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;

use super::permit::Slot;
use crate::breaker::class::Class;
use crate::breaker::fleet::{Effect, Entry, Override};
use crate::breaker::machine::Parking;
use crate::breaker::replica::{Next, Replica};
use crate::breaker::{Message, MessageId, Settings};

/// One dependency of this worker.
#[derive(Debug)]
pub struct Limiter {
    name: String,
    started: Instant,
    state: Mutex<State>,
    pub(super) room: watch::Sender<Room>,
    changed: Notify,
    /// Messages that were pulled and have not asked for a permit yet.
    expected: AtomicUsize,
    waits_for_expected: AtomicBool,
}

/// What may be pulled.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Room {
    /// New messages, in the order of the durable.
    pub(super) messages: u32,
    /// Whether one ahead of its turn is wanted.
    pub(super) ahead: bool,
}

#[derive(Debug)]
struct State {
    replica: Replica,
    waiting: HashMap<MessageId, oneshot::Sender<Answer>>,
    /// When [`Limiter::turn`] will look again by itself.
    armed: Option<Duration>,
}

/// What a message that waited is to do, as far as this dependency goes.
#[derive(Debug)]
pub(super) enum Answer {
    Call(Slot),
    Park(Parking),
    GiveBack {
        delay: Duration,
        charged: u32,
    },
    /// An earlier delivery of the same message waits here already, and keeps its place.
    Twice,
}

impl Limiter {
    /// `me` names this process among the replicas and differs after a restart. `started` is the
    /// same for all limiters of a process, because a message carries times from one to another.
    pub fn new(
        name: impl Into<String>,
        me: impl Into<String>,
        settings: Settings,
        started: Instant,
    ) -> Arc<Self> {
        let replica = Replica::new(me, settings, fastrand::u64(..));
        let state = State { replica, waiting: HashMap::new(), armed: None };
        let limiter = Self {
            name: name.into(),
            started,
            state: Mutex::new(state),
            room: watch::Sender::default(),
            changed: Notify::new(),
            expected: AtomicUsize::new(0),
            waits_for_expected: AtomicBool::new(false),
        };
        limiter.act(|_, _| ());
        Arc::new(limiter)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The time on the clock of all limiters of this process.
    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// The key was read, or was written by this process. Without an entry: the default one.
    pub fn seen(self: &Arc<Self>, entry: Entry, revision: u64) {
        self.drive(|replica, now| replica.seen(entry, revision, now));
    }

    /// The key was deleted.
    pub fn deleted(self: &Arc<Self>) {
        self.drive(Replica::deleted);
    }

    /// The key or its watch cannot be read.
    pub fn unreadable(self: &Arc<Self>) {
        self.drive(Replica::unreadable);
    }

    /// An operator's override and the time it has left; `None` when there is none.
    pub fn overridden(self: &Arc<Self>, wanted: Option<(Override, Duration)>) {
        self.drive(|replica, now| replica.overridden(wanted, now));
    }

    /// What the breaker knows, for metrics, `/ready` and `held`.
    pub fn look<R>(&self, at: impl FnOnce(&Replica) -> R) -> R {
        at(&self.lock().replica)
    }

    /// Waits until something is to be done, and says what. Call it in a loop, from one task.
    /// Cancel safe.
    pub async fn turn(self: &Arc<Self>) -> Vec<Effect> {
        loop {
            let (effects, wakes_at) = self.act(|state, now| {
                state.replica.tick(now);
                self.dispatch_all(state, now);
                state.armed = state.replica.wakes_at(now);
                (state.replica.take_effects(), state.armed)
            });
            if !effects.is_empty() {
                return effects;
            }
            let far = Duration::from_secs(3600);
            let wakes_at = self.started + wakes_at.unwrap_or_else(|| self.now() + far);
            tokio::select! {
                () = self.changed.notified() => {}
                () = tokio::time::sleep_until(wakes_at) => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here leaves the state half changed: a panic elsewhere must not stop the rest.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Acts on the replica and lets start what may start now.
    pub(super) fn drive<R>(self: &Arc<Self>, input: impl FnOnce(&mut Replica, Duration) -> R) -> R {
        self.act(|state, now| {
            let result = input(&mut state.replica, now);
            self.dispatch_all(state, now);
            result
        })
    }

    pub(super) fn expects_one(&self) {
        self.expected.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn one_came(self: &Arc<Self>) {
        let was_the_last = self.expected.fetch_sub(1, Ordering::Relaxed) == 1;
        // Without the lock on the way of every message: only single calls and probes wait for this.
        if was_the_last && self.waits_for_expected.load(Ordering::Relaxed) {
            self.drive(|_, _| ());
        }
    }

    fn dispatch_all(self: &Arc<Self>, state: &mut State, now: Duration) {
        state.replica.expects(self.expected.load(Ordering::Relaxed) > 0);
        while let Some(next) = state.replica.next(now) {
            self.dispatch(state, next, now);
        }
    }

    fn act<R>(&self, input: impl FnOnce(&mut State, Duration) -> R) -> R {
        let mut state = self.lock();
        let now = self.now();
        let result = input(&mut state, now);
        let messages = state.replica.room(now);
        let room = Room { messages, ahead: state.replica.wants_ahead(now) };
        self.waits_for_expected.store(state.replica.waits_for_expected(), Ordering::Relaxed);
        // Every call changes the room; who pulls is woken only where that changes what it does.
        let half = state.replica.settings().concurrency / 2;
        self.room.send_if_modified(|old| {
            let level = |room: Room| (room.messages > 0, room.messages > half, room.ahead);
            level(std::mem::replace(old, room)) != level(room)
        });
        let sooner = match (state.replica.wakes_at(now), state.armed) {
            (Some(at), Some(armed)) => at < armed,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if sooner || state.replica.has_effects() {
            self.changed.notify_one();
        }
        result
    }

    fn dispatch(self: &Arc<Self>, state: &mut State, next: Next, now: Duration) {
        let (id, answer) = match next {
            Next::Call(ticket) => {
                let id = ticket.message().id;
                (id, Answer::Call(Slot::new(self.clone(), ticket)))
            }
            Next::Park(message) => (message.id, Answer::Park(Parking::Attempts)),
            Next::GiveBack { message, delay, charged } => {
                (message.id, Answer::GiveBack { delay, charged })
            }
        };
        let unheard = match state.waiting.remove(&id) {
            Some(waiter) => waiter.send(answer).err(),
            None => Some(answer),
        };
        // Nobody waits for it any more. Not by its drop: that would lock what is locked here.
        if let Some(Answer::Call(mut slot)) = unheard
            && let Some(ticket) = slot.take()
        {
            state.replica.finish(ticket, Class::Local, now);
        }
    }

    /// Waits for this dependency's permit. Cancel safe.
    pub(super) async fn wait(self: &Arc<Self>, message: Message) -> Answer {
        let (waiter, answer) = oneshot::channel();
        match self.lock().waiting.entry(message.id) {
            hash_map::Entry::Occupied(_) => return Answer::Twice,
            hash_map::Entry::Vacant(place) => {
                place.insert(waiter);
            }
        }
        let leave = Leave { limiter: self, message: message.id };
        self.drive(|replica, now| replica.hold(message, now));
        // Without an answer: an earlier delivery was granted, cancelled, and took this one along.
        let answer = answer.await.unwrap_or(Answer::Twice);
        // It is out already, and by now another delivery of it may wait.
        std::mem::forget(leave);
        answer
    }

    pub(super) fn try_call(self: &Arc<Self>, message: Message) -> Option<Slot> {
        let ticket = self.act(|state, now| state.replica.try_start(message, now))?;
        Some(Slot::new(self.clone(), ticket))
    }

    pub(super) fn try_ahead(self: &Arc<Self>, message: Message) -> Option<Slot> {
        let ticket = self.act(|state, now| state.replica.try_ahead(message, now))?;
        Some(Slot::new(self.clone(), ticket))
    }
}

/// Takes a message out of the waiting ones if its waiting is cancelled.
struct Leave<'a> {
    limiter: &'a Arc<Limiter>,
    message: MessageId,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.limiter.act(|state, now| {
            state.waiting.remove(&self.message);
            state.replica.release(self.message);
            self.limiter.dispatch_all(state, now);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_grant_that_nobody_hears_any_more_comes_back_at_once() {
        let limiter = Limiter::new("payment", "me", Settings::default(), Instant::now());
        let id = MessageId { source: 0, number: 1 };
        let (waiter, gone) = oneshot::channel();
        limiter.lock().waiting.insert(id, waiter);
        limiter.drive(|replica, now| replica.hold(Message::new(id, false, now), now));
        drop(gone);
        limiter.seen(Entry::default(), 0);
        assert_eq!(limiter.look(|replica| replica.machine().out()), 0);
    }
}
