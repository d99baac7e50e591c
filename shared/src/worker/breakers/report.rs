//! What the breakers of a worker say of themselves: on the health page, in metrics, and to whoever
//! asks the service `held`.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::{Breakers, Dependency, key, later};
use crate::breaker::fleet::Phase;
use crate::breaker::gate::Limiter;
use crate::breaker::replica::Replica;
use crate::breaker::{FleetMode, MessageId};
use crate::pipeline::{Note, Why, one_line};
use crate::process::health::Report;
use crate::telemetry;
use crate::worker::held;

/// Longest text of others in one line, in characters.
const MAX_TEXT: usize = 200;

const PHASES: [Phase; 4] = [Phase::Flowing, Phase::Suspected, Phase::Paused, Phase::Probing];

/// Adds up how long something is true.
#[derive(Debug, Default)]
pub(super) struct Stopwatch(Mutex<(Option<Instant>, Duration)>);

impl Stopwatch {
    /// Whether it is true from now on; says how long it was in all.
    pub(super) fn set(&self, runs: bool, now: Instant) -> Duration {
        let mut watch = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, total) = &mut *watch;
        if let Some(since) = since.take() {
            *total += now.duration_since(since);
        }
        *since = runs.then_some(now);
        *total
    }
}

impl Breakers {
    /// What this replica says to whoever asks.
    pub(in crate::worker) fn report(&self, ask: held::Ask) -> held::Report {
        let notes = self.worker.held.notes();
        let held_total = notes.len();
        let held = notes.into_iter().take(ask.limit).map(|(id, note)| self.held(id, note));
        held::Report {
            saga: self.worker.flow.saga.to_owned(),
            worker: self.worker.name().to_owned(),
            instance: self.instance.clone(),
            breakers: self.dependencies.iter().map(|one| self.breaker(&one.limiter)).collect(),
            held: held.collect(),
            held_total,
        }
    }

    fn breaker(&self, limiter: &Limiter) -> held::Breaker {
        let (now, ago) = (self.now(), limiter.now());
        limiter.look(|replica| held::Breaker {
            dependency: limiter.name().to_owned(),
            phase: replica.phase(),
            gate_open: replica.is_gate_open(),
            doubting_since: replica.machine().doubting_since().map(|at| moment(now, ago, at)),
            cut_off: replica.machine().is_sick(),
            limit: replica.machine().limit(),
            out: replica.machine().out(),
            held: replica.held().count(),
            on_its_own: replica.is_on_its_own(),
            fleet: replica.settings().fleet,
            forced: replica.fleet().forced().cloned(),
        })
    }

    fn held(&self, id: MessageId, note: Note) -> held::Held {
        let Note { saga, attempt, last_error, since, next_try } = note;
        let now = self.now();
        let mut charged = 0;
        let mut next_try = next_try.map(|at| later(now, at.duration_since(Instant::now())));
        for Dependency { limiter, .. } in &self.dependencies {
            let (failures, next) =
                limiter.look(|replica| (replica.machine().attempts(id), replica.next_try(id)));
            charged = charged.max(failures);
            next_try = next_try.max(next.map(|at| moment(now, limiter.now(), at)));
        }
        let durable = self.durables.get(usize::from(id.source));
        held::Held {
            durable: durable.map(|durable| durable.name.clone()).unwrap_or_default(),
            saga: saga.to_string(),
            sequence: id.number,
            attempt,
            charged,
            last_error,
            since,
            next_try,
        }
    }

    /// `payment paused since …, by …, no-answer`.
    fn line(&self, limiter: &Limiter) -> String {
        let now = self.now();
        limiter.look(|replica| {
            let mut line = format!("{} {}", limiter.name(), word(&replica.phase()));
            match replica.fleet().forced() {
                Some(forced) => {
                    let until = key::moment(forced.until_ms);
                    let (mode, by) = (word(&forced.mode), one_line(&forced.by, MAX_TEXT));
                    let reason = one_line(&forced.reason, MAX_TEXT);
                    line.push_str(&format!(": {mode} by {by} until {until:.0}, {reason}"));
                }
                None => line.push_str(&why(replica)),
            }
            if let Some(since) = replica.machine().doubting_since() {
                let since = moment(now, limiter.now(), since);
                line.push_str(&format!("; no answers here since {since:.0}"));
            }
            if replica.is_on_its_own() {
                line.push_str("; on its own: the breakers' bucket cannot be read");
            }
            line
        })
    }

