//! Where a pull hears: an inbox on a connection that reads nothing else, both opened again when
//! they are dead.

use async_nats::{Client, PublishError, Subscriber};
use serde::Deserialize;
use tokio::sync::watch;

use crate::broker::Unavailable;
use crate::nats::api::{self, code};
use crate::nats::connection::{Link, Reading};

pub(super) struct Inbox {
    reading: Reading,
    pub(super) client: Client,
    pub(super) disconnects: watch::Receiver<u64>,
    name: String,
    pub(super) subscriber: Subscriber,
}

impl Inbox {
    pub(super) async fn open(reading: Reading) -> Result<Self, Unavailable> {
        let Link { client, disconnects, .. } = reading.link().await?;
        let (name, subscriber) = subscribe(&client).await?;
        Ok(Self { reading, client, disconnects: disconnects.subscribe(), name, subscriber })
    }

    /// Sends a request of this generation.
    pub(super) async fn ask(
        &self,
        request: &str,
        generation: u64,
        body: String,
    ) -> Result<(), PublishError> {
        let reply = format!("{}.{generation}", self.name);
        self.client.publish_with_reply(request.to_owned(), reply, body.into()).await
    }

    /// Another inbox; on a new connection, if the client of the present one is dead.
    pub(super) async fn replace(&mut self) -> Result<(), Unavailable> {
        let Link { client, disconnects, .. } = self.reading.link().await?;
        (self.name, self.subscriber) = subscribe(&client).await?;
        self.disconnects = disconnects.subscribe();
        self.client = client;
        Ok(())
    }
}

async fn subscribe(client: &Client) -> Result<(String, Subscriber), Unavailable> {
    let inbox = client.new_inbox();
    let subscriber = client.subscribe(format!("{inbox}.*")).await;
    Ok((inbox, subscriber.map_err(|error| Unavailable(error.to_string()))?))
}

/// Whether a durable is still there, according to the server.
pub(super) async fn exists(leader: &Client, info: &str) -> Result<bool, Unavailable> {
    #[derive(Deserialize)]
    struct Exists {}
    let answer = api::request::<Exists>(leader, info.to_owned(), "").await;
    let found = answer.found(&[code::CONSUMER_NOT_FOUND, code::STREAM_NOT_FOUND])?;
    Ok(found.is_some())
}
