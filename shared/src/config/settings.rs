//! The settings every worker has, with their defaults.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::IntoDeserializer;
use serde::de::value::StringDeserializer;
use serde::{Deserialize, Serialize, Serializer};

use super::logs::LogSettings;
use super::{duration, shown};
use crate::breaker::{self, FleetMode};
use crate::nats::{Given, NatsOptions};

/// How to reach the broker, and what to log in with: at most one of a login in the URL, a user, a
/// token, credentials or an nkey. Secrets are in files, because a process list shows variables and
/// flags.
#[derive(Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct NatsSettings {
    /// One or more `nats://host:port`, separated by commas; `nats://user:password@host` and
    /// `nats://token@host` log in, percent-encoded.
    #[serde(serialize_with = "shown::without_logins")]
    pub url: String,
    /// A `.creds` file.
    pub credentials: Option<PathBuf>,
    /// A user, with or without `password_file`.
    pub user: Option<String>,
    pub password_file: Option<PathBuf>,
    pub token_file: Option<PathBuf>,
    /// A file with an nkey seed.
    pub nkey_file: Option<PathBuf>,
    /// A PEM file of root certificates, for a server with a private CA.
    pub ca: Option<PathBuf>,
    /// A PEM file with this client's certificate, and one with its key.
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// The server expects TLS from the first byte on (`handshake_first`).
    pub tls_first: bool,
}

impl Default for NatsSettings {
    fn default() -> Self {
        Self {
            url: "nats://127.0.0.1:4222".into(),
            credentials: None,
            user: None,
            password_file: None,
            token_file: None,
            nkey_file: None,
            ca: None,
            cert: None,
            key: None,
            tls_first: false,
        }
    }
}

impl fmt::Debug for NatsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsSettings").field("options", &self.options("")).finish_non_exhaustive()
    }
}

impl NatsSettings {
    pub(crate) fn options(&self, name: &str) -> NatsOptions {
        let file = |path: &Option<PathBuf>| path.clone().map(Given::File);
        NatsOptions {
            urls: self.url.split(',').map(|url| url.trim().to_owned()).collect(),
            credentials: file(&self.credentials),
            user: self.user.clone(),
            password: file(&self.password_file),
            token: file(&self.token_file),
            nkey: file(&self.nkey_file),
            root_certificates: self.ca.clone(),
            certificate: self.cert.clone(),
            key: self.key.clone(),
            tls_first: self.tls_first,
            name: Some(name.to_owned()),
            ..NatsOptions::default()
        }
    }
}

/// What a flow's streams and subjects are called, on a broker where others have the usual names.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct FlowSettings {
    /// Name of the stream of events; the flow's other streams and its buckets begin with it.
    pub stream: Option<String>,
    /// Comes before every subject, with a dot.
    pub prefix: Option<String>,
}

/// How a worker works.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorkerSettings {
    /// Messages in hand at once, per forward durable, without those that wait for a service.
    pub concurrency: usize,
    /// Messages in hand at once, per undo or closing durable, without those that wait for a
    /// service.
    pub undo_concurrency: usize,
    /// Threads of the process. One is best, unless a step computes, because what all messages in
    /// hand have to send then leaves in one write. For more work, start more replicas.
    pub threads: usize,
    /// One attempt of a step.
    #[serde(with = "duration")]
    pub deadline: Duration,
    /// How long a worker holds a message that it cannot decide, at its first delivery. A message
    /// that waits for a service is held for as long as that takes.
    #[serde(with = "duration")]
    pub hold_max: Duration,
    /// A worker reads the slot of a trigger that is older, or waited longer, before the run.
    #[serde(with = "duration")]
    pub read_after: Duration,
    /// A worker sets a trigger aside when its cause is not in the log and it is older than this.
    #[serde(with = "duration")]
    pub cause_wait: Duration,
    /// How long a wish to cancel a saga waits for the saga to be opened.
    #[serde(with = "duration")]
    pub cancel_wait: Duration,
    /// How long work in hand may go on after a signal to stop.
    #[serde(with = "duration")]
    pub drain_limit: Duration,
    /// How often a worker compares the live settings of streams and durables with the flow's.
    #[serde(with = "duration")]
    pub inspect_every: Duration,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            concurrency: 64,
            undo_concurrency: 16,
            threads: 1,
            deadline: Duration::from_secs(10),
            hold_max: Duration::from_secs(120),
            read_after: Duration::from_secs(5),
            cause_wait: Duration::from_secs(60),
            cancel_wait: Duration::from_secs(30),
            drain_limit: Duration::from_secs(20),
            inspect_every: Duration::from_secs(60),
        }
    }
}

