//! Logs and metrics. Payloads, secrets and personal data never appear in either.
//!
//! WARN means that nothing is lost; ERROR, that an operator must act. Logs go to standard error:
//! pretty on a terminal, JSON elsewhere.

mod series;

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU32, Ordering};

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

pub use series::*;
pub(crate) use series::{done, outcome, start_series};

/// Sends logs where the settings say; a second call changes nothing. Says whether the lines are
/// JSON.
pub fn start_logs(settings: &LogSettings) -> bool {
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
    log_panics();
    !pretty
}

/// Starts to record metrics; the handle renders them for `/metrics`.
pub(crate) fn start_metrics() -> PrometheusHandle {
    let buckets = PrometheusBuilder::new().set_buckets(&series::BUCKETS);
    let recorder = buckets.expect("there are some").build_recorder();
    let handle = recorder.handle();
    // A second worker in one process (a test) shares the first one's recorder.
    let _ = metrics::set_global_recorder(recorder);
    series::describe();
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

/// Says nothing of a panic within the broker's client: it ends one connection, which is opened
/// again, and the message that led to it is read in another way.
pub fn hide_panics_of_the_client() {
    let shown = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !panic.location().is_some_and(|place| is_of_the_client(place.file())) {
            shown(panic);
        }
    }));
}

fn is_of_the_client(file: &str) -> bool {
    file.replace('_', "-").contains("async-nats-")
}

/// A panic becomes a log line, like everything else that happens.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        if is_of_the_client(&place) {
            tracing::debug!(place, "a message ended a connection");
            return;
        }
        // A text that was put together may quote data, and data does not appear in a log.
        let what = panic.payload().downcast_ref::<&str>().copied().unwrap_or("(not shown)");
        tracing::error!(place, what, "a panic");
    }));
}

/// One more handling that panicked.
pub(crate) fn panicked(durable: &str) {
    metrics::counter!(PANICS, "durable" => durable.to_owned()).increment(1);
}

/// A message that its durable passed over, which is handled from the log.
pub(crate) fn passed_over(durable: &str) {
    metrics::counter!(PASSED_OVER, "durable" => durable.to_owned()).increment(1);
}

/// Once more, messages of a durable do not come.
pub(crate) fn stalled(durable: &str) {
    metrics::counter!(STALLS, "durable" => durable.to_owned()).increment(1);
}

/// Which repetitions of one trouble are said: the 1st, 2nd, 4th, 8th and so on, and its end once.
#[derive(Debug)]
pub(crate) struct Repeats(AtomicU32);

impl Repeats {
    pub(crate) const fn none() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Once more; how often so far, if that is to be said.
    pub(crate) fn again(&self) -> Option<u32> {
        let times = self.0.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        times.is_power_of_two().then_some(times)
    }

    /// It is over; how often it was, if it was at all.
    pub(crate) fn over(&self) -> Option<u32> {
        // Read first, because this is the hot path, and mostly there was no trouble.
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            _ => Some(self.0.swap(0, Ordering::Relaxed)).filter(|times| *times > 0),
        }
    }
}

/// `service` is what the step requires; the reason names host, operation, cause and setting.
pub(crate) fn attempt_failed(
    worker: &'static str,
    service: &[&'static str],
    saga: &SagaId,
    attempt: u32,
    why: &str,
) {
    metrics::counter!(RETRIES, "worker" => worker).increment(1);
    let service = service.join(",");
    if attempt.is_power_of_two() {
        tracing::warn!(worker, service, %saga, attempt, why, "could not find out, trying again");
    } else {
        tracing::debug!(worker, service, %saga, attempt, why, "could not find out, trying again");
    }
}

/// An attempt was answered after others were not.
pub(crate) fn attempt_answered(worker: &'static str, saga: &SagaId, attempt: u32) {
    if attempt > 1 {
        tracing::info!(worker, %saga, attempt, "answered, after attempts that were not");
    }
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
