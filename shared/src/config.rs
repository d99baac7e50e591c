//! Settings of a worker: defaults < file < environment < flag, read once, at start.
//!
//! `[nats] url` is `QUADRILLE_NATS__URL` in the environment and `--set nats.url=…` as a flag; the
//! section of a worker's own settings has its name. A mistake names the key, where it came from and
//! the form expected.

pub mod duration;
mod settings;
mod logs;
mod deadlines;
mod names;
mod shown;
mod ways;

use std::collections::BTreeMap;
use std::path::PathBuf;

use config::{Config, File, FileFormat, Value, ValueKind};
use serde::de::DeserializeOwned;

use crate::Flow;

pub use logs::{LogFormat, LogSettings};
pub use settings::{
    BreakerSettings, Deadline, DeadlineSettings, FlowSettings, HealthSettings, NatsSettings,
    Settings, WorkerSettings,
};
pub(crate) use ways::ways;

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{origin}: {problem}")]
pub struct Invalid {
    origin: String,
    problem: String,
}

/// All settings as they were given, before they are checked against any form. They may hold
/// secrets.
#[derive(Clone)]
pub struct Sources {
    config: Config,
    /// Key, as `worker.concurrency`, to where it was set.
    origins: BTreeMap<String, String>,
    /// `NATS_URL` is set, which is not ours: an operator may think that it counts here.
    names_a_broker_elsewhere: bool,
}

const PREFIX: &str = "QUADRILLE_";

/// The services beside a flow's workers: all processes may share one file of settings.
const SERVICES: [&str; 2] = ["command", "query"];

