//! Design `none` of the breaker's bench: the consumer that people write today.
//!
//! It calls the gateway for whatever it is given. What fails goes back with a delay that grows, and
//! after the fifth delivery into a stream of dead letters. Nothing tells it that the gateway is
//! down.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::{self, AckKind, Context, Message};
use bytes::Bytes;
use clap::{CommandFactory, FromArgMatches, Parser};
use futures::StreamExt;
use quadrille::http::{Body, Client};
use schemas::order_fulfilment::FLOW;
use serde_json::Value;
use tokio::time::Instant;

use super::{connect, guard};
use crate::samples;

/// Where dead letters go: `dead.<id>`.
pub(crate) const DEAD_LETTERS: &str = "dead";
/// The delivery after which a message is given up.
const DELIVERIES: i64 = 5;
/// As long as the real worker waits for one answer.
const TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Parser)]
struct Arguments {
    url: String,
    /// The base URL of the payment gateway
    gateway: String,
    /// Messages in hand at once
    in_flight: usize,
    /// File that the process writes once it takes work
    ready: PathBuf,
}

/// `main` of the process that plays `worker`.
pub(crate) fn main(worker: &str) -> ExitCode {
    let matches = Arguments::command().name("plain").get_matches();
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().map_err(anyhow::Error::from);
    match runtime.and_then(|runtime| runtime.block_on(serve(worker, &arguments))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{worker}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(worker: &str, arguments: &Arguments) -> anyhow::Result<()> {
    let row = FLOW.row(worker).with_context(|| format!("{worker} has no row"))?;
    let client = connect(&arguments.url, row.worker).await?;
    let jetstream = jetstream::new(client);
    let consumer: PullConsumer =
        jetstream.get_consumer_from_stream(row.worker, FLOW.stream).await?;
    let gateway = Client::new(&arguments.gateway, None, TIMEOUT)?;
    let outcome = Bytes::from(samples::event(row.worker, row.slot)?);
    let messages = consumer.stream().max_messages_per_batch(arguments.in_flight).messages().await?;
    std::fs::write(&arguments.ready, "")?;
    let (jetstream, gateway, outcome) = (&jetstream, &gateway, &outcome);
    messages
        .for_each_concurrent(arguments.in_flight, |message| async move {
            // After a lost connection the stream says so, and goes on.
            let Ok(message) = message else { return };
            if let Err(error) = handle(jetstream, gateway, row.slot, outcome, &message).await {
                println!("{}: {error:#}", message.subject);
            }
        })
        .await;
    Ok(())
}

async fn handle(
    jetstream: &Context,
    gateway: &Client,
    slot: &str,
    outcome: &Bytes,
    message: &Message,
) -> anyhow::Result<()> {
    let id = message.subject.rsplit('.').next().unwrap_or_default();
    let charged = charge(gateway, id, &message.payload).await;
    let delivered = message.info().map_err(anyhow::Error::from_boxed)?.delivered;
    let settle = match charged {
        Ok(()) => {
            let subject = format!("{}.{slot}.{id}", FLOW.subjects);
            jetstream.publish_with_headers(subject, guard(), outcome.clone()).await?.await?;
            AckKind::Ack
        }
        Err(error) => {
            println!("{id}: {error:#}, {}", crate::breaker::TRYING_AGAIN);
            if delivered >= DELIVERIES {
                let subject = format!("{DEAD_LETTERS}.{id}");
                jetstream.publish(subject, message.payload.clone()).await?.await?;
                AckKind::Term
            } else {
                AckKind::Nak(Some(Duration::from_secs(1 << (delivered - 1))))
            }
        }
    };
    message.ack_with(settle).await.map_err(anyhow::Error::from_boxed)
}

/// The two requests of the real step, with keys that stay the same for an order.
async fn charge(gateway: &Client, id: &str, event: &[u8]) -> anyhow::Result<()> {
    let event: Value = serde_json::from_slice(event)?;
    let data = &event["data"];
    let deadline = Instant::now() + 2 * TIMEOUT;
    let amount = data["total"]["amount"].to_string();
    let currency = data["total"]["currency"].as_str().unwrap_or_default().to_ascii_lowercase();
    let fields = [
        ("amount", &*amount),
        ("currency", &*currency),
        ("payment_method", data["payment_method"].as_str().unwrap_or_default()),
        ("metadata[order]", id),
    ];
    let (body, key) = (Body::Form(&fields), format!("create-{id}"));
    let opened = gateway.post("/v1/payment_intents", &body, &key, deadline).await?;
    ensure!(opened.status == 200, "the gateway answers {}", opened.status);
    let intent = opened.json::<Value>()?;
    let intent = intent["id"].as_str().context("an intent has an id")?;
    let path = format!("/v1/payment_intents/{intent}/confirm");
    let confirmed = gateway.post(&path, &Body::Nothing, &format!("confirm-{id}"), deadline).await?;
    ensure!(confirmed.status == 200, "the gateway answers {}", confirmed.status);
    Ok(())
}
