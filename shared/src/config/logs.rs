//! The settings of logs.

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// How logs look.
#[derive(Debug, Clone, Deserialize, Serialize)]
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

impl LogSettings {
    /// # Errors
    /// When `level` is no filter. A word that is no level is refused too: read as the name of a
    /// target, it would silence everything.
    pub(crate) fn filter(&self) -> Result<EnvFilter, &'static str> {
        const FORM: &str = "must be a level (off, error, warn, info, debug or trace), or levels of \
                            targets as in warn,quadrille=debug";
        let is_level = |part: &str| {
            let part = part.trim();
            part.contains(['=', '[']) || !part.is_empty() && part.parse::<LevelFilter>().is_ok()
        };
        if !self.level.split(',').all(is_level) {
            return Err(FORM);
        }
        EnvFilter::try_new(&self.level).map_err(|_| FORM)
    }
}

/// `Auto` is pretty on a terminal and JSON otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", rename_all = "lowercase")]
pub enum LogFormat {
    Auto,
    Pretty,
    Json,
}

impl TryFrom<String> for LogFormat {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        match text.as_str() {
            "auto" => Ok(Self::Auto),
            "pretty" => Ok(Self::Pretty),
            "json" => Ok(Self::Json),
            _ => Err("must be auto, pretty or json"),
        }
    }
}
