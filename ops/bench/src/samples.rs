//! The golden samples as the payloads of every side, so that all of them move the same bytes.

use anyhow::Context;
use schemas::order_fulfilment::FLOW;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The slots of an order that completes, in the order in which they are written, and what they hold.
const SAMPLES: [(&str, &str); 6] = [
    ("placed", include_str!("../../../schemas/samples/order_fulfilment/placed.v1.json")),
    (
        "inventory",
        include_str!("../../../schemas/samples/order_fulfilment/inventory.reserved.v1.json"),
    ),
    ("payment", include_str!("../../../schemas/samples/order_fulfilment/payment.charged.v1.json")),
    ("pivot", include_str!("../../../schemas/samples/order_fulfilment/go.v1.json")),
    (
        "shipment",
        include_str!("../../../schemas/samples/order_fulfilment/shipment.dispatched.v1.json"),
    ),
    ("closed", include_str!("../../../schemas/samples/order_fulfilment/completed.v1.json")),
];

fn value(slot: &str) -> anyhow::Result<Value> {
    let (_, text) =
        SAMPLES.iter().find(|(name, _)| *name == slot).with_context(|| format!("no {slot}"))?;
    Ok(serde_json::from_str(text)?)
}

/// What goes into `slot`, without white space: the order as it is placed, an event in its envelope.
pub(crate) fn payload(slot: &str) -> anyhow::Result<Vec<u8>> {
    Ok(serde_json::to_vec(&value(slot)?)?)
}

/// The data of the event in `slot`.
pub(crate) fn data<T: DeserializeOwned>(slot: &str) -> anyhow::Result<T> {
    let mut envelope = value(slot)?;
    Ok(serde_json::from_value(envelope["data"].take())?)
}

/// The SKUs of the order as it is placed.
pub(crate) fn skus() -> anyhow::Result<Vec<String>> {
    let order = value(FLOW.opens.slot)?;
    let lines = order["lines"].as_array().context("the sample order has lines")?;
    Ok(lines.iter().filter_map(|line| Some(line["sku"].as_str()?.to_owned())).collect())
}
