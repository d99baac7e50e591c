//! The baseline: the same protocol by hand, in plain async-nats, as an engineer would write it who
//! needs nothing but speed.
//!
//! It awaits each guarded publish, then acknowledges the message that caused it; no decoding, no
//! checks, no retries. With `--reads` it decodes that message and encodes its own event, which no
//! real worker can do without. Only this file and its folder name the NATS client.

pub(crate) mod counts;
pub(crate) mod driver;
pub(crate) mod plain;
mod reading;
pub(crate) mod stock;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::{self, Context, Message};
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use clap::{CommandFactory, FromArgMatches, Parser};
use futures::TryStreamExt;
use quadrille::flow::Row;
use schemas::order_fulfilment::FLOW;

use crate::samples;
use reading::Reading;

#[derive(Parser)]
struct Arguments {
    url: String,
    /// Messages in hand at once
    in_flight: usize,
    /// Threads of the process
    threads: usize,
    /// File that the process writes once it takes work
    ready: PathBuf,
    /// Reads each event, and writes its own anew
    #[arg(long)]
    reads: bool,
}

/// `main` of the process that plays `worker`.
pub(crate) fn main(worker: &str) -> ExitCode {
    let matches = Arguments::command().name("raw").get_matches();
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match run(worker, &arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{worker}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(worker: &str, arguments: &Arguments) -> anyhow::Result<()> {
    let row = FLOW.row(worker).with_context(|| format!("{worker} has no row"))?;
    let mut builder = match arguments.threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.worker_threads(arguments.threads).enable_all().build()?.block_on(serve(row, arguments))
}

async fn serve(row: &'static Row, arguments: &Arguments) -> anyhow::Result<()> {
    let client = connect(&arguments.url, row.worker).await?;
    let jetstream = jetstream::new(client);
    let consumer: PullConsumer =
        jetstream.get_consumer_from_stream(row.worker, FLOW.stream).await?;
    let messages = consumer.stream().max_messages_per_batch(arguments.in_flight).messages().await?;
    let slots = row.pivot.map(|pivot| pivot.slot).into_iter().chain([row.slot]);
    let mut headers = guard();
    headers.insert("Content-Type", "application/cloudevents+json");
    let writes = slots
        .map(|slot| Ok((slot, Bytes::from(samples::event(row.worker, slot)?))))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let reading = arguments.reads.then(|| Reading::of(row)).transpose()?;
    std::fs::write(&arguments.ready, "")?;
    let (jetstream, headers, writes, reading) = (&jetstream, &headers, &writes, &reading);
    messages
        .map_err(anyhow::Error::from)
        .try_for_each_concurrent(arguments.in_flight, |message| async move {
            let outcome = reading.as_ref().map(|reading| reading.outcome(&message)).transpose()?;
            handle(jetstream, headers, writes, outcome, &message).await
        })
        .await
}

async fn handle(
    jetstream: &Context,
    headers: &HeaderMap,
    writes: &[(&str, Bytes)],
    outcome: Option<Bytes>,
    message: &Message,
) -> anyhow::Result<()> {
    let id = message.subject.rsplit('.').next().unwrap_or_default();
    let last = writes.len().saturating_sub(1);
    for (at, (slot, sample)) in writes.iter().enumerate() {
        let payload = outcome.as_ref().filter(|_| at == last).unwrap_or(sample);
        let subject = format!("{}.{slot}.{id}", FLOW.subjects);
        let sent = jetstream.publish_with_headers(subject, headers.clone(), payload.clone());
        sent.await?.await?;
    }
    message.ack().await.map_err(anyhow::Error::from_boxed)
}

async fn connect(url: &str, name: &str) -> anyhow::Result<Client> {
    let options = async_nats::ConnectOptions::new().name(name);
    options.connect(url).await.with_context(|| format!("cannot connect to {url}"))
}

/// Nothing may be stored under the subject yet.
fn guard() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Expected-Last-Subject-Sequence", "0");
    headers
}
