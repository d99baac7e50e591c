//! A watch of a bucket: one ordered consumer that pushes to an inbox of its own.
//!
//! It has no name, no acknowledgements and no copies. The server deletes it once nothing has
//! listened to the inbox for a few seconds, so a watch that is dropped, or whose process is killed,
//! leaves nothing behind. Nothing is repaired here, because a watch that starts again tells the
//! whole state anyway. There is no flow control: a bucket is small, and a reader that is too slow
//! for it sees the gap.

use std::time::Duration;

use async_nats::{Client, Message, Subscriber};
use futures::StreamExt;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::{is_key, marks, no_key, stream, subject};
use crate::broker::{Entry, Seen, Unavailable, Watch};
use crate::nats::api::{self, code};
use crate::nats::connection::Link;
use crate::nats::message::{Position, position};

/// How often the server says that it has nothing to say.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// How long the server may be silent. Three heartbeats, so that a busy machine is not a lost one.
const SILENCE: Duration = Duration::from_secs(3);

/// How long the server keeps a consumer to whose inbox nothing listens. It outlives no reconnect
/// for long, and is longer than the server needs to hear of a subscription from another server.
const UNHEARD: Duration = Duration::from_secs(5);

/// Where the watch is before the changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Present {
    Telling,
    AllTold,
    MarkTold,
}

pub(in crate::nats) struct BucketWatch {
    subscriber: Subscriber,
    disconnects: watch::Receiver<u64>,
    /// Bytes of a subject before its key.
    before_key: usize,
    /// Deliveries so far; the server numbers them.
    deliveries: u64,
    present: Present,
    heard: Instant,
    lost: Option<Unavailable>,
}

/// The answer to the creation of a consumer.
#[derive(Deserialize)]
struct Created {
    /// What it has yet to deliver.
    num_pending: u64,
    delivered: Delivered,
}

#[derive(Deserialize)]
struct Delivered {
    consumer_seq: u64,
}

enum Heard {
    Message(Message),
    Lost(&'static str),
}

impl BucketWatch {
    /// The next loss of the connection ends the watch.
    pub(in crate::nats) async fn new(
        link: &Link,
        bucket: &str,
        prefix: &str,
    ) -> Result<Self, Unavailable> {
        let filters = match prefix {
            "" => vec![subject(bucket, ">")],
            key if is_key(key) => vec![subject(bucket, key), subject(bucket, &format!("{key}.>"))],
            key => return Err(Unavailable(no_key(key))),
        };
        let (client, disconnects) = (&link.client, link.disconnects.subscribe());
        let inbox = client.new_inbox();
        let subscriber = client.subscribe(inbox.clone()).await;
        let subscriber = subscriber.map_err(|error| Unavailable(error.to_string()))?;
        let created = create(client, &stream(bucket), &inbox, &filters).await?;
        let nothing = created.num_pending == 0 && created.delivered.consumer_seq == 0;
        Ok(Self {
            subscriber,
            disconnects,
            before_key: subject(bucket, "").len(),
            deliveries: 0,
            present: if nothing { Present::AllTold } else { Present::Telling },
            heard: Instant::now(),
            lost: None,
        })
    }

    async fn tell(&mut self) -> Result<Seen, Unavailable> {
        if let Some(lost) = &self.lost {
            return Err(lost.clone());
        }
        loop {
            if self.present == Present::AllTold {
                self.present = Present::MarkTold;
                return Ok(Seen::AllPresent);
            }
            let taken = match self.hear().await {
                Heard::Message(message) => self.take(message),
                Heard::Lost(why) => Err(why.to_owned()),
            };
            match taken {
                Ok(Some(seen)) => return Ok(seen),
                Ok(None) => {}
                Err(why) => {
                    let lost = Unavailable(format!("the watch of a bucket ended: {why}"));
                    self.lost = Some(lost.clone());
                    return Err(lost);
                }
            }
        }
    }

