//! What the server knows: deliveries, messages by subject, when the first of them came. The bench
//! asks it, and not the workers, what an outage has cost.

use std::time::Duration;

use anyhow::{Context as _, bail};
use async_nats::Client;
use async_nats::jetstream::{self, Context};
use bytes::Bytes;
use futures::StreamExt;
use schemas::order_fulfilment::FLOW;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::{driver, plain};

/// A publish is tried again this often: longer than any outage of the server in a row lasts.
const TRIES: u32 = 240;
const AGAIN: Duration = Duration::from_millis(250);
const PATIENCE: Duration = Duration::from_secs(10);
/// The stream of the dead letters of design `none`.
const DEAD: &str = "DEAD_LETTERS";
/// `wrong last sequence`, `maximum messages per subject exceeded`: it was stored before.
const STORED_BEFORE: [&str; 2] = ["10071", "10077"];

/// A connection of its own to the server of one row.
#[derive(Clone)]
pub(crate) struct Counts {
    client: Client,
    jetstream: Context,
}

/// A durable as the server sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Durable {
    /// Deliveries since it was created, repeated ones included.
    pub(crate) deliveries: u64,
    /// Messages never delivered.
    pub(crate) pending: u64,
    /// Delivered and not settled.
    pub(crate) in_hand: u64,
    /// Pull requests that wait.
    pub(crate) waiting: u64,
}

impl Counts {
    pub(crate) async fn connect(url: &str) -> anyhow::Result<Self> {
        let options = async_nats::ConnectOptions::new()
            .name("bench")
            .reconnect_delay_callback(|_| Duration::from_millis(100));
        let client = options.connect(url).await.with_context(|| format!("cannot reach {url}"))?;
        Ok(Self { jetstream: jetstream::new(client.clone()), client })
    }

    /// Places an order, whatever happens to the server meanwhile.
    pub(crate) async fn place(&self, id: &str, order: &Bytes) -> anyhow::Result<()> {
        let mut tries = 0;
        loop {
            tries += 1;
            let placed = driver::place(self.jetstream.clone(), id.to_owned(), order.clone()).await;
            let Err(error) = placed else { return Ok(()) };
            let said = format!("{error:#}");
            if STORED_BEFORE.iter().any(|code| said.contains(code)) {
                return Ok(());
            }
            if tries == TRIES {
                return Err(error.context(format!("cannot place {id}")));
            }
            sleep(AGAIN).await;
        }
    }

    pub(crate) async fn durable(&self, name: &str) -> anyhow::Result<Durable> {
        let info = self.api(&format!("CONSUMER.INFO.{}.{name}", FLOW.stream), Value::Null).await?;
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        Ok(Durable {
            deliveries: number(&info["delivered"]["consumer_seq"]),
            pending: number(&info["num_pending"]),
            in_hand: number(&info["num_ack_pending"]),
            waiting: number(&info["num_waiting"]),
        })
    }

    /// Messages of the flow's stream in this slot.
    pub(crate) async fn stored(&self, slot: &str) -> anyhow::Result<u64> {
        let reader = self.reader(slot, json!({ "deliver_policy": "all" })).await?;
        reader["num_pending"].as_u64().context("a reader knows how much there is to read")
    }

    /// When the first message of a slot was stored that came after `since`, both in nanoseconds of
    /// the Unix epoch by the machine's clock.
    pub(crate) async fn first_since(&self, slot: &str, since: &str) -> anyhow::Result<Option<u64>> {
        let from = json!({ "deliver_policy": "by_start_time", "opt_start_time": since });
        let reader = self.reader(slot, from).await?;
        if reader["num_pending"] == 0 {
            return Ok(None);
        }
        let name = reader["name"].as_str().context("a reader has a name")?;
        // A delivery has the subject of the log, so the client's own requests do not know it.
        let inbox = self.client.new_inbox();
        let mut deliveries = self.client.subscribe(inbox.clone()).await?;
        let next = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{name}", FLOW.stream);
        let one = r#"{"batch":1,"no_wait":true}"#.into();
        self.client.publish_with_reply(next, inbox, one).await?;
        let message = timeout(PATIENCE, deliveries.next()).await.context("no delivery came")?;
        let message = message.context("the connection to the server is gone")?;
        let reply = message.reply.context("a delivery names where to acknowledge it")?;
        // …, delivered, stream sequence, consumer sequence, time, pending.
        let time = reply.rsplit('.').nth(1).context("a delivery has its time")?;
        Ok(Some(time.parse()?))
    }

    /// Ids of the orders whose messages were set aside, or are dead letters.
    pub(crate) async fn parked(&self) -> anyhow::Result<Vec<String>> {
        let mut ids = Vec::new();
        for stream in [format!("{}_PARKED", FLOW.stream), DEAD.to_owned()] {
            let all = json!({ "subjects_filter": ">" });
            let info = self.api(&format!("STREAM.INFO.{stream}"), all).await?;
            let subjects = info["state"]["subjects"].as_object();
            let id = |subject: &String| subject.rsplit('.').next().map(str::to_owned);
            ids.extend(subjects.into_iter().flat_map(|found| found.keys()).filter_map(id));
        }
        Ok(ids)
    }

    pub(crate) async fn keep_dead_letters(&self) -> anyhow::Result<()> {
        let subjects = format!("{}.>", plain::DEAD_LETTERS);
        let stream = json!({ "name": DEAD, "subjects": [subjects], "storage": "file" });
        self.api(&format!("STREAM.CREATE.{DEAD}"), stream).await?;
        Ok(())
    }

    async fn reader(&self, slot: &str, from: Value) -> anyhow::Result<Value> {
        let mut config = json!({
            "filter_subject": FLOW.filter(slot),
            "ack_policy": "none",
            "inactive_threshold": 5_000_000_000_u64,
            "mem_storage": true,
        });
        if let (Some(config), Some(from)) = (config.as_object_mut(), from.as_object()) {
            config.extend(from.clone());
        }
        let body = json!({ "stream_name": FLOW.stream, "config": config });
        self.api(&format!("CONSUMER.CREATE.{}", FLOW.stream), body).await
    }

    async fn api(&self, verb: &str, body: Value) -> anyhow::Result<Value> {
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let answer = self.client.request(format!("$JS.API.{verb}"), body).await;
        let answer = answer.with_context(|| format!("the server does not answer {verb}"))?;
        let answer: Value = serde_json::from_slice(&answer.payload)?;
        match answer.get("error") {
            None => Ok(answer),
            Some(error) => bail!("{verb}: {error}"),
        }
    }
}
