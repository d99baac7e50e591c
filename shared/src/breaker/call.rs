//! The classic *circuit breaker* around one call, with a fallback, for what a step can do without.
//! The same pure machine as the worker's, local and without a gate; usable alone.
//!
//! What changes something may have happened although no answer came, so it may not be replaced by a
//! fallback: methods say [`Read`] or [`Write`], and the compiler refuses the rest.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::class::{Class, Classified};
use super::machine::{Machine, Offer, Ticket};
use super::{Message, MessageId, Settings};

mod answer;
mod spell;
#[cfg(test)]
mod tests;

use answer::reason;
pub use answer::{Answer, CallError, News, Read, Reason, Write};
use spell::Spell;

/// A fallback answers from memory or by a rule; one that takes longer has failed.
const FALLBACK_TIME: Duration = Duration::from_millis(100);
/// While a dependency is away every call falls back: they must not pile up in turn.
const FALLBACK_SLOTS: usize = 10;

/// One dependency's call breaker. How it is called: [`Read`] and [`Write`].
#[derive(Debug)]
pub struct Breaker {
    machine: Mutex<Machine>,
    fallbacks: Semaphore,
    started: Instant,
    calls: AtomicU64,
    spell: Mutex<Spell>,
    listener: Listener,
}

/// Who is told what happens, for metrics and logs.
struct Listener(Box<dyn Fn(News) + Send + Sync>);

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

impl Breaker {
    pub fn new(settings: Settings) -> Self {
        let mut machine = Machine::new(settings, fastrand::u64(..));
        machine.open(Duration::ZERO, false);
        Self {
            machine: Mutex::new(machine),
            fallbacks: Semaphore::new(FALLBACK_SLOTS),
            started: Instant::now(),
            calls: AtomicU64::new(0),
            spell: Mutex::default(),
            listener: Listener(Box::new(|_| {})),
        }
    }

    /// Tells `listener` what happens; it is called while a caller waits.
    #[must_use]
    pub fn telling(self, listener: impl Fn(News) + Send + Sync + 'static) -> Self {
        Self { listener: Listener(Box::new(listener)), ..self }
    }

    /// Prepares a call; nothing happens before its fallback is named and it is awaited. The call
    /// brings its own time limit; the breaker sets none.
    pub fn call<Make>(&self, make: Make) -> Call<'_, Make> {
        Call { breaker: self, make }
    }

    /// The machine, for metrics and `/ready`.
    pub fn look<R>(&self, at: impl FnOnce(&Machine) -> R) -> R {
        self.with(|machine, _| at(machine))
    }

    fn with<R>(&self, act: impl FnOnce(&mut Machine, Duration) -> R) -> R {
        let mut machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut machine, self.started.elapsed())
    }

    fn fell_back(&self, reason: Reason) {
        (self.listener.0)(News::FellBack(reason));
        let now = self.started.elapsed();
        if self.spell.lock().unwrap_or_else(PoisonError::into_inner).fell_back(now) {
            (self.listener.0)(News::Began(reason));
        }
    }

    fn answered(&self) {
        let now = self.started.elapsed();
        if self.spell.lock().unwrap_or_else(PoisonError::into_inner).answered(now) {
            (self.listener.0)(News::Ended);
        }
    }

    fn start(&self) -> Result<Flight<'_>, Reason> {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let ticket = self.with(|machine, now| match machine.offer(now) {
            Offer::Free { .. } | Offer::Single { .. } | Offer::Probe { .. } => {
                let id = MessageId { source: 0, number };
                Ok(machine.start(Message::new(id, false, now), now))
            }
            Offer::Nothing if machine.doubting_since().is_some() => Err(Reason::Doubting),
            Offer::Nothing => Err(Reason::Full),
        })?;
        Ok(Flight { breaker: self, ticket: Some(ticket), class: Class::Local })
    }

    async fn serve<T, E, F>(
        &self,
        call: impl Future<Output = Result<T, E>>,
        may_fall_back: impl Fn(Reason) -> bool,
        fallback: impl FnOnce() -> F,
    ) -> Result<Answer<T>, CallError<E>>
    where
        E: Classified,
        F: Future<Output = Option<T>>,
    {
        let (reason, error) = match self.start() {
            Err(reason) => (reason, CallError::NotCalled(reason)),
            Ok(mut flight) => match call.await {
                Ok(fresh) => {
                    flight.class = Class::Answered;
                    self.answered();
                    return Ok(Answer::Fresh(fresh));
                }
                Err(error) => {
                    flight.class = error.class();
                    match reason(flight.class) {
                        Some(reason) if may_fall_back(reason) => (reason, CallError::Call(error)),
                        Some(_) | None => return Err(CallError::Call(error)),
                    }
                }
            },
        };
        let Ok(_slot) = self.fallbacks.try_acquire() else { return Err(error) };
        match timeout(FALLBACK_TIME, fallback()).await {
            Ok(Some(instead)) => {
                self.fell_back(reason);
                Ok(Answer::Fallback(instead, reason))
            }
            Ok(None) | Err(_) => Err(error),
        }
    }
}