    /// What has already arrived comes before the end.
    async fn hear(&mut self) -> Heard {
        tokio::select! {
            biased;
            message = self.subscriber.next() => match message {
                Some(message) => Heard::Message(message),
                None => Heard::Lost("the connection is dead"),
            },
            _ = self.disconnects.changed() => Heard::Lost("the connection was lost"),
            () = sleep_until(self.heard + SILENCE) => Heard::Lost("the broker is silent"),
        }
    }

    fn take(&mut self, message: Message) -> Result<Option<Seen>, String> {
        self.heard = Instant::now();
        // The acknowledgement subject decides, because a publisher may forge the status line.
        match message.reply.as_deref().and_then(position) {
            Some(position) => self.delivery(&message, &position).map(Some),
            None => self.status(&message).map(|()| None),
        }
    }

    fn delivery(&mut self, message: &Message, position: &Position) -> Result<Seen, String> {
        self.deliveries += 1;
        if position.delivery != self.deliveries {
            return Err(gap(self.deliveries, position.delivery));
        }
        if position.pending == 0 && self.present == Present::Telling {
            self.present = Present::AllTold;
        }
        let key = message.subject.get(self.before_key..).unwrap_or_default().to_owned();
        Ok(if is_marker(message) {
            Seen::Gone { key }
        } else {
            Seen::Set(Entry {
                key,
                revision: position.sequence,
                value: message.payload.clone(),
                written_at: position.stored_at,
            })
        })
    }

    /// A heartbeat comes only when there is nothing to deliver. So it also ends the entries that
    /// exist, where the last of them vanished before it was told.
    fn status(&mut self, message: &Message) -> Result<(), String> {
        let description = message.description.as_deref().unwrap_or_default();
        match message.status.map(|status| status.as_u16()) {
            Some(100) => {}
            Some(status) => return Err(format!("the broker says {status} {description}")),
            // Another client's message to our inbox.
            None => return Ok(()),
        }
        let delivered = message
            .headers
            .as_ref()
            .and_then(|headers| headers.get("Nats-Last-Consumer")?.as_str().parse::<u64>().ok());
        match delivered {
            Some(delivered) if delivered != self.deliveries => {
                Err(gap(self.deliveries + 1, delivered + 1))
            }
            Some(_) if self.present == Present::Telling => {
                self.present = Present::AllTold;
                Ok(())
            }
            Some(_) | None => Ok(()),
        }
    }
}

fn gap(expected: u64, delivery: u64) -> String {
    format!("delivery {expected} did not come before {delivery}")
}

fn is_marker(message: &Message) -> bool {
    let headers = message.headers.iter().flat_map(|headers| headers.iter());
    headers
        .into_iter()
        .any(|(name, values)| values.iter().any(|value| marks(name.as_ref(), value.as_str())))
}

async fn create(
    client: &Client,
    stream: &str,
    inbox: &str,
    filters: &[String],
) -> Result<Created, Unavailable> {
    let nanoseconds = |time: Duration| time.as_secs() * 1_000_000_000;
    let body = json!({
        "stream_name": stream,
        "config": {
            "deliver_subject": inbox,
            "deliver_policy": "last_per_subject",
            "filter_subjects": filters,
            "ack_policy": "none",
            "idle_heartbeat": nanoseconds(HEARTBEAT),
            "inactive_threshold": nanoseconds(UNHEARD),
            "mem_storage": true,
            "num_replicas": 1,
        },
    });
    let subject = format!("$JS.API.CONSUMER.CREATE.{stream}");
    let created = api::request(client, subject, body.to_string()).await;
    let created = created.found(&[code::STREAM_NOT_FOUND])?;
    created.ok_or_else(|| Unavailable(format!("the stream {stream} does not exist")))
}

impl Watch for BucketWatch {
    fn next(&mut self) -> BoxFuture<'_, Result<Seen, Unavailable>> {
        Box::pin(self.tell())
    }
}
