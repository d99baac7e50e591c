//! The words for a reason: what the saga waits for, since when, what happens next, and what an
//! operator can do.

use jiff::Timestamp;

mod ended;
mod parked;
mod retry;
mod stray;
mod worker;

use super::looked::looked_at;
use super::reason::{Reason, is_near, moment};
use super::{Code, Seen, Why, duration};
use crate::Flow;
use crate::log::story::{Line, Obstacle, Phase, Story, milliseconds};
use crate::worker::held::Held;

pub(super) fn say(flow: &Flow, story: &Story, seen: &Seen, reason: &Reason<'_>, tool: &str) -> Why {
    let id = story.id.as_str();
    let words = Words { flow, story, seen, tool };
    let (mut what, next, advice) = words.of(reason);
    // What was set aside waits since then, and the words of this and of a retry say since when.
    let says_it = matches!(reason, Reason::Parked(_) | Reason::Retrying(_));
    if let (Some(waits), true) = (&story.state.waits_for, has_since(reason) && !says_it) {
        let long = lasted(waits.since, seen.now);
        what = format!("{what}, since {} ({long})", clock(waits.since));
    }
    let mut sentence = format!("{} {id} {what}", flow.saga);
    if let Some(turned) = words.turned().filter(|_| has_since(reason)) {
        sentence.push_str(&format!("; it is taken back, because {turned}"));
    }
    let deadline = seen.deadline.filter(|(from, until)| match reason {
        Reason::Ended(_) | Reason::Near { .. } => false, // It has none, or says it itself.
        // Nothing else may end it.
        Reason::Retrying(_) => true,
        _ => is_near(*from, *until, seen.now),
    });
    let deadline = deadline.map(|(_, until)| format!("its deadline is {}", words.table(until)));
    for part in [next.as_str(), deadline.as_deref().unwrap_or_default(), advice.as_str()] {
        if !part.is_empty() {
            sentence.push_str("; ");
            sentence.push_str(part);
        }
    }
    sentence.push('.');
    Why {
        id: id.to_owned(),
        code: reason.code(),
        waits_for: story.state.waits_for.clone(),
        sentence,
        next,
        advice,
        looked_at: looked_at(flow, story, seen),
    }
}

fn has_since(reason: &Reason<'_>) -> bool {
    !matches!(reason, Reason::Ended(_) | Reason::NotOpened)
}

/// What the words are made from.
struct Words<'w> {
    flow: &'w Flow,
    story: &'w Story,
    seen: &'w Seen,
    tool: &'w str,
}

/// What the saga waits for, what happens next, what can be done.
type Said = (String, String, String);

