//! Places orders and sees them closed, the same for every side: one connection, one clock.
//!
//! In the paced runs an order's time begins when it was due, not when it was sent, because a driver
//! or a server that stalls must not make the orders behind it look fast.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, Subscriber};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use schemas::order_fulfilment::FLOW;
use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, timeout};

use super::{connect, guard};
use crate::samples;

/// Longer than the step's deadline and the delay of a redelivery together.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time for the pacing thread and all connections to be up before the first order is due.
const LEAD: Duration = Duration::from_millis(20);

pub(crate) struct Driver {
    client: Client,
    jetstream: Context,
    order: Bytes,
}

/// Bytes and messages that an order leaves in the log.
pub(crate) struct Size {
    pub(crate) bytes: f64,
    pub(crate) messages: f64,
}

impl Driver {
    pub(crate) async fn connect(url: &str) -> anyhow::Result<Self> {
        let client = connect(url, "bench").await?;
        let jetstream = jetstream::new(client.clone());
        Ok(Self { client, jetstream, order: samples::order()?.into() })
    }

    /// Places `count` orders, at most `in_flight` of them not yet acknowledged, and returns the
    /// time from the first one placed to the last one closed. Tells `seen` how many are closed, and
    /// after what time.
    pub(crate) async fn rush(
        &self,
        name: &str,
        count: usize,
        in_flight: usize,
        mut seen: impl FnMut(usize, Duration),
    ) -> anyhow::Result<Duration> {
        let mut closed = self.closed().await?;
        let began = Instant::now();
        let placing = stream::iter(0..count)
            .map(|number| self.place(format!("{name}{number:07}")))
            .buffer_unordered(in_flight)
            .try_collect::<()>();
        let closing = async {
            for number in 0..count {
                next(&mut closed, count - number).await?;
                seen(number + 1, began.elapsed());
            }
            anyhow::Ok(())
        };
        tokio::try_join!(placing, closing)?;
        Ok(began.elapsed())
    }

    /// Places `count` orders, `rate` a second without waiting for any, and returns the time of
    /// each from when it was due to when it was closed.
    pub(crate) async fn paced(
        &self,
        name: &str,
        rate: u32,
        count: usize,
    ) -> anyhow::Result<Vec<Duration>> {
        let mut closed = self.closed().await?;
        let first = Instant::now() + LEAD;
        let due = move |number: usize| first + Duration::from_secs(1) * number as u32 / rate;
        let (ticks, mut ticking) = mpsc::unbounded_channel();
        // Tokio's timer has steps of 1 ms, which is as long as the times measured here.
        let pacer = spawn_blocking(move || {
            for number in 0..count {
                std::thread::sleep(due(number).duration_since(Instant::now()));
                if ticks.send(number).is_err() {
                    break;
                }
            }
        });
        let mut placing = JoinSet::new();
        let mut times = Vec::with_capacity(count);
        while times.len() < count {
            tokio::select! {
                biased;
                message = next(&mut closed, count - times.len()) => {
                    let now = Instant::now();
                    times.push(now.duration_since(due(number_of(&message?)?)));
                }
                Some(number) = ticking.recv() => {
                    placing.spawn(place(
                        self.jetstream.clone(),
                        format!("{name}{number:07}"),
                        self.order.clone(),
                    ));
                }
                Some(placed) = placing.join_next() => placed??,
            }
        }
        pacer.await?;
        Ok(times)
    }

    /// What the log holds for each of `orders`.
    pub(crate) async fn size(&self, orders: usize) -> anyhow::Result<Size> {
        let stream = self.jetstream.get_stream(FLOW.stream).await?;
        let state = &stream.cached_info().state;
        Ok(Size {
            bytes: state.bytes as f64 / orders as f64,
            messages: state.messages as f64 / orders as f64,
        })
    }

    async fn place(&self, id: String) -> anyhow::Result<()> {
        place(self.jetstream.clone(), id, self.order.clone()).await
    }

    async fn closed(&self) -> anyhow::Result<Subscriber> {
        let closed = self.client.subscribe(FLOW.filter(FLOW.closing().slot)).await?;
        self.client.flush().await?;
        Ok(closed)
    }
}

pub(crate) async fn place(jetstream: Context, id: String, order: Bytes) -> anyhow::Result<()> {
    let subject = format!("{}.{}.{id}", FLOW.subjects, FLOW.opens.slot);
    // Bare JSON without a content type, as a stock client sends it.
    jetstream.publish_with_headers(subject, guard(), order).await?.await?;
    Ok(())
}

/// The next order to close; `missing` are still open.
async fn next(closed: &mut Subscriber, missing: usize) -> anyhow::Result<async_nats::Message> {
    let message = timeout(PATIENCE, closed.next()).await.with_context(|| {
        format!("{missing} orders are still open, and none was closed for {PATIENCE:?}")
    })?;
    let message = message.context("the connection to the server is gone")?;
    let completed = FLOW.closing().done.as_bytes();
    ensure!(
        message.payload.windows(completed.len()).any(|text| text == completed),
        "{} was not completed: {:?}",
        message.subject,
        message.payload
    );
    Ok(message)
}

fn number_of(closed: &async_nats::Message) -> anyhow::Result<usize> {
    match closed.subject.rsplit('-').next().map(str::parse) {
        Some(Ok(number)) => Ok(number),
        _ => bail!("{} is not one of the orders placed", closed.subject),
    }
}
