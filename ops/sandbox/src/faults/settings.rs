//! What a test may ask for with `PUT /faults/{payment|carrier|quote}`, checked field by field so
//! that a typing error is reported at once and does not look like a service without faults.

use std::time::Duration;

use axum::Json;
use serde::{Deserialize, Serialize};

use super::plan::Disturbance;
use crate::decision::Slowly;
use crate::operation::{Operation, Service};

/// Longest time a fault may last: a day, in milliseconds.
const LONGEST_MS: u64 = 24 * 60 * 60 * 1000;

/// The faults of one service; all fields are optional, and the default is no fault.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// Only these operations; `None` means all of the service.
    operations: Option<Vec<Operation>>,
    /// Only requests about this order.
    order: Option<String>,
    /// Only this many requests: the first that the two fields above let through.
    pub(super) times: Option<u64>,
    pub(super) latency_ms: u64,
    /// Added to the latency: anything from zero to this.
    pub(super) jitter_ms: u64,
    pub(super) error_rate: f64,
    /// 503 unless given; 500 with `save_errors`.
    error_status: Option<u16>,
    /// The error becomes the key's answer, before any effect. Reads have no key.
    save_errors: bool,
    pub(super) overload_rate: f64,
    pub(super) retry_after_s: u64,
    pub(super) in_use_rate: f64,
    pub(super) drop_before_rate: f64,
    pub(super) drop_reply_rate: f64,
    pub(super) hang_rate: f64,
    /// A proxy's HTML page instead of an answer.
    pub(super) page_rate: f64,
    /// 413 unless given.
    page_status: Option<u16>,
    pub(super) commit_late_ms: Option<u64>,
    /// A confirmation answers `processing`, and the payment succeeds this much later.
    pub(super) processing_ms: Option<u64>,
    /// A refund answers `pending`, and succeeds this much later.
    pub(super) refund_pending_ms: Option<u64>,
    /// It fails then instead.
    pub(super) refund_fails: bool,
    /// Applies to the service as a whole, whatever `operations`, `order` and `times` say.
    pub(super) key_lifetime_ms: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            operations: None,
            order: None,
            times: None,
            latency_ms: 0,
            jitter_ms: 0,
            error_rate: 0.0,
            error_status: None,
            save_errors: false,
            overload_rate: 0.0,
            retry_after_s: 1,
            in_use_rate: 0.0,
            drop_before_rate: 0.0,
            drop_reply_rate: 0.0,
            hang_rate: 0.0,
            page_rate: 0.0,
            page_status: None,
            commit_late_ms: None,
            processing_ms: None,
            refund_pending_ms: None,
            refund_fails: false,
            key_lifetime_ms: None,
        }
    }
}

impl Settings {
    /// Reads and checks the body of a PUT.
    ///
    /// # Errors
    ///
    /// A message that names the field: unknown, of the wrong type, or out of its range.
    pub(crate) fn parse(service: Service, body: &[u8]) -> Result<Self, String> {
        let Json(settings) = Json::<Self>::from_bytes(body).map_err(|bad| bad.body_text())?;
        settings.check_rates()?;
        settings.check_times()?;
        settings.check_scope(service)?;
        Ok(settings)
    }

    fn check_rates(&self) -> Result<(), String> {
        let rates = [
            ("error_rate", self.error_rate),
            ("overload_rate", self.overload_rate),
            ("in_use_rate", self.in_use_rate),
            ("drop_before_rate", self.drop_before_rate),
            ("drop_reply_rate", self.drop_reply_rate),
            ("hang_rate", self.hang_rate),
            ("page_rate", self.page_rate),
        ];
        match rates.into_iter().find(|(_, rate)| !(0.0..=1.0).contains(rate)) {
            Some((field, rate)) => Err(format!("{field}: {rate} is not between 0 and 1")),
            None => Ok(()),
        }
    }

    fn check_times(&self) -> Result<(), String> {
        let times = [
            ("latency_ms", self.latency_ms),
            ("jitter_ms", self.jitter_ms),
            ("commit_late_ms", self.commit_late_ms.unwrap_or_default()),
            ("processing_ms", self.processing_ms.unwrap_or_default()),
            ("refund_pending_ms", self.refund_pending_ms.unwrap_or_default()),
            ("key_lifetime_ms", self.key_lifetime_ms.unwrap_or_default()),
            ("retry_after_s", self.retry_after_s),
        ];
        match times.into_iter().find(|&(_, time)| time > LONGEST_MS) {
            Some((field, time)) => Err(format!("{field}: {time} is more than {LONGEST_MS}")),
            None => Ok(()),
        }
    }

    fn check_scope(&self, service: Service) -> Result<(), String> {
        for operation in self.operations.iter().flatten() {
            if operation.service() != service {
                let name = operation.name();
                return Err(format!("operations: {name} belongs to another service"));
            }
        }
        if self.operations.as_ref().is_some_and(Vec::is_empty) {
            return Err("operations: an empty list matches nothing; leave it out for all".into());
        }
        let statuses = [("error_status", self.error_status), ("page_status", self.page_status)];
        for (field, status) in statuses {
            if status.is_some_and(|status| !(400..=599).contains(&status)) {
                return Err(format!("{field}: not between 400 and 599"));
            }
        }
        if self.refund_fails && self.refund_pending_ms.is_none() {
            return Err("refund_fails: only a pending refund fails; give refund_pending_ms".into());
        }
        let slow = self.processing_ms.or(self.refund_pending_ms);
        if service != Service::Payment && slow.is_some() {
            return Err("processing_ms and refund_pending_ms: only the payment service".into());
        }
        match (service, self.key_lifetime_ms) {
            (Service::Carrier, Some(_)) => {
                Err("key_lifetime_ms: the carrier keeps the answer to a key for ever".into())
            }
            (Service::Quote, Some(_)) => Err("key_lifetime_ms: a quote has no key".into()),
            (Service::Payment, _) | (Service::Carrier | Service::Quote, None) => Ok(()),
        }
    }

    pub(super) fn covers(&self, operation: Operation, order: Option<&str>) -> bool {
        self.operations.as_ref().is_none_or(|only| only.contains(&operation))
            && self.order.as_deref().is_none_or(|only| order == Some(only))
    }

    pub(super) fn page(&self) -> Disturbance {
        Disturbance::Page { status: self.page_status.unwrap_or(413) }
    }

    pub(super) fn slowly(&self) -> Slowly {
        let time = |ms: Option<u64>| ms.map(Duration::from_millis);
        Slowly {
            processing: time(self.processing_ms),
            refund_pending: time(self.refund_pending_ms),
            refund_fails: self.refund_fails,
        }
    }

    pub(super) fn error(&self) -> Disturbance {
        if self.save_errors {
            Disturbance::SaveError { status: self.error_status.unwrap_or(500) }
        } else {
            Disturbance::Error { status: self.error_status.unwrap_or(503) }
        }
    }
}