impl Words<'_> {
    fn of(&self, reason: &Reason<'_>) -> Said {
        let (worker, durable) = self.names();
        let (tool, (stream, at)) = (self.tool, self.seen.place(self.flow));
        match reason {
            Reason::Ended(_)
            | Reason::NotOpened
            | Reason::Parked(_)
            | Reason::Occupied(_)
            | Reason::UndoUnknown(_)
            | Reason::Newer(_) => self.of_the_log(reason),
            Reason::UndoBlocked(_) | Reason::Paused { .. } | Reason::Retrying(_) => {
                self.of_a_service(reason)
            }
            Reason::NoDurable => said(
                format!("waits for {worker}, whose durable {durable} does not exist"),
                "nothing delivers its next message",
                format!(
                    "`{tool} topology plan` says what is missing, and `topology apply` makes it"
                ),
            ),
            Reason::NotDelivered => said(
                format!(
                    "waits for {worker}, to which {durable} will not deliver message {at}: the \
                     durable is past it, no replica holds it, and its slot is empty"
                ),
                format!("a {worker} that runs notices, mostly within a minute, and handles it"),
                format!(
                    "start {worker}; or `nats consumer reset {stream} {durable} --sequence {at}` \
                     delivers it and what follows again, which repeats no decision"
                ),
            ),
            Reason::LogFull(log) => said(
                format!(
                    "waits for {worker}, because the log {} is full ({} of {} bytes)",
                    self.flow.stream,
                    log.bytes,
                    log.max_bytes.unwrap_or_default()
                ),
                "it goes on by itself once there is room",
                format!("`{tool} topology apply --max-bytes SIZE --write` makes room"),
            ),
            Reason::Foreign { until } => said(
                format!("waits for {worker}, whose durable {durable} somebody paused by hand"),
                format!("the pause ends by itself at {}", clock(*until)),
                format!("`nats consumer resume {stream} {durable}` ends it now"),
            ),
            Reason::Held(_) | Reason::NoWorker | Reason::Lag { .. } | Reason::InHand => {
                self.of_a_worker(reason)
            }
            Reason::Near { until } => said(
                format!("waits for {worker}, and nothing that was looked at says why"),
                format!("it is taken back at its deadline, {}", self.table(*until)),
                format!("look at the log of {worker}"),
            ),
            Reason::Unknown => said(
                format!("waits for {worker}, and nothing that was looked at says why"),
                String::new(),
                format!("look at the log of {worker}; looked at: {}", self.looked()),
            ),
        }
    }

    /// What the events and the parked messages alone say.
    fn of_the_log(&self, reason: &Reason<'_>) -> Said {
        let (worker, _) = self.names();
        let (tool, stream) = (self.tool, self.flow.stream);
        match reason {
            Reason::Parked(entry) => self.of_parked(entry, reason.code()),
            Reason::Occupied(occupied) => said(
                format!("waits for {worker}, but {}", occupied.what()),
                match occupied.kind == Obstacle::Stoppable {
                    true => {
                        format!("no retry helps; `{tool} cancel {}` takes it back", self.story.id)
                    }
                    false => {
                        "nothing happens by itself, and no retry and no cancellation can end it"
                            .to_owned()
                    }
                },
                occupied.way_out(),
            ),
            Reason::Newer(Line { slot, source, sequence, .. }) => said(
                format!(
                    "waits for {worker}, as far as this {tool} can read: {slot} holds message \
                     {sequence} of {source}, which is not known here"
                ),
                "",
                format!(
                    "a newer {source} may have written it: look with a {tool} of its version, and \
                     where workers set it aside, start theirs of that version, too"
                ),
            ),
            Reason::UndoUnknown(Line { slot, event_type, sequence, .. }) => said(
                format!(
                    "waits for {worker} to take back what it may have done: message {sequence} in \
                     {slot} is of the type {event_type:?}, which this {tool} does not know"
                ),
                "it never runs, and is never given up",
                self.of_an_unknown_opening(event_type),
            ),
            Reason::Ended(Phase::Completed) => nothing("is completed, and waits for nothing"),
            Reason::Ended(_) => self.of_a_cancelled_one(),
            _ => match self.story.strays(self.flow).next().or(self.story.events.first()) {
                Some(line) => self.of_a_stray(line),
                None => said(
                    format!("is not in the log {stream}"),
                    String::new(),
                    format!("is the id right, and the broker? `{tool} trace` takes the same"),
                ),
            },
        }
    }

    /// What has to do with an outside service.
    fn of_a_service(&self, reason: &Reason<'_>) -> Said {
        let (worker, _) = self.names();
        let tool = self.tool;
        match reason {
            Reason::UndoBlocked(held) => said(
                format!(
                    "waits for {worker} to take back what it did, which failed {} times: {}",
                    held.charged,
                    error(held)
                ),
                format!("it is never given up: {}", next_try(held, self.seen.now)),
                "the service must be made to accept it; then it goes on by itself",
            ),
            Reason::Paused { service, held } => {
                let name = service.name;
                if let Some(forced) = &service.forced {
                    return said(
                        format!(
                            "waits for {worker}, because {} paused {name}: {}",
                            forced.by, forced.reason
                        ),
                        format!("the pause ends by itself at {}", clock(moment(forced.until_ms))),
                        format!("`{tool} breaker reset {name} --write` ends it now"),
                    );
                }
                let error = held.and_then(|held| held.last_error.as_deref());
                let error = error.map(|error| format!(": {error}")).unwrap_or_default();
                let error = format!("{error}{}", held.map(tries).unwrap_or_default());
                let probes = "one call at a time looks whether that is over";
                if service.lacks_credentials() {
                    return said(
                        format!(
                            "waits for {worker}, because {name} refuses our credentials{error}"
                        ),
                        probes,
                        format!("give {worker} credentials that {name} accepts"),
                    );
                }
                said(
                    format!("waits for {worker}, because {name} is not working{error}"),
                    format!("all replicas pause, and {probes}"),
                    format!("mend {name}; `{tool} breaker show {name}` says more"),
                )
            }
            Reason::Retrying(held) => self.of_a_retry(held),
            _ => nothing(""),
        }
    }

    fn names(&self) -> (&str, &str) {
        let worker = self.story.state.waits_for.as_ref().map_or("a worker", |one| &*one.worker);
        let durable = self.seen.awaited.as_ref().map_or("?", |one| &*one.durable);
        (worker, durable)
    }

    /// A deadline of the flow's table, which settings may change, and which waits for services.
    fn table(&self, until: Timestamp) -> String {
        let (until, worker) = (clock(until), self.flow.closing().worker);
        format!(
            "{until}, or later while a service is away, unless `[deadline]` of {worker} is set \
             otherwise"
        )
    }

    fn looked(&self) -> String {
        looked_at(self.flow, self.story, self.seen).join(", ")
    }
}

fn said(what: String, next: impl Into<String>, advice: impl Into<String>) -> Said {
    (what, next.into(), advice.into())
}

fn nothing(what: &str) -> Said {
    (what.to_owned(), String::new(), String::new())
}

fn error(held: &Held) -> &str {
    held.last_error.as_deref().unwrap_or("no error was kept")
}

/// How often the replica that holds it has tried.
fn tries(held: &Held) -> String {
    match held.attempt {
        0 => String::new(),
        1 => " (tried once)".to_owned(),
        attempt => format!(" (tried {attempt} times)"),
    }
}

fn next_try(held: &Held, now: Timestamp) -> String {
    match held.next_try {
        Some(time) if time <= now => "it is tried once a call is free".to_owned(),
        Some(time) => format!("the next try comes at {}", clock(time)),
        None => "it is being tried now".to_owned(),
    }
}

fn clock(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Never below zero, because the broker's answers are not all of one moment.
fn lasted(from: Timestamp, to: Timestamp) -> String {
    duration(milliseconds(from, to).max(0.0))
}