    fn measure_dependency(&self, one: &Dependency) {
        let dependency = || one.limiter.name().to_owned();
        one.limiter.look(|replica| {
            let phase = replica.phase();
            for other in PHASES {
                let labels = [("dependency", dependency()), ("phase", word(&other))];
                metrics::gauge!(telemetry::PHASE, &labels).set(one_if(phase == other));
            }
            let doubts = replica.machine().doubting_since().is_some();
            metrics::gauge!(telemetry::DOUBTING, "dependency" => dependency()).set(one_if(doubts));
            let calls = replica.calls();
            for (class, count) in calls.by_class() {
                let labels = [("dependency", dependency()), ("class", class.to_owned())];
                metrics::counter!(telemetry::CALLS, &labels).absolute(count);
            }
            metrics::counter!(telemetry::WASTED, "dependency" => dependency())
                .absolute(calls.wasted());
            let paused = one.stopwatch.set(phase == Phase::Paused, Instant::now());
            metrics::counter!(telemetry::PAUSED, "dependency" => dependency())
                .absolute(paused.as_secs());
        });
    }
}

impl Report for Breakers {
    fn lines(&self) -> Vec<String> {
        let mut lines: Vec<_> =
            self.dependencies.iter().map(|one| self.line(&one.limiter)).collect();
        for (durable, until) in self.foreign.now(self.now()) {
            lines.push(format!("foreign pause of {durable} until {until}"));
        }
        lines
    }

    fn measure(&self) {
        for one in &self.dependencies {
            self.measure_dependency(one);
        }
        for (source, durable) in (0..).zip(&self.durables) {
            let name = || durable.name.clone();
            let limiters = || self.dependencies.iter().filter(|_| durable.is_gated);
            let sum = |of: fn(&Replica, u16) -> u64| -> u64 {
                limiters().map(|one| one.limiter.look(|replica| of(replica, source))).sum()
            };
            let open = limiters().all(|one| one.limiter.look(Replica::is_gate_open));
            metrics::gauge!(telemetry::GATE_OPEN, "durable" => name()).set(one_if(open));
            let held = sum(|replica, source| replica.held_of(source) as u64);
            #[expect(clippy::cast_precision_loss, reason = "a gauge is a float; 512 a service")]
            metrics::gauge!(telemetry::HELD, "durable" => name()).set(held as f64);
            let charged = sum(|replica, source| replica.machine().charged_of(source));
            metrics::counter!(telemetry::CHARGED, "durable" => name()).absolute(charged);
            for why in Why::ALL {
                telemetry::returned(&durable.name, why, 0);
            }
        }
    }
}

/// Why the fleet is in its phase, and since when; nothing where it never decided anything.
fn why(replica: &Replica) -> String {
    if replica.settings().fleet == FleetMode::Off {
        return " (fleet = off)".to_owned();
    }
    let (entry, _) = replica.fleet().view();
    match replica.fleet().stored() {
        (_, 0) => String::new(),
        _ => {
            let (since, reason) = (key::moment(entry.since_ms), word(&entry.reason));
            format!(" since {since:.0}, by {}, {reason}", one_line(&entry.by, MAX_TEXT))
        }
    }
}

/// The word that the key has for it.
fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value)
        .ok()
        .and_then(|word| Some(word.as_str()?.to_owned()))
        .unwrap_or_default()
}

fn one_if(yes: bool) -> f64 {
    if yes { 1.0 } else { 0.0 }
}

/// The broker's time at a moment of a limiter's clock.
fn moment(now: Timestamp, clock: Duration, at: Duration) -> Timestamp {
    match at.checked_sub(clock) {
        Some(ahead) => later(now, ahead),
        None => {
            let ago = SignedDuration::try_from(clock - at).unwrap_or(SignedDuration::MAX);
            now.saturating_sub(ago).unwrap_or(Timestamp::MIN)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaker::fleet::Mode;

    #[test]
    fn a_stopwatch_adds_up_only_while_it_runs() {
        let (watch, start) = (Stopwatch::default(), Instant::now());
        let at = |second| start + Duration::from_secs(second);
        let said = [(false, 1), (true, 2), (true, 5), (false, 6), (false, 60), (true, 61)]
            .map(|(runs, second)| watch.set(runs, at(second)).as_secs());
        assert_eq!(said, [0, 0, 3, 4, 4, 4]);
        assert_eq!(watch.set(true, at(63)).as_secs(), 6);
    }

    #[test]
    fn the_words_are_those_of_the_key() {
        assert_eq!(PHASES.map(|phase| word(&phase)), ["flowing", "suspected", "paused", "probing"]);
        assert_eq!(word(&Mode::Observe), "observe");
    }

    #[test]
    fn a_moment_of_the_limiter_is_one_of_the_broker() {
        let now = Timestamp::from_second(100).expect("a time");
        let at = |second| moment(now, Duration::from_secs(10), Duration::from_secs(second));
        assert_eq!([at(4), at(10), at(13)].map(Timestamp::as_second), [94, 100, 103]);
    }
}
