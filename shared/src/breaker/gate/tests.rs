//! The async edge, with paused time.

mod pulling;
mod turning;

use super::*;
use crate::breaker::Settings;
use crate::breaker::class::Class;
use crate::breaker::fleet::{Effect, Entry};
use crate::breaker::fleet::{Phase, Reason};
use crate::breaker::machine::{State, Verdict};
use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use tokio::time::Instant;

fn limiter_of(name: &str, concurrency: u32) -> Arc<Limiter> {
    let settings = Settings { concurrency, ..Settings::default() };
    let limiter = Limiter::new(name, "me", settings, Instant::now());
    limiter.seen(Entry::default(), 0);
    limiter
}

fn pause(limiter: &Arc<Limiter>, revision: u64) {
    let entry = Entry { phase: Phase::Paused, wait_ms: 2000, ..Entry::default() };
    limiter.seen(entry, revision);
}

fn recover(limiter: &Arc<Limiter>, revision: u64) {
    let reason = Reason::Recovered;
    limiter.seen(Entry { phase: Phase::Flowing, reason, ..Entry::default() }, revision);
}

fn out(limiter: &Limiter) -> u32 {
    limiter.look(|replica| replica.machine().out())
}

async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    std::future::poll_fn(|context| {
        Poll::Ready(std::pin::Pin::new(&mut *future).poll(context).is_pending())
    })
    .await
}

async fn permit(gate: &Gate, number: u64) -> Permit {
    match gate.permit(gate.pulled(number, 0)).await {
        Admission::Call(permit) => permit,
        other => panic!("{other:?}"),
    }
}

/// Waits until the gate is open, and says how many messages may be pulled.
async fn open(gate: &Gate) -> u32 {
    let mut rooms = gate.rooms();
    loop {
        match rooms.now() {
            None => return u32::MAX,
            Some(0) => rooms.changed().await,
            Some(room) => return u32::try_from(room).unwrap(),
        }
    }
}

async fn drive(limiter: &Arc<Limiter>) {
    loop {
        limiter.turn().await;
    }
}
