//! One service as a person reads it: each line begins with the source of what it says.

use std::fmt::Write as _;

use quadrille::breaker::fleet::{Entry, Phase};
use quadrille::worker::held;

use super::{Durable, Replica, Shown};
use crate::breaker::{moment, plain, sentence, word};
use crate::output::{self, BAD, GOOD, Paint, STRONG, Style, WAITS};

pub(super) fn text(shown: &Shown, paint: Paint) -> String {
    let Shown { dependency, key, forced, durables, replicas, silent } = shown;
    let mut text = format!("{}\n", paint.paint(STRONG, dependency));
    let mut line = |source: &str, said: String| {
        let _ = writeln!(text, "  {source:<9} {said}");
    };
    line(
        "key",
        key.as_ref().map_or(
            "none: nothing was decided, or the key was reset since".to_owned(),
            |key| match (&key.value, &key.junk) {
                (Some(entry), _) => {
                    let delivers = durables.iter().any(|durable| durable.delivers());
                    format!("{}{}", agreed(entry, paint), between(entry, delivers))
                }
                (None, junk) => {
                    let junk = junk.as_deref().unwrap_or_default();
                    format!("{}: {junk}", paint.paint(BAD, "not a breaker's entry"))
                }
            },
        ),
    );
    line(
        "override",
        forced.as_ref().map_or("none".to_owned(), |forced| match (&forced.value, &forced.junk) {
            (Some(forced), _) => paint.paint(WAITS, sentence(forced)),
            (None, junk) => {
                format!("ignored, no override: {}", junk.as_deref().unwrap_or_default())
            }
        }),
    );
    for durable in durables {
        line("server", delivers(durable, paint));
    }
    for replica in replicas {
        line("replica", says(replica, paint));
    }
    for worker in silent {
        line("replica", format!("{worker}: none answers"));
    }
    text
}

fn agreed(entry: &Entry, paint: Paint) -> String {
    let Entry { phase, by, reason, since_ms, wait_ms, .. } = entry;
    let phase = word(phase);
    let style = phase_style(&phase);
    let (since, by, reason) = (moment(*since_ms), plain(by.as_bytes()), word(reason));
    #[expect(clippy::cast_precision_loss, reason = "it is shown with one digit")]
    let wait = output::duration(*wait_ms as f64);
    let phase = paint.paint(style, phase);
    format!("{phase} since {since:.0}, by {by}, {reason}, wait {wait}")
}

/// Why a durable delivers though the key still says paused: the server's pause ends by itself, and
/// the key changes once a message was tried.
fn between(entry: &Entry, delivers: bool) -> &'static str {
    match entry.phase {
        Phase::Paused if delivers => "; the server delivers again: one message probes the service",
        Phase::Flowing | Phase::Suspected | Phase::Paused | Phase::Probing => "",
    }
}

fn phase_style(phase: &str) -> Style {
    match phase {
        "flowing" => GOOD,
        "paused" => BAD,
        _ => WAITS,
    }
}

fn delivers(durable: &Durable, paint: Paint) -> String {
    let Durable { durable, paused_until, foreign_pause, error, .. } = durable;
    if let Some(error) = error {
        return format!("{durable}: unknown, {error}");
    }
    match paused_until {
        None => format!("{durable}: delivers"),
        Some(until) if *foreign_pause => {
            let mark = paint.paint(WAITS, "foreign_pause");
            format!("{durable}: paused until {until:.0}, {mark}: no key of the bucket explains it")
        }
        Some(until) => format!("{durable}: paused until {until:.0}"),
    }
}

fn says(replica: &Replica, paint: Paint) -> String {
    let Replica { instance, breaker } = replica;
    let held::Breaker { phase, doubting_since, cut_off, limit, out, held, .. } = breaker;
    let phase = word(phase);
    let style = phase_style(&phase);
    let mut said = format!("{instance}: {}", paint.paint(style, phase));
    if let Some(since) = doubting_since {
        let _ = write!(said, ", no answers since {since:.0}");
    }
    if *cut_off {
        let _ = write!(said, ", {}", paint.paint(BAD, "cut off: others are answered"));
    }
    if breaker.on_its_own {
        let _ = write!(said, ", on its own: it cannot read the bucket");
    }
    if let Some(forced) = &breaker.forced {
        let _ = write!(said, ", obeys the override {}", word(&forced.mode));
    }
    let _ = write!(said, "; limit {limit}, in flight {out}, held {held}");
    said
}