/// When a worker stops taking messages for an outside service, and how it begins again.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerSettings {
    /// Most calls at once, of run and undo together; `worker.concurrency` if it is not given.
    pub concurrency: Option<usize>,
    /// After so many first tries without an answer the worker takes one message at a time; at
    /// least 3.
    pub run: u32,
    /// The first wait of a pause.
    #[serde(with = "duration")]
    pub wait: Duration,
    /// The longest wait between two single tries.
    #[serde(with = "duration")]
    pub wait_max: Duration,
    /// A message is parked after so many attempts without an answer, counted only while the
    /// service answers for other messages.
    pub max_attempts: u32,
    /// Most messages held in hand; those beyond it go back to the stream.
    pub holds: usize,
    /// The longest that a call to the service takes: as long as the service's own `timeout`.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// Whether the replicas decide together (`on`), each for itself (`off`), or decide, log and do
    /// nothing (`observe`).
    pub fleet: FleetMode,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        let breaker::Settings { timeout, run, wait, wait_max, max_attempts, holds, fleet, .. } =
            breaker::Settings::default();
        Self { concurrency: None, run, wait, wait_max, max_attempts, holds, timeout, fleet }
    }
}

impl BreakerSettings {
    /// As the breaker takes them; `concurrency` is the worker's, where the breaker has none.
    pub(crate) fn settings(self, concurrency: usize) -> breaker::Settings {
        let Self { run, wait, wait_max, max_attempts, holds, timeout, fleet, .. } = self;
        let concurrency = self.concurrency.unwrap_or(concurrency);
        let concurrency = u32::try_from(concurrency).unwrap_or(u32::MAX);
        breaker::Settings { timeout, concurrency, run, wait, wait_max, max_attempts, holds, fleet }
    }
}

/// When a saga that is still before its pivot is turned around: in the worker that closes sagas.
/// Holds for open sagas, too, from the worker's start on.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeadlineSettings {
    /// From the opening until the saga passes its pivot, instead of the flow's; `off` for never.
    pub saga: Option<Deadline>,
    /// From a step's trigger until its decision, by the step's worker, for steps that have a
    /// deadline in the flow.
    pub steps: BTreeMap<String, Deadline>,
    /// No deadline ends a saga before a service that its steps require has answered for this long
    /// again.
    #[serde(with = "duration")]
    pub grace: Duration,
    /// At most so long after the deadline it ends the saga in any case.
    #[serde(with = "duration")]
    pub extend_max: Duration,
}

impl Default for DeadlineSettings {
    fn default() -> Self {
        Self {
            saga: None,
            steps: BTreeMap::new(),
            grace: Duration::from_mins(10),
            extend_max: Duration::from_hours(24),
        }
    }
}

/// A time, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deadline {
    Off,
    After(Duration),
}

impl<'de> Deserialize<'de> for Deadline {
    fn deserialize<D: serde::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        let text = String::deserialize(reader)?;
        if text == "off" {
            return Ok(Self::Off);
        }
        let text: StringDeserializer<D::Error> = text.into_deserializer();
        duration::deserialize(text).map(Self::After)
    }
}

impl Serialize for Deadline {
    fn serialize<S: Serializer>(&self, writer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => writer.serialize_str("off"),
            Self::After(time) => duration::serialize(time, writer),
        }
    }
}

impl DeadlineSettings {
    /// The deadline of the saga (`None`) or of a step, whose own is `default`.
    pub(crate) fn of(&self, step: Option<&str>, default: Duration) -> Deadline {
        // A variable of the environment cannot have dashes in its name.
        let named = |step: &str| {
            let mut all = self.steps.iter();
            all.find(|(name, _)| name.replace('_', "-") == step).map(|(_, deadline)| *deadline)
        };
        let set = match step {
            None => self.saga,
            Some(step) => named(step),
        };
        set.unwrap_or(Deadline::After(default))
    }
}

/// Where a worker reports its health.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct HealthSettings {
    /// Address of `/live`, `/ready` and `/metrics`; port 0 takes a free one.
    pub listen: SocketAddr,
    /// A file to write the address to, once it is known.
    pub address_file: Option<PathBuf>,
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 0)), address_file: None }
    }
}

/// The settings every worker has.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Settings {
    pub nats: NatsSettings,
    /// By the flow's saga: `[flow.trip]`.
    pub flow: BTreeMap<String, FlowSettings>,
    pub worker: WorkerSettings,
    /// By the name of an outside service in the flow's `requires` or `prefers`:
    /// `[breaker.payment-gateway]`.
    pub breaker: BTreeMap<String, BreakerSettings>,
    pub deadline: DeadlineSettings,
    pub health: HealthSettings,
    pub log: LogSettings,
}
