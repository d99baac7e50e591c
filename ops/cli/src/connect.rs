//! Which broker a command talks to, and how it says so when nobody is there.

use std::path::{Path, PathBuf};

use quadrille::nats::{self, NatsBroker, NatsOptions};

use crate::args::Target;
use crate::dev::Addresses;
use crate::output::{Advise, Ui};
use crate::{context, output};

/// Where a `quadrille dev` keeps its data, unless told otherwise.
pub(crate) const DEV_FOLDER: &str = ".quadrille";

const DEFAULT_URL: &str = "nats://127.0.0.1:4222";

/// A connection, and what to call it.
pub(crate) struct Connection {
    pub(crate) broker: NatsBroker,
    /// The URLs, for messages.
    pub(crate) url: String,
}

/// Connects to what the command line, the environment or a running `quadrille dev` names.
pub(crate) async fn connect(target: &Target, ui: Ui) -> anyhow::Result<Connection> {
    let (options, origin) = choose(target, ui)?;
    let url = options.urls.join(",");
    let broker = nats::connect(&options).await.map_err(|error| {
        let error = anyhow::Error::new(error).context(format!("no broker ({origin})"));
        error
            .advise("start one with `quadrille dev`, or name one with --nats URL or --context NAME")
    })?;
    Ok(Connection { broker, url })
}

/// Connects to a broker that this process has started.
pub(crate) async fn connect_to(url: &str) -> anyhow::Result<NatsBroker> {
    Ok(nats::connect(&options(url.to_owned(), None)).await?)
}

fn choose(target: &Target, ui: Ui) -> anyhow::Result<(NatsOptions, String)> {
    let creds = target.creds.clone();
    if let Some(name) = &target.context {
        let mut options = context::read(name, target.config_home.as_deref())?;
        options.name = Some("quadrille".to_owned());
        options.credentials = creds.or(options.credentials);
        return Ok((options, format!("from the context {name}")));
    }
    if let Some(url) = &target.nats {
        return Ok((options(url.clone(), creds), "from --nats or QUADRILLE_NATS__URL".into()));
    }
    if let Some((file, running)) = running_here() {
        let origin = format!("from {}", file.display());
        let note = format!("using the broker of the running `quadrille dev`: {}", running.nats);
        ui.note(ui.on_stderr.paint(output::QUIET, format!("{note} ({})", file.display())));
        return Ok((options(running.nats, creds), origin));
    }
    let origin =
        "the default: neither --nats nor --context is given, and no `quadrille dev` runs here";
    Ok((options(DEFAULT_URL.to_owned(), creds), origin.into()))
}

fn options(url: String, credentials: Option<PathBuf>) -> NatsOptions {
    NatsOptions {
        urls: url.split(',').map(|url| url.trim().to_owned()).collect(),
        credentials,
        name: Some("quadrille".to_owned()),
        ..NatsOptions::default()
    }
}

/// The `quadrille dev` that runs in this folder or one above it.
fn running_here() -> Option<(PathBuf, Addresses)> {
    let here = std::env::current_dir().ok()?;
    let file = |folder: &Path| folder.join(DEV_FOLDER).join("dev.json");
    here.ancestors()
        .map(file)
        .find_map(|file| Addresses::of_running(&file).map(|running| (file, running)))
}
