//! The orders of a row: so many a second, whatever happens to those who take them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::row::Row;
use crate::raw::counts::Counts;
use crate::samples;

/// Orders on their way to the server at once.
const PLACING: usize = 256;
/// The name of an order whose card always fails begins so.
pub(crate) const ODD: &str = "odd-";

/// The orders of a row.
pub(super) struct Load {
    row: &'static Row,
    counts: Counts,
    orders: Arc<Orders>,
    stop: watch::Sender<bool>,
}

/// What is placed, and how much of it so far.
struct Orders {
    good: Bytes,
    placed: AtomicUsize,
    odd: AtomicUsize,
}

impl Load {
    pub(super) fn new(row: &'static Row, counts: &Counts) -> anyhow::Result<Self> {
        let good = samples::order()?.into();
        let orders = Orders { good, placed: AtomicUsize::new(0), odd: AtomicUsize::new(0) };
        let stop = watch::Sender::new(false);
        Ok(Self { row, counts: counts.clone(), orders: Arc::new(orders), stop })
    }

    pub(super) fn placed(&self) -> usize {
        self.orders.placed.load(Ordering::Relaxed)
    }

    pub(super) fn odd(&self) -> usize {
        self.orders.odd.load(Ordering::Relaxed)
    }

    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// So many at once.
    pub(super) async fn place(&self, count: usize) -> anyhow::Result<()> {
        let placing = (0..count).map(|number| place(&self.counts, &self.orders, self.row, number));
        stream::iter(placing).buffer_unordered(PLACING).try_collect::<()>().await
    }

    /// So many a second, until it is stopped.
    pub(super) fn start(&self, rate: f64) -> JoinSet<anyhow::Result<()>> {
        let mut placing = JoinSet::new();
        if rate == 0.0 {
            return placing;
        }
        let (row, counts, orders) = (self.row, self.counts.clone(), self.orders.clone());
        let mut stop = self.stop.subscribe();
        placing.spawn(async move {
            let mut ticks = interval(Duration::from_secs_f64(1.0 / rate));
            // Orders do not wait for a server that is away.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let mut under_way = JoinSet::new();
            for number in 0.. {
                tokio::select! {
                    _ = ticks.tick() => {}
                    _ = stop.wait_for(|stop| *stop) => break,
                }
                let (counts, orders) = (counts.clone(), orders.clone());
                under_way.spawn(async move { place(&counts, &orders, row, number).await });
                while let Some(placed) = under_way.try_join_next() {
                    placed??;
                }
            }
            while let Some(placed) = under_way.join_next().await {
                placed??;
            }
            Ok(())
        });
        placing
    }
}

async fn place(counts: &Counts, orders: &Orders, row: &Row, number: usize) -> anyhow::Result<()> {
    match row.card(number) {
        None => counts.place(&format!("{number:07}"), &orders.good).await?,
        Some(card) => {
            let mut order: serde_json::Value = serde_json::from_slice(&orders.good)?;
            order["payment_method"] = card.into();
            let order = serde_json::to_vec(&order)?.into();
            counts.place(&format!("{ODD}{number:07}"), &order).await?;
            orders.odd.fetch_add(1, Ordering::Relaxed);
        }
    }
    orders.placed.fetch_add(1, Ordering::Relaxed);
    Ok(())
}
