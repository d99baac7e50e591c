//! Lets the pull loop wait for its gate and a message for its permit: the async edge of a replica.
//!
//! One [`Limiter`] per dependency, shared by all durables of the worker; a [`Gate`] per durable is
//! the AND of the limiters of its dependencies. One task drives each limiter by
//! [`Limiter::turn`], because nothing here spawns. No call is made here and no key is read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use futures::future::select_all;
use tokio::sync::{Notify, watch};

use super::machine::Parking;
use super::{Message, MessageId};

mod limiter;
mod permit;
#[cfg(test)]
mod tests;

pub use limiter::Limiter;
use limiter::{Answer, Room};
pub use permit::Permit;

/// When the broker, which missed our in-progress acks, is to deliver again what waits here already.
/// The next of these acks puts it off further.
pub(crate) const TWICE: Duration = Duration::from_secs(5);

/// What one durable waits at: open when every dependency that its step requires is.
#[derive(Debug, Clone)]
pub struct Gate {
    limiters: Vec<Arc<Limiter>>,
    source: u16,
    undo: bool,
    waiting: Arc<Waiting>,
}

/// How many messages of a durable wait for a permit, and whoever wants to know of one more.
#[derive(Debug, Default)]
struct Waiting {
    count: AtomicUsize,
    one_more: Notify,
}

impl Waiting {
    fn enter(&self) -> Waits<'_> {
        self.count.fetch_add(1, Relaxed);
        self.one_more.notify_one();
        Waits(self)
    }
}

struct Waits<'a>(&'a Waiting);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Relaxed);
    }
}

impl Gate {
    /// `source` is the durable's number in its worker; without limiters the gate is always open.
    pub fn new(source: u16, undo: bool, limiters: Vec<Arc<Limiter>>) -> Self {
        Self { limiters, source, undo, waiting: Arc::default() }
    }

    /// A message that this durable has just pulled.
    pub fn pulled(&self, number: u64) -> Message {
        let id = self.id(number);
        Message::new(id, self.undo, self.limiters.first().map_or(Duration::ZERO, |one| one.now()))
    }

    /// A pulled message is on its way here: no prober says meanwhile that it has nothing to probe
    /// with.
    pub fn expects_one(&self) -> Expected {
        for limiter in &self.limiters {
            limiter.expects_one();
        }
        Expected { limiters: self.limiters.clone(), came: AtomicBool::new(false) }
    }

    /// Failures that count against a message, as written down when it was given back earlier.
    pub fn remember(&self, message: MessageId, charged: u32) {
        for limiter in self.limiters.iter().filter(|_| charged > 0) {
            limiter.drive(|replica, _| replica.remember(message, charged));
        }
    }

    /// Failures that count against a message in hand.
    pub fn charged(&self, message: MessageId) -> u32 {
        let charged = |one: &Arc<Limiter>| one.look(|replica| replica.machine().attempts(message));
        self.limiters.iter().map(charged).max().unwrap_or_default()
    }

    /// Whether a message in hand failed as often as it may.
    pub fn has_used_up(&self, message: MessageId) -> bool {
        let used_up =
            |one: &Arc<Limiter>| one.look(|replica| replica.machine().has_used_up(message));
        self.limiters.iter().any(used_up)
    }

    /// From now on the loop of this durable looks ahead when [`Rooms::ahead`] says so.
    pub fn looks_ahead(&self) {
        for limiter in &self.limiters {
            limiter.drive(|replica, _| replica.looks_ahead());
        }
    }

    /// The permit of a message ahead of its turn, which does not wait for it. Only with one
    /// dependency: what waits for two is not called on the spot.
    pub fn try_ahead(&self, message: Message) -> Option<Permit> {
        let [only] = &self.limiters[..] else { return None };
        only.try_ahead(message).map(|slot| Permit::new(message, vec![slot]))
    }

    /// How many messages may be pulled, now and whenever that changes.
    pub fn rooms(&self) -> Rooms {
        Rooms(self.limiters.iter().map(|limiter| limiter.room.subscribe()).collect())
    }

    /// How many messages wait for a permit.
    pub fn waiting(&self) -> usize {
        self.waiting.count.load(Relaxed)
    }

    /// Waits until one more message waits; now and then it says so though none does. Cancel safe.
    pub async fn waits(&self) {
        self.waiting.one_more.notified().await;
    }

