//! JetStream without Quadrille: what other clients can do to our streams, and what the server says
//! about it.

use anyhow::{Context as _, bail};
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::{Client, HeaderMap, RequestError, RequestErrorKind, Subscriber};
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::unconstrained;

use crate::eventually::eventually;

/// A stock client; its answers are the server's JSON.
#[derive(Debug, Clone)]
pub struct Raw {
    pub client: Client,
}

/// The result of a publish: a sequence, or the server's error code and words.
pub type Answer = Result<u64, (u64, String)>;

fn is_untaken(error: &anyhow::Error) -> bool {
    let request = error.downcast_ref::<RequestError>();
    request.is_some_and(|error| error.kind() == RequestErrorKind::NoResponders)
}

impl Raw {
    pub async fn connect(urls: &[String]) -> Self {
        let addresses: Vec<async_nats::ServerAddr> =
            urls.iter().map(|url| url.parse().expect("a server's URL")).collect();
        let options = async_nats::ConnectOptions::new()
            .reconnect_delay_callback(|_| std::time::Duration::from_millis(50));
        Self { client: options.connect(addresses).await.expect("the server runs") }
    }

    /// The same, with a login.
    pub async fn log_in(url: &str, user: &str, password: &str) -> Self {
        let login = (user.to_owned(), password.to_owned());
        let options = async_nats::ConnectOptions::with_user_and_password(login.0, login.1);
        Self { client: options.connect(url).await.expect("the server runs") }
    }

    /// A request to the JetStream API.
    ///
    /// # Errors
    /// When there is no answer, or the answer is an error (its code is in the text).
    pub async fn api(&self, verb: &str, body: Value) -> anyhow::Result<Value> {
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let answer = self.client.request(format!("$JS.API.{verb}"), body).await?;
        let answer: Value = serde_json::from_slice(&answer.payload)?;
        match answer.get("error") {
            None => Ok(answer),
            Some(error) => bail!("{verb}: {error}"),
        }
    }

    /// Publishes with these headers and waits for the acknowledgement. Tries again while no server
    /// takes the subject, because a cluster may be between two leaders.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn publish(&self, subject: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        eventually(&format!("{subject} is taken"), async || {
            match self.try_publish(subject, headers, body).await {
                Ok(answer) => Some(answer),
                Err(error) if is_untaken(&error) => None,
                Err(error) => panic!("{subject}: {error}"),
            }
        })
        .await
    }

    /// # Errors
    /// When there is no answer, or none that can be read.
    pub async fn try_publish(
        &self,
        subject: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> anyhow::Result<Answer> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, *value);
        }
        let request =
            self.client.request_with_headers(subject.to_owned(), map, body.to_owned().into());
        let answer: Value = serde_json::from_slice(&request.await?.payload)?;
        match answer.get("error") {
            None => Ok(Ok(answer["seq"].as_u64().context("a sequence")?)),
            Some(error) => Ok(Err((
                error["err_code"].as_u64().unwrap_or(0),
                error["description"].as_str().unwrap_or_default().to_owned(),
            ))),
        }
    }

    /// Sends one message of an atomic batch; the answer comes to the last one only.
    pub async fn open_batch(&self, subject: &str, id: &str, at: usize) {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Batch-Id", id);
        headers.insert("Nats-Batch-Sequence", at.to_string());
        let sent = self.client.publish_with_headers(subject.to_owned(), headers, "{}".into());
        sent.await.expect("the connection is up");
    }

    /// A request that changes nothing, and so may be asked again while there is no answer: a
    /// cluster may be between two leaders.
    async fn look(&self, verb: &str) -> Value {
        eventually(&format!("{verb} is answered"), async || {
            match self.api(verb, Value::Null).await {
                Ok(answer) => Some(answer),
                Err(error) if error.is::<RequestError>() => None,
                Err(error) => panic!("{error}"),
            }
        })
        .await
    }

    /// The stream's settings and state.
    pub async fn stream(&self, name: &str) -> Value {
        self.look(&format!("STREAM.INFO.{name}")).await
    }

    /// Number of messages in a stream.
    pub async fn messages(&self, name: &str) -> u64 {
        self.stream(name).await["state"]["messages"].as_u64().expect("a number")
    }

    /// The durable's settings and state.
    pub async fn durable(&self, stream: &str, name: &str) -> Value {
        self.look(&format!("CONSUMER.INFO.{stream}.{name}")).await
    }

    /// Changes settings of a live stream, as an operator would.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn change_stream(&self, name: &str, changes: Value) -> anyhow::Result<Value> {
        let mut config = self.stream(name).await["config"].clone();
        for (key, value) in changes.as_object().expect("an object of settings") {
            config[key] = value.clone();
        }
        self.api(&format!("STREAM.UPDATE.{name}"), config).await
    }

    /// Changes settings of a live durable, as an operator would.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn change_durable(
        &self,
        stream: &str,
        name: &str,
        changes: Value,
    ) -> anyhow::Result<Value> {
        let mut config = self.durable(stream, name).await["config"].clone();
        for (key, value) in changes.as_object().expect("an object of settings") {
            config[key] = value.clone();
        }
        let body = json!({ "stream_name": stream, "config": config, "action": "update" });
        self.api(&format!("CONSUMER.CREATE.{stream}.{name}"), body).await
    }

    /// Makes the stream's leader step down; nothing happens on a single server.
    pub async fn step_down(&self, stream: &str) {
        let _ = self.api(&format!("STREAM.LEADER.STEPDOWN.{stream}"), Value::Null).await;
    }

    /// Makes the durable's leader step down; nothing happens on a single server.
    pub async fn durable_step_down(&self, stream: &str, name: &str) {
        let _ = self.api(&format!("CONSUMER.LEADER.STEPDOWN.{stream}.{name}"), Value::Null).await;
    }
}

