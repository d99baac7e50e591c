//! Which faults each request meets.
//!
//! All rates are drawn from one seeded source in a fixed order, so the same seed and the same
//! sequence of requests meet the same faults.

mod settings;
mod plan;

use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;

use crate::operation::{Operation, Service};

pub(crate) use plan::{Disturbance, Plan};
pub(crate) use settings::Settings;

#[derive(Debug)]
pub(crate) struct Faults {
    /// By service.
    active: [Active; Service::ALL.len()],
    random: fastrand::Rng,
}

/// The faults of one service.
#[derive(Debug)]
struct Active {
    settings: Settings,
    matched: u64,
    /// Requests that met a disturbance, whatever the settings were.
    met: u64,
    /// Written to when the settings change, which releases the requests that hang.
    release: watch::Sender<()>,
}

/// The settings of all services, as `GET /faults` shows them, and how many requests met a
/// disturbance since the start.
#[derive(Debug, Serialize)]
pub(crate) struct Report<'a> {
    payment: &'a Settings,
    carrier: &'a Settings,
    quote: &'a Settings,
    met: Met,
}

#[derive(Debug, Serialize)]
struct Met {
    payment: u64,
    carrier: u64,
    quote: u64,
}

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        Self { active: Service::ALL.map(|_| Active::new()), random: fastrand::Rng::with_seed(seed) }
    }

    /// Replaces the service's settings, counts `times` from zero, releases the requests that hang.
    pub(crate) fn set(&mut self, service: Service, settings: Settings) {
        let active = &mut self.active[service as usize];
        active.settings = settings;
        active.matched = 0;
        active.release.send_replace(());
    }

    pub(crate) fn clear(&mut self) {
        Service::ALL.into_iter().for_each(|service| self.set(service, Settings::default()));
    }

    /// Closes the requests that hang, without an answer, because the server stops.
    pub(crate) fn abandon_hanging(&mut self) {
        for active in &mut self.active {
            active.release = watch::Sender::new(());
        }
    }

    pub(crate) fn report(&self) -> Report<'_> {
        let of = |service| &self.active[service as usize];
        let (payment, carrier, quote) =
            (of(Service::Payment), of(Service::Carrier), of(Service::Quote));
        Report {
            payment: &payment.settings,
            carrier: &carrier.settings,
            quote: &quote.settings,
            met: Met { payment: payment.met, carrier: carrier.met, quote: quote.met },
        }
    }

    /// How long the payment service's keys live, if a fault says so.
    pub(crate) fn key_lifetime_ms(&self) -> Option<u64> {
        self.active[Service::Payment as usize].settings.key_lifetime_ms
    }

    pub(crate) fn plan(&mut self, operation: Operation, order: Option<&str>) -> Plan {
        let active = &mut self.active[operation.service() as usize];
        if !active.matches(operation, order) {
            return Plan::default();
        }
        let plan = active.draw(&mut self.random);
        active.met += u64::from(!matches!(plan.disturbance, Disturbance::None));
        plan
    }
}

impl Active {
    fn new() -> Self {
        let release = watch::Sender::new(());
        Self { settings: Settings::default(), matched: 0, met: 0, release }
    }

    fn matches(&mut self, operation: Operation, order: Option<&str>) -> bool {
        if !self.settings.covers(operation, order) {
            return false;
        }
        self.matched += 1;
        self.settings.times.is_none_or(|times| self.matched <= times)
    }

    fn draw(&self, random: &mut fastrand::Rng) -> Plan {
        let settings = &self.settings;
        let mut hits = |rate: f64| rate > 0.0 && random.f64() < rate;
        let hang = hits(settings.hang_rate);
        let drop_before = hits(settings.drop_before_rate);
        let overload = hits(settings.overload_rate);
        let key_in_use = hits(settings.in_use_rate);
        let error = hits(settings.error_rate);
        let page = hits(settings.page_rate);
        let drop_reply = hits(settings.drop_reply_rate);
        let jitter_ms = match settings.jitter_ms {
            0 => 0,
            most => random.u64(0..=most),
        };
        let disturbance = if hang {
            Disturbance::Hang(self.release.subscribe())
        } else if drop_before {
            Disturbance::DropBefore
        } else if overload {
            Disturbance::Overload { retry_after_s: settings.retry_after_s }
        } else if key_in_use {
            Disturbance::KeyInUse
        } else if error {
            settings.error()
        } else if page {
            settings.page()
        } else {
            Disturbance::None
        };
        Plan {
            disturbance,
            latency: Duration::from_millis(settings.latency_ms + jitter_ms),
            commit_late: settings.commit_late_ms.map(Duration::from_millis),
            drop_reply,
            slowly: settings.slowly(),
        }
    }
}
