//! Which broker a command talks to, and what it says when no broker is there.

mod target;

mod context;
mod running;

use std::path::PathBuf;

use quadrille::nats::{self, NatsBroker, NatsOptions};

use crate::output::{self, Advise, Ui};

pub use running::{Addresses, DEV_FOLDER, command_line};
pub use target::Target;

const DEFAULT_URL: &str = "nats://127.0.0.1:4222";

/// A connection, and what to call it.
#[derive(Debug)]
pub struct Connection {
    pub broker: NatsBroker,
    /// The URLs, separated by commas, as messages show them.
    pub url: String,
}

/// What to connect to, and where the operator has named it.
struct Choice {
    options: NatsOptions,
    /// As messages show it: `from the context prod`.
    origin: String,
}

/// Connects to what the command line, the environment or a running `quadrille dev` names.
///
/// # Errors
/// When the context cannot be used, or no broker answers there.
pub async fn connect(target: &Target, ui: Ui) -> anyhow::Result<Connection> {
    let Choice { options, origin } = choose(target, ui)?;
    let url = options.urls.join(",");
    let broker = nats::connect(&options).await.map_err(|error| {
        let error = anyhow::Error::new(error).context(format!("no broker ({origin})"));
        error
            .advise("start one with `quadrille dev`, or name one with --nats URL or --context NAME")
    })?;
    Ok(Connection { broker, url })
}

/// Connects to a broker that this process has started.
///
/// # Errors
/// When it does not answer.
pub async fn connect_to(url: &str, ui: Ui) -> anyhow::Result<NatsBroker> {
    Ok(nats::connect(&options(url, None, ui)).await?)
}

fn choose(target: &Target, ui: Ui) -> anyhow::Result<Choice> {
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
    if let Some((file, running)) = Addresses::here() {
        let origin = format!("from {}", file.display());
        let note = format!("using the broker of the running `quadrille dev`: {}", running.nats);
        ui.note(ui.on_stderr.paint(output::QUIET, format!("{note} ({})", file.display())));
        return Ok(Choice { options: options(&running.nats, creds, ui), origin });
    }
    let origin =
        "the default: neither --nats nor --context is given, and no `quadrille dev` runs here";
    Ok(Choice { options: options(DEFAULT_URL, creds, ui), origin: origin.to_owned() })
}

fn options(url: &str, credentials: Option<PathBuf>, ui: Ui) -> NatsOptions {
    NatsOptions {
        urls: url.split(',').map(|url| url.trim().to_owned()).collect(),
        credentials,
        name: Some(ui.tool.to_owned()),
        ..NatsOptions::default()
    }
}
