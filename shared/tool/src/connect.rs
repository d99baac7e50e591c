//! Which broker a command talks to, and what it says when no broker is there.

mod target;
mod context;

use quadrille::Flow;
use quadrille::nats::{self, ConnectError, NatsBroker, NatsOptions};

use crate::output::{Advise, QUIET, Ui};

pub use target::Target;

/// Where a nats-server listens if it is not told otherwise.
pub const LOCAL: &str = "nats://127.0.0.1:4222";

/// A connection, and what to call it.
#[derive(Debug)]
pub struct Connection {
    pub broker: NatsBroker,
    /// The URLs, separated by commas, as messages show them: without a login.
    pub url: String,
}

/// The broker of a command that names none; each tool has its own rule.
#[derive(Debug, Clone, Copy)]
pub struct DefaultBroker {
    /// Asked only if the operator names no broker.
    pub find: fn(Ui) -> Found,
    /// What the operator can do when no broker answers at these URLs.
    pub advice: fn(&str) -> String,
}

/// A broker that the operator did not name.
#[derive(Debug, Clone)]
pub struct Found {
    /// One URL, or several separated by commas.
    pub url: String,
    /// As messages show it: `the default: …`, or `from FILE`.
    pub origin: String,
    /// It was found to be running for this tool, so no other address comes before it.
    pub is_ours: bool,
}

impl DefaultBroker {
    /// [`LOCAL`], and no other.
    pub const LOCAL: Self = Self {
        find: |_| Found {
            url: LOCAL.to_owned(),
            origin: "the default: neither --nats nor --context is given".to_owned(),
            is_ours: false,
        },
        advice: |_| "name one with --nats URL or --context NAME".to_owned(),
    };
}

/// What to connect to, and where the operator has named it.
struct Choice {
    options: NatsOptions,
    /// As messages show it: `from the context prod`.
    origin: String,
}

/// Connects to what the command line or our own variables name, otherwise to what those of the
/// `nats` command name, to what `default_broker` finds, or to the selected context. Says on stderr
/// where an address came from that the command line does not show.
///
/// # Errors
/// When the context cannot be used, or no broker answers there.
pub async fn connect(
    flow: &Flow,
    target: &Target,
    default_broker: DefaultBroker,
    ui: Ui,
) -> anyhow::Result<Connection> {
    let Choice { mut options, origin } = choose(target, default_broker, ui)?;
    options.names = target.names(flow)?;
    let url = options.shown();
    if target.nats.is_none() && target.context.is_none() {
        ui.note(ui.on_stderr.paint(QUIET, format!("broker: {url} ({origin})")));
    }
    let broker = nats::connect(&options).await.map_err(|error| {
        let is_away = matches!(error, ConnectError::Unreachable { .. });
        let error = anyhow::Error::new(error).context(format!("no broker ({origin})"));
        if is_away { error.advise((default_broker.advice)(&url)) } else { error }
    })?;
    Ok(Connection { broker, url })
}

fn choose(target: &Target, default_broker: DefaultBroker, ui: Ui) -> anyhow::Result<Choice> {
    let (mut options, mut origin) = address(target, default_broker, ui)?;
    target.put_over(&mut options);
    if let Some(variable) = target.fill_in(&mut options) {
        origin = format!("{origin}, with the login of {variable}");
    }
    options.name = Some(ui.name().to_owned());
    Ok(Choice { options, origin })
}

/// The URLs, with the login of a context; and where they come from.
fn address(
    target: &Target,
    default_broker: DefaultBroker,
    ui: Ui,
) -> anyhow::Result<(NatsOptions, String)> {
    let home = target.config_home.as_deref();
    let saved = |name: &str, origin: String| Ok((context::read(name, home)?, origin));
    if let Some(name) = &target.context {
        return saved(name, format!("from the context {name}"));
    }
    if let Some(url) = &target.nats {
        return Ok((options(url), "from --nats or QUADRILLE_NATS__URL".to_owned()));
    }
    if let Some(url) = target.stock_url() {
        return Ok((options(url), "from NATS_URL".to_owned()));
    }
    if let Some(name) = target.stock_context() {
        return saved(name, format!("from the context {name}, which NATS_CONTEXT names"));
    }
    let found = (default_broker.find)(ui);
    if !found.is_ours
        && let Some(name) = context::selected(home)
    {
        return saved(&name, format!("from the selected context {name}"));
    }
    Ok((options(&found.url), found.origin))
}

fn options(url: &str) -> NatsOptions {
    NatsOptions {
        urls: url.split(',').map(|url| url.trim().to_owned()).collect(),
        ..NatsOptions::default()
    }
}
