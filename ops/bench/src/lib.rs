//! What the benchmarks of the read side share: a server with a log that was written beforehand, and
//! how their figures are told.

pub mod stories;

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use harness::server::{Server, Settings};
use quadrille::nats::{self, NatsBroker, NatsOptions, provision};
use quadrille::topology::{Profile, Topology};
use schemas::order_fulfilment::FLOW;
use serde::Serialize;

/// A server with an empty log of up to `max_bytes`.
///
/// # Errors
/// When the server does not start, or its disk has no room for such a log.
pub async fn with_log(program: &Path, max_bytes: u64) -> anyhow::Result<(Server, Arc<NatsBroker>)> {
    let settings = Settings { program: Some(program.to_owned()), ..Settings::default() };
    let server = Server::start_with(&settings).await?;
    let broker = connect(&server.url()).await?;
    let topology = Topology { max_bytes, ..Topology::new(&FLOW, Profile::Dev) };
    provision::apply(&broker, &provision::plan(&broker, &topology).await?).await?;
    Ok((server, broker))
}

/// # Errors
/// When no server is there.
pub async fn connect(url: &str) -> anyhow::Result<Arc<NatsBroker>> {
    let options = NatsOptions { urls: vec![url.to_owned()], ..NatsOptions::default() };
    Ok(Arc::new(nats::connect(&options).await?))
}

/// Prints figures, and writes them to a file if one is named.
///
/// # Errors
/// When the file cannot be written.
pub fn tell(figures: &impl Serialize, file: Option<&Path>) -> anyhow::Result<()> {
    let json = serde_json::to_string_pretty(figures)?;
    println!("{json}");
    if let Some(file) = file {
        std::fs::write(file, &json).with_context(|| file.display().to_string())?;
    }
    Ok(())
}