/// A call that waits for its fallback to be named.
#[derive(Debug)]
#[must_use = "a call does nothing before its fallback is named"]
pub struct Call<'a, Make> {
    breaker: &'a Breaker,
    make: Make,
}

impl<Make> Call<'_, Make> {
    /// Calls, or falls back.
    ///
    /// # Errors
    /// The call's own error, if it is none to fall back on, or if the fallback fails too, takes
    /// longer than 100 ms or finds all its 10 slots taken.
    pub async fn or_else<F, T, E, B, G, X>(self, fallback: B) -> Result<Answer<T>, CallError<E>>
    where
        Make: FnOnce() -> Read<F>,
        F: Future<Output = Result<T, E>>,
        E: Classified,
        B: FnOnce() -> G,
        G: Future<Output = Result<T, X>>,
    {
        let Self { breaker, make } = self;
        let fallback = || async { fallback().await.ok() };
        let no_answer = |reason| reason != Reason::Refused;
        breaker.serve(async { make().0.await }, no_answer, fallback).await
    }

    /// Calls, or falls back whatever it came to: a no falls back, too, and a request that the
    /// service calls wrong. For what the caller can do without in every case, because then the no
    /// of a service must hold up nothing.
    ///
    /// # Errors
    /// As `or_else`, but for a no.
    pub async fn or_else_even_if_refused<F, T, E, B, G, X>(
        self,
        fallback: B,
    ) -> Result<Answer<T>, CallError<E>>
    where
        Make: FnOnce() -> Read<F>,
        F: Future<Output = Result<T, E>>,
        E: Classified,
        B: FnOnce() -> G,
        G: Future<Output = Result<T, X>>,
    {
        let Self { breaker, make } = self;
        let fallback = || async { fallback().await.ok() };
        breaker.serve(async { make().0.await }, |_| true, fallback).await
    }

    /// Calls, or falls back where it is certain that nothing happened: the call was not made, or
    /// nothing was sent.
    ///
    /// # Errors
    /// As `or_else`, and whenever the outcome is unknown.
    pub async fn or_else_if_not_sent<F, T, E, B, G, X>(
        self,
        fallback: B,
    ) -> Result<Answer<T>, CallError<E>>
    where
        Make: FnOnce() -> Write<F>,
        F: Future<Output = Result<T, E>>,
        E: Classified,
        B: FnOnce() -> G,
        G: Future<Output = Result<T, X>>,
    {
        let Self { breaker, make } = self;
        let fallback = || async { fallback().await.ok() };
        let not_sent = |reason| reason == Reason::NotSent;
        breaker.serve(async { make().0.await }, not_sent, fallback).await
    }
}

/// A call in flight: its slot comes back however it ends.
struct Flight<'a> {
    breaker: &'a Breaker,
    ticket: Option<Ticket>,
    class: Class,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            let id = ticket.message().id;
            self.breaker.with(|machine, now| {
                machine.finish(ticket, self.class, now);
                // It is not tried again: the caller has had its answer.
                machine.forget(id);
            });
        }
    }
}
