//! A story as text: one line for each event, then the state of the saga.

use jiff::Timestamp;
use quadrille::Flow;
use quadrille::ids::shown;
use quadrille::log::parked::{Parked, Release, Verdict};
use quadrille::log::story::{Became, Coming, Kind, Line, Phase, Story, Turn, Waits, milliseconds};

use crate::output::{BAD, GOOD, Paint, QUIET, STRONG, Style, UNDO, WAITS, duration, rows_within};

const HEADINGS: [&str; 9] =
    ["", "time", " since", "worker", "event", " seq", "because of", " wait", " work"];

/// Longest text of others that is shown in one line.
const MAX_TEXT: usize = 400;

/// Longest line below the events: it may have every mistake of a message.
const MAX_LINE: usize = 2_000;

/// What a narrow terminal can do without, first of all.
const EXPENDABLE: [&str; 5] = ["wait", "because of", "since", "seq", "work"];

/// How old a wait is in which nothing can be wrong yet.
const EARLY_MS: f64 = 2_000.0;

/// The whole story, in lines; `now` is the broker's time, so that a wait is measured by one clock.
/// Columns are left out where the lines would be wider than `width`.
pub fn render(
    flow: &Flow,
    story: &Story,
    now: Timestamp,
    paint: Paint,
    width: Option<usize>,
) -> String {
    told(flow, story, now, Telling::Now, paint, width)
}

/// Which story is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Telling {
    /// How it stands.
    Now,
    /// How it stood, which will not change.
    Then,
    /// How it stands, but for what waits for a human: a sentence follows that says it, and nobody
    /// has to read it twice.
    ButForWhatWaits,
}

/// The same, told so; `now` is the moment that it is told of.
pub(super) fn told(
    flow: &Flow,
    story: &Story,
    now: Timestamp,
    telling: Telling,
    paint: Paint,
    width: Option<usize>,
) -> String {
    let with_what_waits = telling != Telling::ButForWhatWaits;
    let day = story
        .events
        .first()
        .map_or_else(String::new, |line| format!("  {} UTC", line.stored_at.strftime("%Y-%m-%d")));
    let title = paint.paint(STRONG, format!("{} {}", flow.saga, story.id));
    let mut text = format!("{title}{day}\n");
    // A type, a source and a reason may be any client's text, which a terminal must not obey.
    let plain = |cells: Vec<String>| cells.iter().map(|cell| shown(cell, MAX_TEXT)).collect();
    let rows: Vec<Vec<_>> = story.events.iter().map(row).map(plain).collect();
    let laid_out = rows_within(width, &HEADINGS, &rows, &EXPENDABLE);
    let styles = std::iter::once(QUIET).chain(story.events.iter().map(style));
    let shown_here =
        |entry: &&Parked| with_what_waits || story.became(flow, entry) != Became::Waits;
    let shown_here = story.parked.iter().filter(shown_here);
    let set_aside = shown_here.map(|entry| set_aside(flow, story, entry));
    let end =
        with_what_waits.then(|| (phase_style(story.state.phase), last_line(story, now, telling)));
    let rest = set_aside.chain(end).map(|(style, line)| (style, shown(&line, MAX_LINE)));
    for (style, line) in styles.zip(laid_out).chain(rest) {
        text.push_str(&format!("{}\n", paint.paint(style, line.trim_end())));
    }
    text
}

fn row(line: &Line) -> Vec<String> {
    let mark = match line.kind {
        Kind::Forward => "→",
        Kind::Refusal => "×",
        Kind::Undo => "←",
        Kind::Alien => "?",
    };
    let ms = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), duration);
    let cause = line.cause.as_ref().map(|cause| match &cause.slot {
        Some(slot) => format!("{slot} #{}", cause.sequence),
        None => format!("#{}", cause.sequence),
    });
    vec![
        mark.to_owned(),
        // To the millisecond, because people compare the times of two lines.
        line.stored_at.strftime("%H:%M:%S%.3f").to_string(),
        line.since_opened_ms.map_or_else(|| "-".to_owned(), since),
        line.source.clone(),
        event(line),
        format!("#{}", line.sequence),
        cause.unwrap_or_else(|| "-".to_owned()),
        ms(line.wait_ms),
        // Something was done, however little of it the clocks can tell.
        line.work_ms.map_or_else(|| "-".to_owned(), |ms| at_least(ms, 0.1)),
    ]
}

/// Since the opening; what was written before it is not of the saga.
fn since(milliseconds: f64) -> String {
    let sign = if milliseconds < 0.0 { '-' } else { '+' };
    format!("{sign}{}", duration(milliseconds.abs()))
}

