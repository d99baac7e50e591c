//! What is in stock, as the worker says that keeps it: it is no part of the log, so no rows have
//! it.

use quadrille::service::problem::Problem;
use schemas::Sku;
use schemas::stock::{MOST_SKUS, PREFIX, SHOW, Show, Shown};
use serde_json::{Value, json};

use crate::api::{Api, unavailable};
use crate::question::{Question, bad};

pub(crate) async fn show(api: &Api, question: &Question) -> Result<Value, Problem> {
    let skus = question.text("sku").into_iter().flat_map(|text| text.split(','));
    let skus: Result<Vec<Sku>, _> = skus.map(|sku| Sku::parse(sku.trim())).collect();
    let skus = skus.map_err(|error| bad("sku", &format!("is none: {error}"), Some("ROSE-RED")))?;
    if skus.len() > MOST_SKUS {
        return Err(bad("sku", "must be at most 1,000", None));
    }
    let asked = serde_json::to_vec(&Show { skus, ..Show::default() }).unwrap_or_default();
    let answer = api.broker.request(&format!("{PREFIX}.{SHOW}"), asked.into()).await;
    match answer.map_err(|error| unavailable(&format!("the stock's worker: {error}")))? {
        Ok(answer) => {
            let shown: Vec<Shown> = serde_json::from_slice(&answer)
                .map_err(|_| unavailable("the stock's worker gave an answer of another form"))?;
            Ok(json!({ "stock": shown }))
        }
        Err(error) => Err(unavailable(&format!("the stock's worker says: {}", error.message))),
    }
}
