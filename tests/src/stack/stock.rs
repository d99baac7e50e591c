//! Sets and shows the stock as an operator does: through the service of `reserve-inventory`.

use std::collections::BTreeMap;

use quadrille::SagaId;
use quadrille::broker::Broker;
use schemas::order_fulfilment::FLOW;
use schemas::stock;
use serde_json::{Value, json};

use super::{SKUS, SPARSE_SKU, Stack};
use crate::eventually::eventually;

/// More than any test orders.
const PLENTY: u64 = 1_000_000;

impl Stack {
    /// Plenty of what [`order`](super::order) wants, and nothing of [`SPARSE_SKU`].
    pub async fn fill_stock(&self) {
        let plenty = SKUS.iter().map(|sku| (*sku, PLENTY));
        self.set_stock(&plenty.chain([(SPARSE_SKU, 0)]).collect::<Vec<_>>()).await;
    }

    /// Sets the pieces stocked, as soon as a worker serves the request.
    pub async fn set_stock(&self, pieces: &[(&str, u64)]) {
        let items: Vec<_> =
            pieces.iter().map(|(sku, stocked)| json!({ "sku": sku, "stocked": stocked })).collect();
        self.ask_stock("set", &json!({ "items": items })).await;
    }

    /// The stock of every SKU.
    pub async fn levels(&self) -> Vec<stock::Shown> {
        let levels = self.ask_stock("show", &json!({})).await;
        serde_json::from_value(levels).expect("a list of levels")
    }

    /// Waits until the inventory worker has read the log to its end: what completed orders held is
    /// off the shelf, and the stock rests.
    pub async fn shelf_is_clear(&self) {
        eventually("what is completed leaves the shelf", async || {
            let end = self.raw.stream(FLOW.stream).await["state"]["last_seq"].as_u64()?;
            let noted = self.broker.last(stock::STREAM, stock::SHELF).await.ok()??;
            let noted: Value = serde_json::from_slice(&noted.payload).ok()?;
            (noted["sequence"] == end).then_some(())
        })
        .await;
    }

    /// Pieces free of every SKU.
    pub async fn free_stock(&self) -> BTreeMap<String, u64> {
        let levels = self.ask_stock("show", &json!({})).await;
        let free = |level: &Value| {
            let sku = level["sku"].as_str().expect("a SKU").to_owned();
            (sku, level["free"].as_u64().expect("pieces"))
        };
        levels.as_array().expect("a list of levels").iter().map(free).collect()
    }

    /// What the stock has recorded for an order: `{"pieces": […], "released": false}`.
    pub async fn hold(&self, order: &SagaId) -> Option<Value> {
        let subject = stock::hold_subject(order);
        eventually("the server answers", async || {
            let stored = self.broker.last(stock::STREAM, &subject).await.ok()?;
            Some(stored.map(|stored| serde_json::from_slice(&stored.payload).expect("a hold")))
        })
        .await
    }

    async fn ask_stock(&self, endpoint: &str, body: &Value) -> Value {
        let subject = format!("inventory.stock.{endpoint}");
        let answer = eventually("a worker serves the stock", async || {
            let body = body.to_string().into();
            match self.broker.request(&subject, body).await {
                Ok(Err(refused)) if refused.code < 500 => panic!("{subject}: {}", refused.message),
                Ok(answer) => answer.ok(),
                Err(_) => None,
            }
        })
        .await;
        serde_json::from_slice(&answer).expect("JSON")
    }
}