    /// Says after every pull whether the durable has more than was pulled: as long as it has, what
    /// failed gets at most half of the slots.
    pub fn more(&self, more: bool) {
        for limiter in &self.limiters {
            limiter.drive(|replica, _| replica.more(self.source, more));
        }
    }

    fn id(&self, number: u64) -> MessageId {
        MessageId { source: self.source, number }
    }

    /// The permit, in the usual case that the message need not wait for it: at most one dependency,
    /// and a slot is free.
    pub fn try_permit(&self, message: Message) -> Option<Permit> {
        match &self.limiters[..] {
            [] => Some(Permit::new(message, Vec::new())),
            [only] => only.try_call(message).map(|slot| Permit::new(message, vec![slot])),
            [_, _, ..] => None,
        }
    }

    /// Waits for the message's turn at all dependencies. Cancel safe.
    ///
    /// A permit of one dependency is never kept while waiting for another, because a paused one
    /// would then take the slots of the others.
    pub async fn permit(&self, message: Message) -> Admission {
        if let Some(permit) = self.try_permit(message) {
            return Admission::Call(permit);
        }
        let _waits = self.waiting.enter();
        let mut waits_at = 0;
        loop {
            let Some(limiter) = self.limiters.get(waits_at) else {
                return Admission::Call(Permit::new(message, Vec::new()));
            };
            let slot = match limiter.wait(message).await {
                Answer::Call(slot) => slot,
                Answer::Park(why) => {
                    self.forget(message.id);
                    return Admission::Park(why);
                }
                Answer::GiveBack { delay, charged } => {
                    self.forget(message.id);
                    return Admission::GiveBack { delay, charged };
                }
                Answer::Twice => return Admission::GiveBack { delay: TWICE, charged: 0 },
            };
            let mut slots = vec![slot];
            let mut others = self.limiters.iter().enumerate().filter(|(at, _)| *at != waits_at);
            let shut = others.find_map(|(at, other)| match other.try_call(message) {
                Some(slot) => {
                    slots.push(slot);
                    None
                }
                None => Some(at),
            });
            match shut {
                None => return Admission::Call(Permit::new(message, slots)),
                Some(at) => waits_at = at,
            }
        }
    }

    fn forget(&self, message: MessageId) {
        for limiter in &self.limiters {
            limiter.drive(|replica, _| replica.forget(message));
        }
    }
}

/// A message between its pull and its first question for a permit. Dropped, it was settled without
/// one.
#[derive(Debug)]
pub struct Expected {
    limiters: Vec<Arc<Limiter>>,
    came: AtomicBool,
}

impl Expected {
    /// It is here. Asked again, it changes nothing.
    pub fn comes(&self) {
        if !self.came.swap(true, Relaxed) {
            for limiter in &self.limiters {
                limiter.one_came();
            }
        }
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.comes();
    }
}

/// How many messages a durable may pull: the least that one of its dependencies allows, and no
/// pull at all while it is zero.
#[derive(Debug)]
pub struct Rooms(Vec<watch::Receiver<Room>>);

impl Rooms {
    /// How many now; `None` where the step requires no dependency. Exact whenever it is asked.
    pub fn now(&mut self) -> Option<usize> {
        let room = self.0.iter_mut().map(|room| room.borrow_and_update().messages).min()?;
        Some(usize::try_from(room).unwrap_or(usize::MAX))
    }

    /// Whether a message ahead of its turn is wanted.
    pub fn ahead(&self) -> bool {
        self.0.iter().any(|room| room.borrow().ahead)
    }

    /// Waits until the gate opens or shuts, or half of its slots are free, or no longer are, or a
    /// message ahead of its turn is wanted, or no longer is.
    /// Cancel safe.
    pub async fn changed(&mut self) {
        let changes = self.0.iter_mut().map(|room| Box::pin(room.changed()));
        if changes.len() == 0 {
            return std::future::pending().await;
        }
        // It cannot fail: the gate holds the limiters, and their senders with them.
        let _ = select_all(changes).await;
    }
}

/// What a message that waited for a permit is to do.
#[derive(Debug)]
pub enum Admission {
    /// Make the call, and tell the permit what it came to.
    Call(Permit),
    Park(Parking),
    /// Back to the broker with this delay; write `charged` down if it is not zero.
    GiveBack {
        delay: Duration,
        charged: u32,
    },
}