/// A time of which less than `least` cannot be told.
fn at_least(milliseconds: f64, least: f64) -> String {
    match milliseconds < least / 2.0 {
        true => format!("<{}", duration(least)),
        false => duration(milliseconds),
    }
}

/// The type without its version, the reason of a refusal, and how often it was tried if that was
/// more than once.
fn event(line: &Line) -> String {
    let name = line.event_type.rsplit_once(".v").map_or(line.event_type.as_str(), |(name, _)| name);
    if name.is_empty() {
        return format!("{} holds what is no event", line.slot);
    }
    if line.kind == Kind::Alien {
        return format!("{} holds an event that does not count: {name}", line.slot);
    }
    let tries = line.attempt.filter(|attempt| *attempt > 1).map(nth_try);
    let told: Vec<_> = line.reason.iter().cloned().chain(tries).collect();
    if told.is_empty() { name.to_owned() } else { format!("{name} ({})", told.join(", ")) }
}

/// `2nd try`.
fn nth_try(attempt: u64) -> String {
    let ending = match (attempt % 10, attempt % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{attempt}{ending} try")
}

fn style(line: &Line) -> Style {
    match line.kind {
        Kind::Forward => Style::new(),
        Kind::Refusal | Kind::Alien => BAD,
        Kind::Undo => UNDO,
    }
}

fn phase_style(phase: Phase) -> Style {
    match phase {
        Phase::Completed => GOOD,
        Phase::Cancelled => UNDO,
        Phase::Cancelling | Phase::Open => WAITS,
        Phase::Parked | Phase::Unknown => BAD,
    }
}

/// How it ended, or whose turn it is.
fn last_line(story: &Story, now: Timestamp, telling: Telling) -> String {
    let took = story.took_ms.map_or_else(|| "an unknown time".to_owned(), duration);
    let turned = story.state.turned_by.as_ref().map_or_else(String::new, because);
    let waits =
        story.state.waits_for.as_ref().map_or_else(String::new, |who| awaited(who, now, telling));
    match story.state.phase {
        Phase::Completed => format!("completed in {took}"),
        Phase::Cancelled => {
            format!("cancelled after {took}{turned}; nothing is held, charged or owed")
        }
        Phase::Cancelling => format!("cancelling{turned}; {waits}"),
        Phase::Open => format!("open: {waits}"),
        Phase::Parked => "set aside, and waits for a human".to_owned(),
        Phase::Unknown => "never opened: the events here do not count".to_owned(),
    }
}

/// A message that was set aside, and what became of it.
fn set_aside(flow: &Flow, story: &Story, entry: &Parked) -> (Style, String) {
    let place = match entry.pointer.as_str() {
        "" => String::new(),
        pointer => format!(" at {pointer}"),
    };
    let told = format!(
        "parked by {} at {}: {}{place}: {} (message #{}, delivery {})",
        entry.durable,
        entry.parked_at.strftime("%Y-%m-%d %H:%M:%S%.3f UTC"),
        entry.reason,
        entry.message,
        entry.sequence,
        entry.deliveries,
    );
    match story.became(flow, entry) {
        Became::Waits => (BAD, told),
        Became::Comes(coming) => (WAITS, format!("{told}; {}", released(coming))),
        Became::Settled(None) => (QUIET, format!("was {told}; settled since")),
        Became::Settled(Some(coming)) => {
            (QUIET, format!("was {told}; {}; settled since", released(coming)))
        }
    }
}

fn released(coming: &Coming) -> String {
    let Release { verdict, by, reason, .. } = &coming.release;
    let at = coming.stored_at.strftime("%H:%M:%S%.3f");
    let what = match verdict {
        Verdict::Retry => "released to be tried again",
        Verdict::Refuse => "released to be refused",
    };
    let by = if by.is_empty() { String::new() } else { format!(" by {by}") };
    let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    format!("{what} at {at}{by}{reason}")
}

fn because(turn: &Turn) -> String {
    format!(": {} refused {} ({})", turn.by, turn.slot, turn.reason)
}

fn awaited(who: &Waits, now: Timestamp, telling: Telling) -> String {
    let Waits { worker, slot, since } = who;
    let ms = milliseconds(*since, now).max(0.0);
    let early = if ms < EARLY_MS { " (it is early: look again in a moment)" } else { "" };
    match telling == Telling::Then {
        true => format!("waited for {worker} to write {slot}, for {} then", duration(ms)),
        false => format!("waits for {worker} to write {slot}, for {} now{early}", duration(ms)),
    }
}

#[cfg(test)]
mod tests;