impl Sources {
    /// Reads a TOML file, the variables that begin with `QUADRILLE_`, and `key=value` flags. Each
    /// worker of `flow` has a section of its own, and so has `process`.
    ///
    /// # Errors
    /// When the file cannot be read, or a section is neither a worker's, nor a service's breaker,
    /// nor one of ours.
    pub fn read(
        flow: &Flow,
        process: &str,
        file: Option<&PathBuf>,
        environment: impl Iterator<Item = (String, String)>,
        flags: &[String],
    ) -> Result<Self, Invalid> {
        let is_own = |section: &str| section == process || flow.row(section).is_some();
        let mut origins = BTreeMap::new();
        let mut builder = Config::builder();
        if let Some(path) = file {
            builder = builder.add_source(File::from(path.as_path()).format(FileFormat::Toml));
        }
        let mut names_a_broker_elsewhere = false;
        let environment = environment.inspect(|(name, value)| {
            names_a_broker_elsewhere |= name == "NATS_URL" && !value.is_empty();
        });
        // A variable without a section is no setting, because scripts and tests have variables of
        // their own.
        let variables = environment.filter_map(|(name, value)| {
            let (section, key) = name.strip_prefix(PREFIX)?.split_once("__")?;
            Some((key_of_variable(section, key, &is_own), name.clone(), value))
        });
        for (key, name, value) in variables {
            origins.insert(key.clone(), name.clone());
            builder = set(builder, &key, &name, value)?;
        }
        for flag in flags {
            let Some((key, value)) = flag.split_once('=') else {
                let origin = format!("--set {flag}");
                let problem = "must be key=value, as in worker.concurrency=8".into();
                return Err(Invalid { origin, problem });
            };
            // Without the value, which may be a secret.
            let origin = format!("--set {key}");
            origins.insert(key.to_owned(), origin.clone());
            builder = set(builder, key, &origin, value.to_owned())?;
        }
        let config = builder.build().map_err(|error| Invalid {
            origin: file.map_or_else(|| "settings".into(), |path| path.display().to_string()),
            problem: without_lines(&error.to_string()),
        })?;
        let sources = Self { config, origins, names_a_broker_elsewhere };
        sources.refuse_unknown_sections(&is_own)?;
        sources.refuse_unknown_breakers(flow)?;
        sources.refuse_unknown_deadlines(flow)?;
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
        for (key, value) in [
            ("worker.deadline", settings.worker.deadline),
            ("worker.inspect_every", settings.worker.inspect_every),
        ] {
            if value.is_zero() {
                return Err(self.invalid(key, "must be longer than zero".into()));
            }
        }
        if let Err(problem) = settings.log.filter() {
            return Err(self.invalid("log.level", problem.into()));
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

    fn refuse_unknown_breakers(&self, flow: &Flow) -> Result<(), Invalid> {
        let ValueKind::Table(sections) = &self.config.cache.kind else { return Ok(()) };
        let Some(ValueKind::Table(breakers)) = sections.get("breaker").map(|value| &value.kind)
        else {
            return Ok(());
        };
        let services = flow.all_services();
        match breakers.keys().find(|name| !services.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => {
                let named = match services.join(", ") {
                    services if services.is_empty() => "no service".to_owned(),
                    services => services,
                };
                let problem = format!("no step calls that service; the flow names {named}");
                Err(self.invalid_below(&format!("breaker.{name}"), problem))
            }
        }
    }

    /// As [`Self::invalid`], for a table of which any key was set.
    fn invalid_below(&self, table: &str, problem: String) -> Invalid {
        let below = |key: &str| key.strip_prefix(table).is_some_and(|rest| rest.starts_with('.'));
        let origin = self.origins.iter().find(|(key, _)| below(key)).map(|(_, origin)| origin);
        let origin =
            origin.map_or_else(|| table.to_owned(), |origin| format!("{table} ({origin})"));
        Invalid { origin, problem }
    }

    fn refuse_unknown_sections(&self, is_own: &impl Fn(&str) -> bool) -> Result<(), Invalid> {
        let ValueKind::Table(sections) = &self.config.cache.kind else { return Ok(()) };
        let ours = ["nats", "flow", "worker", "breaker", "deadline", "health", "log"];
        for section in sections.keys() {
            let known = ours.contains(&section.as_str())
                || SERVICES.contains(&section.as_str())
                || is_own(section);
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

/// What is wrong with a file and where, without the line itself, which may hold a secret.
fn without_lines(problem: &str) -> String {
    let is_drawn = |line: &&str| {
        line.trim_start().trim_start_matches(char::is_numeric).trim_start().starts_with('|')
    };
    let lines: Vec<_> = problem.lines().filter(|line| !is_drawn(line)).map(str::trim).collect();
    lines.join(": ")
}

/// `BOOK_HOTEL` and `URL` become `book-hotel.url`, if a worker has that name.
fn key_of_variable(section: &str, key: &str, is_own: &impl Fn(&str) -> bool) -> String {
    let section = section.to_ascii_lowercase();
    let name = section.replace('_', "-");
    let key = key.to_ascii_lowercase();
    match key.split_once("__") {
        // Only breakers have a section each: `BREAKER` and `CARD_BANK__RUN`.
        Some((inner, key)) => format!("{section}.{}.{key}", inner.replace('_', "-")),
        None => format!("{}.{key}", if is_own(&name) { name } else { section }),
    }
}

type Builder = config::ConfigBuilder<config::builder::DefaultState>;

fn set(builder: Builder, key: &str, origin: &str, value: String) -> Result<Builder, Invalid> {
    // `config` reads a dash in a path as a syntax error, so a worker's section is set as a table.
    let problem = |error: config::ConfigError| Invalid {
        origin: origin.to_owned(),
        problem: error.to_string(),
    };
    match key.split_once('.') {
        Some((section, rest)) if !section.is_empty() && !rest.is_empty() => {
            Ok(builder.add_source(Layer { key: key.to_owned(), value }))
        }
        _ => Err(problem(config::ConfigError::Message(
            "must name a section and a key, as in worker.concurrency".into(),
        ))),
    }
}

/// One value, as a source of its own: sources merge table by table.
#[derive(Debug, Clone)]
struct Layer {
    /// `worker.concurrency`, or `breaker.payments.run`.
    key: String,
    value: String,
}

impl config::Source for Layer {
    fn clone_into_box(&self) -> Box<dyn config::Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<config::Map<String, Value>, config::ConfigError> {
        let table = |name: &str, value| config::Map::from([(name.to_owned(), value)]);
        let mut names = self.key.rsplit('.');
        let last = names.next().unwrap_or_default();
        let mut all = table(last, Value::new(None, self.value.clone()));
        for name in names {
            all = table(name, Value::new(None, ValueKind::Table(all)));
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests;