impl Raw {
    /// Hears all that is published on these subjects from now on, such as acknowledgements.
    pub async fn hear(&self, subject: &str) -> Heard {
        let messages = self.client.subscribe(subject.to_owned()).await.expect("a subject");
        let mut heard = Heard { raw: self.clone(), messages };
        heard.more().await;
        heard
    }

    /// Takes and acknowledges what a durable has to deliver now, as an operator who gives it up.
    ///
    /// # Errors
    /// When the server does not deliver.
    pub async fn acknowledge_all(&self, stream: &str, durable: &str) -> anyhow::Result<()> {
        let context = async_nats::jetstream::new(self.client.clone());
        let consumer: PullConsumer = context.get_consumer_from_stream(durable, stream).await?;
        let mut messages = consumer.fetch().max_messages(100).messages().await?;
        while let Some(message) = messages.next().await {
            message
                .map_err(anyhow::Error::from_boxed)?
                .ack()
                .await
                .map_err(anyhow::Error::from_boxed)?;
        }
        Ok(())
    }

    /// Pauses a durable until then, as an operator does with any tool; at once runs it, if that is
    /// over.
    pub async fn pause(&self, stream: &str, durable: &str, until: Timestamp) {
        let verb = format!("CONSUMER.PAUSE.{stream}.{durable}");
        let body = json!({ "pause_until": until });
        self.api(&verb, body).await.expect("the server takes a pause");
    }
}

/// What was published on some subjects.
#[derive(Debug)]
pub struct Heard {
    raw: Raw,
    messages: Subscriber,
}

impl Heard {
    /// Subjects and bodies since the last time that this was asked.
    pub async fn more(&mut self) -> Vec<(String, Bytes)> {
        // A server sends in order: what was published before it answers has arrived by then.
        self.raw.api("INFO", Value::Null).await.expect("the server answers");
        // However many they are: a task may otherwise read no more than 128 at a time.
        let next = || unconstrained(self.messages.next()).now_or_never().flatten();
        let arrived = std::iter::from_fn(next);
        arrived.map(|message| (message.subject.to_string(), message.payload)).collect()
    }
}

/// Stores a message with header bytes that no client library would send, and that the server
/// accepts as they are. `header` is everything from `NATS/1.0` to the empty line.
///
/// # Panics
/// When the server closes the connection.
pub async fn publish_bytes(url: &str, subject: &str, header: &[u8], body: &str) {
    let address = url.strip_prefix("nats://").expect("a server's URL");
    let mut stream = TcpStream::connect(address).await.expect("the server runs");
    let total = header.len() + body.len();
    let mut bytes = b"CONNECT {\"headers\":true,\"verbose\":false}\r\n".to_vec();
    bytes.extend(format!("HPUB {subject} {} {total}\r\n", header.len()).into_bytes());
    bytes.extend([header, body.as_bytes(), b"\r\nPING\r\n"].concat());
    stream.write_all(&bytes).await.expect("the connection is up");
    let mut answer = Vec::new();
    while !answer.ends_with(b"PONG\r\n") {
        let read = stream.read_buf(&mut answer).await.expect("the connection is up");
        assert!(read > 0, "closed: {}", String::from_utf8_lossy(&answer));
    }
}
