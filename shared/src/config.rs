//! Settings of a worker: defaults < file < environment < flag, read once, at start.
//!
//! `[nats] url` is `QUADRILLE_NATS__URL` in the environment and `--set nats.url=…` as a flag; the
//! section of a worker's own settings has its name. A mistake names the key, where it came from and
//! the form expected.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use config::{Config, File, FileFormat, Value, ValueKind};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::nats::NatsOptions;

/// How to reach the broker.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NatsSettings {
    /// One or more `nats://host:port`, separated by commas.
    pub url: String,
    /// A `.creds` file.
    pub credentials: Option<PathBuf>,
}

impl Default for NatsSettings {
    fn default() -> Self {
        Self { url: "nats://127.0.0.1:4222".into(), credentials: None }
    }
}

impl NatsSettings {
    pub(crate) fn options(&self, name: &str) -> NatsOptions {
        NatsOptions {
            urls: self.url.split(',').map(|url| url.trim().to_owned()).collect(),
            credentials: self.credentials.clone(),
            name: Some(name.to_owned()),
            ..NatsOptions::default()
        }
    }
}

/// How a worker works.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorkerSettings {
    /// Messages in hand at once, per forward durable.
    pub concurrency: usize,
    /// Messages in hand at once, per undo or closing durable.
    pub undo_concurrency: usize,
    /// Threads of the process.
    pub threads: usize,
    /// One attempt of a step.
    #[serde(with = "duration")]
    pub deadline: Duration,
    /// A message that cannot be decided is kept this long before it is given back.
    #[serde(with = "duration")]
    pub hold_max: Duration,
    /// Triggers older than this have their slot read before the run.
    #[serde(with = "duration")]
    pub read_after: Duration,
    /// A trigger without a cause in the log is set aside when it is older than this.
    #[serde(with = "duration")]
    pub cause_wait: Duration,
    /// Work in hand may go on this long after a signal to stop.
    #[serde(with = "duration")]
    pub drain_limit: Duration,
    /// How often the live settings of streams and durables are compared with the flow's.
    #[serde(with = "duration")]
    pub inspect_every: Duration,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            concurrency: 64,
            undo_concurrency: 16,
            threads: 2,
            deadline: Duration::from_secs(10),
            hold_max: Duration::from_secs(120),
            read_after: Duration::from_secs(60),
            cause_wait: Duration::from_secs(60),
            drain_limit: Duration::from_secs(20),
            inspect_every: Duration::from_secs(60),
        }
    }
}

/// Where a worker says how it is.
#[derive(Debug, Clone, Deserialize)]
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

/// How logs look.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    pub format: LogFormat,
    /// A filter: `info`, or `warn,quadrille=debug`.
    pub level: String,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { format: LogFormat::Auto, level: "info".into() }
    }
}

/// Pretty on a terminal and JSON elsewhere, unless said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Auto,
    Pretty,
    Json,
}

/// The settings every worker has.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Settings {
    pub nats: NatsSettings,
    pub worker: WorkerSettings,
    pub health: HealthSettings,
    pub log: LogSettings,
}

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{origin}: {problem}")]
pub struct Invalid {
    origin: String,
    problem: String,
}

/// All that was said about settings, before anybody asked what it means.
#[derive(Debug, Clone)]
pub struct Sources {
    config: Config,
    /// Key, as `worker.concurrency`, to where it was set.
    origins: BTreeMap<String, String>,
}

const PREFIX: &str = "QUADRILLE_";
/// Read by scripts, tests and failpoints; not settings.
const NOT_SETTINGS: [&str; 6] =
    ["NATS_SERVER", "CACHE", "BIN_DIR", "FAILPOINT", "UPDATE", "NATS_PORT"];

impl Sources {
    /// Reads a TOML file, the variables that begin with `QUADRILLE_`, and `key=value` flags.
    ///
    /// # Errors
    /// When the file cannot be read, or a section is no worker's and none of ours.
    pub fn read(
        file: Option<&PathBuf>,
        environment: impl Iterator<Item = (String, String)>,
        flags: &[String],
    ) -> Result<Self, Invalid> {
        let mut origins = BTreeMap::new();
        let mut builder = Config::builder();
        if let Some(path) = file {
            builder = builder.add_source(File::from(path.as_path()).format(FileFormat::Toml));
        }
        let variables = environment.filter_map(|(name, value)| {
            let rest = name.strip_prefix(PREFIX)?;
            let setting =
                !NOT_SETTINGS.iter().any(|other| rest.starts_with(other)) || rest.contains("__");
            setting.then(|| (key_of_variable(rest), name.clone(), value))
        });
        for (key, name, value) in variables {
            origins.insert(key.clone(), name.clone());
            builder = set(builder, &key, &name, value)?;
        }
        for flag in flags {
            let origin = format!("--set {flag}");
            let Some((key, value)) = flag.split_once('=') else {
                let problem = "must be key=value, as in worker.concurrency=8".into();
                return Err(Invalid { origin, problem });
            };
            origins.insert(key.to_owned(), origin.clone());
            builder = set(builder, key, &origin, value.to_owned())?;
        }
        let config = builder.build().map_err(|error| Invalid {
            origin: file.map_or_else(|| "settings".into(), |path| path.display().to_string()),
            problem: error.to_string(),
        })?;
        let sources = Self { config, origins };
        sources.refuse_unknown_sections()?;
        Ok(sources)
    }

