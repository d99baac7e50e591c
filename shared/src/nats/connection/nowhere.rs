//! A client without a server, for a process that asks none.

use async_nats::ConnectOptions;
use tokio::sync::watch;

use super::{ConnectError, NatsOptions, broker};
use crate::nats::NatsBroker;

/// What is asked of it waits for ever; it never finds a server.
///
/// # Errors
/// Never, as the client is today.
pub(crate) async fn nowhere() -> Result<NatsBroker, ConnectError> {
    // Nothing listens at this port, and the client looks for it beside us.
    let urls = "nats://127.0.0.1:1".to_owned();
    let client = ConnectOptions::new().retry_on_initial_connect().connect(&urls).await;
    let client = client.map_err(|error| ConnectError::Unreachable {
        urls: urls.clone(),
        reason: error.to_string(),
    })?;
    let (_, alive) = watch::channel(());
    Ok(broker(client, alive, NatsOptions { urls: vec![urls], ..NatsOptions::default() }))
}
