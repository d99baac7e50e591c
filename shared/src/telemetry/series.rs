//! The series of `/metrics`: their names, what each of them says, and which exist from the start.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use metrics::Counter;

use crate::Reason;
use crate::flow::Durable;

/// Seconds from a delivery to its settlement, by durable.
pub const HANDLING: &str = "quadrille_handling_seconds";
/// Attempts that could not find out what happened, by worker.
pub const RETRIES: &str = "quadrille_retries_total";
/// Requests to the broker without an answer, by worker.
pub const UNANSWERED: &str = "quadrille_broker_unanswered_total";
/// Messages set aside, by durable and reason.
pub const PARKED: &str = "quadrille_parked_total";
/// Handlings that panicked, by durable.
pub const PANICS: &str = "quadrille_panics_total";
/// Messages that their durable passed over, and that are handled from the log, by durable.
pub const PASSED_OVER: &str = "quadrille_passed_over_total";
/// Looks at which messages waited in the log and did not come although they were asked for, by
/// durable.
pub const STALLS: &str = "quadrille_stalls_total";
/// Undos that cannot go on until a human looks, by worker.
pub const UNDO_BLOCKED: &str = "quadrille_undo_blocked_total";

/// 1 while a replica gets no answers from a service that its step requires, by dependency.
pub const DOUBTING: &str = "quadrille_breaker_doubting";
/// 1 for the phase that the replica acts on, 0 for the others, by dependency and phase.
pub const PHASE: &str = "quadrille_breaker_phase";
/// Calls by dependency and by what they came to.
pub const CALLS: &str = "quadrille_calls_total";
/// Calls that brought no answer, by dependency.
pub const WASTED: &str = "quadrille_calls_wasted_total";
/// Whole seconds in which the replica was paused, by dependency.
pub const PAUSED: &str = "quadrille_paused_seconds_total";
/// 1 while messages of a durable may be pulled, by durable.
pub const GATE_OPEN: &str = "quadrille_gate_open";
/// Messages in hand that wait for a service, by durable.
pub const HELD: &str = "quadrille_messages_held";
/// Deliveries that went back to the broker undecided, by durable and reason.
pub const RETURNED: &str = "quadrille_deliveries_returned_total";
/// Failures that counted against their message, by durable.
pub const CHARGED: &str = "quadrille_attempts_charged_total";
/// Times that a step did without a service that it prefers, by dependency and reason.
pub const FALLBACKS: &str = "quadrille_fallbacks_total";

/// Decisions that the worker wrote into its slots, by worker, outcome (`done`, `refused`, `undone`)
/// and the reason of a refusal.
pub const OUTCOMES: &str = "quadrille_outcomes_total";
/// Messages in hand, those that wait for a service included, by durable; once a second.
pub const IN_HAND: &str = "quadrille_in_hand";
/// How long the oldest message in hand has been there, in seconds, by durable; once a second.
pub const OLDEST: &str = "quadrille_oldest_in_hand_seconds";
/// 1 while the connection to the broker is up.
pub const CONNECTED: &str = "quadrille_connected";
/// Bytes in a stream, by stream, as of the last look.
pub const LOG_BYTES: &str = "quadrille_stream_bytes";
/// Bytes at which a stream refuses further messages, by stream; 0 without a limit.
pub const LOG_LIMIT: &str = "quadrille_stream_limit_bytes";
/// 1 for the version of this process.
pub const BUILD: &str = "quadrille_build_info";

