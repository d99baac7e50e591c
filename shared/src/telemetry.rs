//! Logs and metrics. Payloads, secrets and personal data never appear in either.
//!
//! WARN means that nothing is lost; ERROR, that an operator must act. Logs go to standard error:
//! pretty on a terminal, JSON elsewhere.

use std::io::IsTerminal;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing::Level;
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use crate::breaker::call;
use crate::breaker::fleet::{Entry, News, Override, Phase};
use crate::config::{LogFormat, LogSettings};
use crate::pipeline::Why;
use crate::{BadData, SagaId, nats};

/// Seconds from a delivery to its settlement, by durable.
pub const HANDLING: &str = "quadrille_handling_seconds";
/// Attempts that could not find out what happened, by worker.
pub const RETRIES: &str = "quadrille_retries_total";
/// Requests to the broker without an answer, by worker.
pub const UNANSWERED: &str = "quadrille_broker_unanswered_total";
/// Messages set aside, by durable and reason.
pub const PARKED: &str = "quadrille_parked_total";
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

/// Sends logs where the settings say; a second call changes nothing.
pub fn start_logs(settings: &LogSettings) {
    let filter = settings.filter().unwrap_or_else(|_| EnvFilter::new("info"));
    // The broker's client logs at info what our own lines say; what it logs below that is not ours
    // to promise anything about.
    let filter = filter.and(filter_fn(|event| {
        !event.target().starts_with(nats::LOG_TARGET) || *event.level() <= Level::WARN
    }));
    let terminal = std::io::stderr().is_terminal();
    let pretty = match settings.format {
        LogFormat::Auto => terminal,
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    let lines = fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry();
    let _ = if pretty {
        let lines = lines.with_ansi(terminal).with_target(false);
        registry.with(lines.with_filter(filter)).try_init()
    } else {
        registry.with(lines.json().flatten_event(true).with_filter(filter)).try_init()
    };
}

/// Starts to record metrics; the handle renders them for `/metrics`.
pub(crate) fn start_metrics() -> PrometheusHandle {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    // A second worker in one process (a test) shares the first one's recorder.
    let _ = metrics::set_global_recorder(recorder);
    handle
}

/// An error with all that caused it, in one line: `the request was not made: nothing was sent to
/// payments:443: connection refused`. A cause that its error repeats already is left out.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut line = error.to_string();
    for cause in std::iter::successors(error.source(), |error| error.source()) {
        let cause = cause.to_string();
        if !line.ends_with(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

pub(crate) fn attempt_failed(worker: &'static str, saga: &SagaId, attempt: u32, why: &str) {
    metrics::counter!(RETRIES, "worker" => worker).increment(1);
    tracing::warn!(worker, %saga, attempt, why, "could not find out, trying again");
}

/// Warns at attempts 4, 8, 16 and so on that the broker still does not answer.
pub(crate) fn unanswered(worker: &'static str, what: &str, attempt: u32) {
    metrics::counter!(UNANSWERED, "worker" => worker).increment(1);
    if attempt >= 4 && attempt.is_power_of_two() {
        tracing::warn!(worker, what, attempt, "the broker gives no answer; messages are held");
    }
}

/// One line for each transition of a breaker.
pub(crate) fn breaker(dependency: &str, news: &News) {
    match news {
        News::Doubting(reason) => {
            tracing::warn!(dependency, ?reason, "no answers: taking one message at a time");
        }
        News::Answered => {
            tracing::info!(dependency, "answers again: taking more messages, one by one");
        }
        News::Entered(entry) => {
            let Entry { phase, by, reason, wait_ms, .. } = entry;
            match phase {
                Phase::Flowing => tracing::info!(dependency, by, ?reason, "flowing"),
                Phase::Suspected => tracing::info!(dependency, by, ?reason, "suspected"),
                Phase::Paused => tracing::warn!(dependency, by, ?reason, wait_ms, "paused"),
                Phase::Probing => tracing::info!(dependency, by, "probing"),
            }
        }
        News::LocalSuspect => {
            tracing::warn!(dependency, "local_suspect: others are answered, this replica is not");
        }
        News::KeyUnreadable => {
            tracing::warn!(dependency, "the breakers' bucket cannot be read: on its own");
        }
        News::KeyReadable => tracing::info!(dependency, "the breakers' bucket can be read again"),
        News::Override(Some(forced)) => {
            let Override { mode, by, reason, .. } = forced;
            tracing::warn!(dependency, ?mode, by, reason, "an operator decides");
        }
        News::Override(None) => tracing::info!(dependency, "no operator decides any longer"),
        News::WouldWrite(entry) => {
            tracing::info!(dependency, phase = ?entry.phase, "observing: would write this");
        }
    }
}

/// Deliveries of a durable that go back to the broker undecided.
pub(crate) fn returned(durable: &str, why: Why, deliveries: u64) {
    let labels = [("durable", durable.to_owned()), ("why", why.word().to_owned())];
    metrics::counter!(RETURNED, &labels).increment(deliveries);
}

/// All series of a preferred service exist from the start.
pub(crate) fn fallbacks_start(dependency: &'static str) {
    for reason in call::Reason::ALL {
        fallbacks(dependency, reason).absolute(0);
    }
}

/// A count for each fallback, and one line when they begin and when they are over.
pub(crate) fn fallback(dependency: &'static str, news: call::News) {
    match news {
        call::News::FellBack(reason) => fallbacks(dependency, reason).increment(1),
        call::News::Began(reason) => {
            let reason = reason.name();
            tracing::warn!(dependency, reason, "no answer from it: going on with the fallback");
        }
        call::News::Ended => tracing::info!(dependency, "answers again: no longer falling back"),
    }
}

fn fallbacks(dependency: &'static str, reason: call::Reason) -> metrics::Counter {
    metrics::counter!(FALLBACKS, "dependency" => dependency, "reason" => reason.name())
}

pub(crate) fn undo_blocked(worker: &'static str, saga: &SagaId, bad: &BadData) {
    metrics::counter!(UNDO_BLOCKED, "worker" => worker).increment(1);
    let reason = bad.reason.code();
    tracing::error!(worker, %saga, reason, why = bad.message, "undo-blocked: a human must look");
}
