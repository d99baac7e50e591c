//! Every setting of a process, with its value and where that came from, as lines of a settings
//! file.

use config::{Value, ValueKind};
use serde::{Serialize, Serializer};
use serde_json::Value as Json;

use super::ways;
use super::{Invalid, Sources};
use crate::Flow;

/// Where the remarks begin, if the setting is no longer.
const REMARK: usize = 48;

impl Sources {
    /// One line each; `own` is what the section `process` says. A secret is `***`, which is what
    /// [`Secret`](crate::http::Secret) and a login in a URL are written as.
    ///
    /// # Errors
    /// [`Invalid`] as for [`Sources::settings`].
    pub(crate) fn lines(
        &self,
        flow: &Flow,
        process: &str,
        own: &impl Serialize,
    ) -> Result<Vec<String>, Invalid> {
        let mut settings = self.settings()?;
        settings.flow.entry(flow.saga.to_owned()).or_default();
        if let Some(row) = flow.row(process) {
            for service in row.requires.iter().chain(row.prefers) {
                settings.breaker.entry((*service).to_owned()).or_default();
            }
        }
        let mut all = Vec::new();
        for (section, settings) in
            [("", serde_json::to_value(settings)), (process, serde_json::to_value(own))]
        {
            flatten(section, settings.unwrap_or_default(), &mut all);
        }
        Ok(all.iter().map(|(key, value)| self.line(key, value)).collect())
    }

    fn line(&self, key: &str, value: &Json) -> String {
        let set = match value {
            Json::Null => format!("# {key} is not set"),
            value => format!("{key} = {value}"),
        };
        format!("{set:<REMARK$} # {}", self.origin(key))
    }

    /// What an operator can do about a broker that does not answer: where its address is from, and
    /// how to give another one.
    pub(crate) fn ways_to_the_broker(&self) -> String {
        let key = "nats.url";
        let origin = self.origin(key);
        if origin != "default" {
            return format!("{key} is set by {origin}");
        }
        let elsewhere = match self.names_a_broker_elsewhere {
            true => "; workers do not read NATS_URL",
            false => "",
        };
        format!(
            "nothing sets {key}, so this is its default{elsewhere}; {}",
            ways(key, "nats://host:4222")
        )
    }

    /// The variable or the flag that set it, or the file.
    fn origin(&self, key: &str) -> String {
        let mut value = Some(&self.config.cache);
        for part in key.split('.') {
            value = match value.map(|value| &value.kind) {
                Some(ValueKind::Table(table)) => table.get(part),
                _ => None,
            };
        }
        let given = self.origins.get(key).map(String::as_str);
        given.or_else(|| value.and_then(Value::origin)).unwrap_or("default").to_owned()
    }
}

/// Tables become keys with dots.
fn flatten(key: &str, value: Json, all: &mut Vec<(String, Json)>) {
    match value {
        Json::Object(table) => {
            for (name, value) in table {
                let key = if key.is_empty() { name } else { format!("{key}.{name}") };
                flatten(&key, value, all);
            }
        }
        value => all.push((key.to_owned(), value)),
    }
}

/// A login in a URL is shown as `***`.
pub(super) fn without_logins<S: Serializer>(url: &str, writer: S) -> Result<S::Ok, S::Error> {
    let shown = url.split(',').map(|url| match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => {
            format!("{}***{}", &url[..scheme + 3], &url[at..])
        }
        (None, Some(at)) => format!("***{}", &url[at..]),
        _ => url.to_owned(),
    });
    writer.serialize_str(&shown.collect::<Vec<_>>().join(","))
}