/// Upper limits of the classes of [`HANDLING`], in seconds: from a step without a service to
/// `hold_max`.
pub(super) const BUCKETS: [f64; 14] =
    [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0];

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// What `# HELP` says of each.
const HELP: &[(Kind, &str, &str)] = &[
    (Kind::Histogram, HANDLING, "Seconds from a delivery to its settlement, by durable"),
    (Kind::Counter, RETRIES, "Attempts that could not find out what happened, by worker"),
    (Kind::Counter, UNANSWERED, "Requests to the broker without an answer, by worker"),
    (Kind::Counter, PARKED, "Messages set aside, by durable and reason"),
    (Kind::Counter, PANICS, "Handlings that panicked, by durable"),
    (
        Kind::Counter,
        PASSED_OVER,
        "Messages that their durable passed over, handled from the log, by durable",
    ),
    (
        Kind::Counter,
        STALLS,
        "Looks at which messages waited in the log and did not come though asked for, by durable",
    ),
    (Kind::Counter, UNDO_BLOCKED, "Undos that cannot go on until a human looks, by worker"),
    (
        Kind::Gauge,
        DOUBTING,
        "1 while a replica gets no answers from a service that its step requires, by dependency",
    ),
    (
        Kind::Gauge,
        PHASE,
        "1 for the phase that the replica acts on, 0 for the others, by dependency and phase",
    ),
    (Kind::Counter, CALLS, "Calls by dependency and by what they came to"),
    (Kind::Counter, WASTED, "Calls that brought no answer, by dependency"),
    (Kind::Counter, PAUSED, "Whole seconds in which the replica was paused, by dependency"),
    (Kind::Gauge, GATE_OPEN, "1 while messages of a durable may be pulled, by durable"),
    (Kind::Gauge, HELD, "Messages in hand that wait for a service, by durable"),
    (
        Kind::Counter,
        RETURNED,
        "Deliveries that went back to the broker undecided, by durable and reason",
    ),
    (Kind::Counter, CHARGED, "Failures that counted against their message, by durable"),
    (
        Kind::Counter,
        FALLBACKS,
        "Times that a step did without a service that it prefers, by dependency and reason",
    ),
    (
        Kind::Counter,
        OUTCOMES,
        "Decisions written into slots, by worker, outcome and the reason of a refusal",
    ),
    (Kind::Gauge, IN_HAND, "Messages in hand, waiting ones included, by durable; once a second"),
    (
        Kind::Gauge,
        OLDEST,
        "Seconds that the oldest message in hand has been there, by durable; once a second",
    ),
    (Kind::Gauge, CONNECTED, "1 while the connection to the broker is up"),
    (Kind::Gauge, LOG_BYTES, "Bytes in a stream, by stream, as of the last look"),
    (
        Kind::Gauge,
        LOG_LIMIT,
        "Bytes at which a stream refuses further messages, by stream; 0 without a limit",
    ),
    (Kind::Gauge, BUILD, "1 for the version of this process"),
];

/// Tells the recorder what each series says.
pub(super) fn describe() {
    for &(kind, name, text) in HELP {
        match kind {
            Kind::Counter => metrics::describe_counter!(name, text),
            Kind::Gauge => metrics::describe_gauge!(name, text),
            Kind::Histogram => metrics::describe_histogram!(name, text),
        }
    }
}

/// All series of a worker exist from the start, at 0, so that the first event is an increase.
pub(crate) fn start_series(worker: &'static str, durables: &[Durable]) {
    for name in [RETRIES, UNANSWERED, UNDO_BLOCKED] {
        metrics::counter!(name, "worker" => worker).absolute(0);
    }
    for word in ["done", "refused", "undone"] {
        let labels = [("worker", worker), ("outcome", word), ("reason", "")];
        metrics::counter!(OUTCOMES, &labels).absolute(0);
    }
    for durable in durables {
        let name = || durable.name.clone();
        for counter in [PANICS, PASSED_OVER, STALLS] {
            metrics::counter!(counter, "durable" => name()).absolute(0);
        }
        metrics::gauge!(IN_HAND, "durable" => name()).set(0.0);
        metrics::gauge!(OLDEST, "durable" => name()).set(0.0);
        for reason in Reason::KNOWN.into_iter().chain([Reason::Rule("other")]) {
            let labels = [("durable", name()), ("reason", reason.code().to_owned())];
            metrics::counter!(PARKED, &labels).absolute(0);
        }
    }
    let version = env!("CARGO_PKG_VERSION");
    metrics::gauge!(BUILD, "worker" => worker, "version" => version).set(1.0);
}

/// Most reasons of refusals that become labels; services invent them.
const MOST_REASONS: usize = 50;

/// Of the decision that nearly every message leads to; looked up once.
pub(crate) fn done(worker: &'static str) -> Counter {
    metrics::counter!(OUTCOMES, "worker" => worker, "outcome" => "done", "reason" => "")
}

/// Another decision that this worker wrote; the reason is empty but for a refusal.
pub(crate) fn outcome(worker: &'static str, word: &'static str, reason: &str) {
    static SEEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let is_word = reason.len() <= 40
        && reason.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    let reason = match SEEN.lock().unwrap_or_else(PoisonError::into_inner) {
        _ if reason.is_empty() => String::new(),
        seen if is_word && seen.contains(reason) => reason.to_owned(),
        mut seen if is_word && seen.len() < MOST_REASONS => {
            seen.insert(reason.to_owned());
            reason.to_owned()
        }
        _ => "other".to_owned(),
    };
    metrics::counter!(OUTCOMES, "worker" => worker, "outcome" => word, "reason" => reason)
        .increment(1);
}
