//! Logs and metrics. Payloads, secrets and personal data never appear in either.
//!
//! WARN means that nothing is lost; ERROR, that an operator must act. Logs go to standard error:
//! pretty on a terminal, JSON elsewhere.

use std::io::IsTerminal;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LogSettings};
use crate::{BadData, SagaId};

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

/// Sends logs where the settings say; a second call changes nothing.
pub fn start_logs(settings: &LogSettings) {
    let filter = EnvFilter::try_new(&settings.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let terminal = std::io::stderr().is_terminal();
    let pretty = match settings.format {
        LogFormat::Auto => terminal,
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let _ = if pretty {
        log.with_ansi(terminal).with_target(false).try_init()
    } else {
        log.json().flatten_event(true).try_init()
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

pub(crate) fn undo_blocked(worker: &'static str, saga: &SagaId, bad: &BadData) {
    metrics::counter!(UNDO_BLOCKED, "worker" => worker).increment(1);
    let reason = bad.reason.code();
    tracing::error!(worker, %saga, reason, why = bad.message, "undo-blocked: a human must look");
}