    /// The settings every worker has.
    ///
    /// # Errors
    /// [`Invalid`] names the key and the form expected.
    pub fn settings(&self) -> Result<Settings, Invalid> {
        let root = self.config.clone().cache;
        let settings: Settings = self.parse("", root)?;
        for (key, value) in [
            ("worker.concurrency", settings.worker.concurrency),
            ("worker.undo_concurrency", settings.worker.undo_concurrency),
            ("worker.threads", settings.worker.threads),
        ] {
            if !(1..=4096).contains(&value) {
                return Err(self.invalid(key, "must be 1 to 4096".into()));
            }
        }
        Ok(settings)
    }

    /// One worker's own settings.
    ///
    /// # Errors
    /// [`Invalid`] names the key and the form expected.
    pub fn section<S: DeserializeOwned>(&self, name: &str) -> Result<S, Invalid> {
        let empty = || Value::new(None, ValueKind::Table(config::Map::new()));
        let value = match &self.config.cache.kind {
            ValueKind::Table(table) => table.get(name).cloned().unwrap_or_else(empty),
            _ => empty(),
        };
        self.parse(name, value)
    }

    fn parse<S: DeserializeOwned>(&self, section: &str, value: Value) -> Result<S, Invalid> {
        serde_path_to_error::deserialize(value).map_err(|error| {
            let path = error.path().to_string();
            let inner = error.into_inner();
            let key = match (section, path.as_str()) {
                ("", path) => path.to_owned(),
                (section, ".") => section.to_owned(),
                (section, path) => format!("{section}.{path}"),
            };
            self.invalid(&key, inner.to_string())
        })
    }

    fn invalid(&self, key: &str, problem: String) -> Invalid {
        let origin = match self.origins.get(key) {
            Some(origin) => format!("{key} ({origin})"),
            None => key.to_owned(),
        };
        Invalid { origin, problem }
    }

    fn refuse_unknown_sections(&self) -> Result<(), Invalid> {
        let ValueKind::Table(sections) = &self.config.cache.kind else { return Ok(()) };
        let ours = ["nats", "worker", "health", "log"];
        let workers: Vec<_> = schemas::FLOWS.iter().flat_map(|flow| flow.steps).collect();
        for section in sections.keys() {
            let known = ours.contains(&section.as_str())
                || workers.iter().any(|step| step.worker == section);
            if !known {
                let problem = format!(
                    "no such section; there are {} and each worker's name",
                    ours.join(", ")
                );
                let origin = self.origins.iter().find(|(key, _)| key.starts_with(section.as_str()));
                let origin = origin.map_or_else(|| section.clone(), |(_, origin)| origin.clone());
                return Err(Invalid { origin, problem });
            }
        }
        Ok(())
    }
}

/// `CHARGE_CUSTOMER__URL` is `charge-customer.url`.
fn key_of_variable(rest: &str) -> String {
    let (section, key) = rest.split_once("__").unwrap_or((rest, ""));
    let section = section.to_ascii_lowercase();
    let worker = section.replace('_', "-");
    let known = schemas::FLOWS.iter().any(|flow| flow.step(&worker).is_some());
    let section = if known { worker } else { section };
    let key = key.to_ascii_lowercase().replace("__", ".");
    if key.is_empty() { section } else { format!("{section}.{key}") }
}

type Builder = config::ConfigBuilder<config::builder::DefaultState>;

fn set(builder: Builder, key: &str, origin: &str, value: String) -> Result<Builder, Invalid> {
    // `config` takes a dash for a syntax error in a path, so a worker's section is set as a table.
    let problem = |error: config::ConfigError| Invalid {
        origin: origin.to_owned(),
        problem: error.to_string(),
    };
    match key.split_once('.') {
        Some((section, rest)) if !section.is_empty() && !rest.is_empty() => {
            let source = Layer { section: section.to_owned(), key: rest.to_owned(), value };
            Ok(builder.add_source(source))
        }
        _ => Err(problem(config::ConfigError::Message(
            "must name a section and a key, as in worker.concurrency".into(),
        ))),
    }
}

/// One value, as a source of its own: sources merge table by table.
#[derive(Debug, Clone)]
struct Layer {
    section: String,
    key: String,
    value: String,
}

impl config::Source for Layer {
    fn clone_into_box(&self) -> Box<dyn config::Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<config::Map<String, Value>, config::ConfigError> {
        let mut keys = config::Map::new();
        keys.insert(self.key.clone(), Value::new(None, self.value.clone()));
        let mut sections = config::Map::new();
        sections.insert(self.section.clone(), Value::new(None, ValueKind::Table(keys)));
        Ok(sections)
    }
}

/// Durations as people write them: `500ms`, `2s`, `1m 30s`, `24h`.
pub mod duration {
    use std::borrow::Cow;
    use std::time::Duration;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer};

    /// For `#[serde(with = "quadrille::config::duration")]`.
    ///
    /// # Errors
    /// When the text is no duration, or a negative one.
    pub fn deserialize<'de, D: Deserializer<'de>>(reader: D) -> Result<Duration, D::Error> {
        let text = Cow::<'de, str>::deserialize(reader)?;
        let wrong = || D::Error::custom("must be a duration such as 500ms, 2s, 1m 30s or 24h");
        let parsed: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
        Duration::try_from(parsed).map_err(|_| wrong())
    }
}
