//! Reads a stream as any client could: with a consumer of its own, in order, without
//! acknowledgements.

use async_nats::Client;
use async_nats::jetstream::consumer::pull::{Ordered, OrderedConfig};
use futures::StreamExt;
use jiff::Timestamp;

use crate::eventually::eventually;

/// A stored message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    pub subject: String,
    pub sequence: u64,
    /// By the broker's clock.
    pub at: Timestamp,
    pub payload: Vec<u8>,
}

/// The messages of a stream as they are stored, from its beginning.
pub struct Follower {
    messages: Ordered,
}

impl Follower {
    /// # Panics
    /// When there is no such stream.
    pub async fn of(client: Client, stream: &str, filter: &str) -> Self {
        let context = async_nats::jetstream::new(client);
        let stream = context.get_stream_no_info(stream).await.expect("the stream exists");
        let config = OrderedConfig { filter_subject: filter.to_owned(), ..Default::default() };
        let consumer = stream.create_consumer(config).await.expect("the server takes a consumer");
        Self { messages: consumer.messages().await.expect("the server delivers") }
    }

    /// The next one, whenever it comes. Safe to cancel.
    pub async fn next(&mut self) -> Logged {
        let (message, _) = self.next_and_pending().await;
        message
    }

    async fn next_and_pending(&mut self) -> (Logged, u64) {
        let next = self.messages.next().await.expect("an ordered consumer never ends");
        let message = next.expect("an ordered consumer recovers by itself");
        let info = message.info().expect("a message of a stream");
        let logged = Logged {
            subject: message.subject.to_string(),
            sequence: info.stream_sequence,
            at: Timestamp::from_nanosecond(info.published.unix_timestamp_nanos())
                .expect("the server's time"),
            payload: message.payload.to_vec(),
        };
        (logged, info.pending)
    }
}

/// Everything a stream holds now.
pub(super) async fn read_all(client: Client, name: &str) -> Vec<Logged> {
    let context = async_nats::jetstream::new(client.clone());
    let stream = context.get_stream(name).await.expect("the stream exists");
    if stream.cached_info().state.messages == 0 {
        return Vec::new();
    }
    let last = stream.get_last_raw_message_by_subject(">").await.map_or(0, |last| last.sequence);
    eventually("a node that does not lag reads the stream", async || {
        let mut follower = Follower::of(client.clone(), name, ">").await;
        let mut all = Vec::new();
        loop {
            let (message, pending) = follower.next_and_pending().await;
            let reaches = message.sequence >= last;
            all.push(message);
            if pending == 0 {
                return reaches.then_some(all);
            }
        }
    })
    .await
}
