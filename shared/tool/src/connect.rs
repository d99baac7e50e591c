//! Which broker a command talks to, and what it says when no broker is there.

mod target;
mod context;

use std::path::PathBuf;

use quadrille::nats::{self, NatsBroker, NatsOptions};

use crate::output::{Advise, Ui};

pub use target::Target;

/// Where a nats-server listens if it is not told otherwise.
pub const LOCAL: &str = "nats://127.0.0.1:4222";

/// A connection, and what to call it.
#[derive(Debug)]
pub struct Connection {
    pub broker: NatsBroker,
    /// The URLs, separated by commas, as messages show them.
    pub url: String,
}

/// The broker of a command that names none; each tool has its own rule.
#[derive(Debug, Clone, Copy)]
pub struct DefaultBroker {
    /// Asked only if the operator names no broker.
    pub find: fn(Ui) -> Found,
    /// What the operator can do when no broker answers.
    pub advice: &'static str,
}

/// A broker that the operator did not name.
#[derive(Debug, Clone)]
pub struct Found {
    /// One URL, or several separated by commas.
    pub url: String,
    /// As messages show it: `the default: …`, or `from FILE`.
    pub origin: String,
}

impl DefaultBroker {
    /// [`LOCAL`], and no other.
    pub const LOCAL: Self = Self {
        find: |_| Found {
            url: LOCAL.to_owned(),
            origin: "the default: neither --nats nor --context is given".to_owned(),
        },
        advice: "name one with --nats URL or --context NAME",
    };
}

/// What to connect to, and where the operator has named it.
struct Choice {
    options: NatsOptions,
    /// As messages show it: `from the context prod`.
    origin: String,
}

/// Connects to what the command line or the environment names, otherwise to what `default_broker`
/// finds.
///
/// # Errors
/// When the context cannot be used, or no broker answers there.
pub async fn connect(
    target: &Target,
    default_broker: DefaultBroker,
    ui: Ui,
) -> anyhow::Result<Connection> {
    let Choice { options, origin } = choose(target, default_broker, ui)?;
    let url = options.urls.join(",");
    let broker = nats::connect(&options).await.map_err(|error| {
        let error = anyhow::Error::new(error).context(format!("no broker ({origin})"));
        error.advise(default_broker.advice)
    })?;
    Ok(Connection { broker, url })
}

fn choose(target: &Target, default_broker: DefaultBroker, ui: Ui) -> anyhow::Result<Choice> {
    let creds = target.creds.clone();
    if let Some(name) = &target.context {
        let mut options = context::read(name, target.config_home.as_deref())?;
        options.name = Some(ui.tool.to_owned());
        options.credentials = creds.or(options.credentials);
        return Ok(Choice { options, origin: format!("from the context {name}") });
    }
    if let Some(url) = &target.nats {
        let origin = "from --nats or QUADRILLE_NATS__URL".to_owned();
        return Ok(Choice { options: options(url, creds, ui), origin });
    }
    let Found { url, origin } = (default_broker.find)(ui);
    Ok(Choice { options: options(&url, creds, ui), origin })
}

fn options(url: &str, credentials: Option<PathBuf>, ui: Ui) -> NatsOptions {
    NatsOptions {
        urls: url.split(',').map(|url| url.trim().to_owned()).collect(),
        credentials,
        name: Some(ui.tool.to_owned()),
        ..NatsOptions::default()
    }
}
