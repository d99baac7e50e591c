//! What every side writes: the order and the events of the golden samples, in the envelope that
//! Quadrille gives them, so that all sides move the same bytes.

use anyhow::Context;
use quadrille::log::envelope::{Cause, Occasion, Outgoing, Work};
use quadrille::{KeyNamespace, SagaId};
use schemas::order_fulfilment::FLOW;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::to_raw_value;

/// The slots of an order that completes, in the order in which they are written, and their samples.
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

/// An order as a stock client places it, without white space.
pub(crate) fn order() -> anyhow::Result<Vec<u8>> {
    Ok(serde_json::to_vec(&value(FLOW.opens.slot)?)?)
}

/// The data of the event in `slot`.
pub(crate) fn data<T: DeserializeOwned>(slot: &str) -> anyhow::Result<T> {
    let mut envelope = value(slot)?;
    Ok(serde_json::from_value(envelope["data"].take())?)
}

/// An event as a worker writes it into `slot` when all goes well.
pub(crate) fn event(worker: &str, slot: &str) -> anyhow::Result<Vec<u8>> {
    let row = FLOW.row(worker).with_context(|| format!("{worker} has no row"))?;
    let pivot = row.pivot.filter(|pivot| pivot.slot == slot);
    let (slot, event_type) = pivot.map_or((row.slot, row.done), |pivot| (pivot.slot, pivot.go));
    let data = to_raw_value(&data::<Value>(slot)?)?;
    let time = "2026-03-02T09:00:03.375123456Z".parse()?;
    let occasion = Occasion {
        cause: Some(Cause { id: "a5dc9641-7774-5c20-90b9-2d229632a41e".into(), sequence: 12_345 }),
        traceparent: None,
        time,
        seal: pivot
            .is_none()
            .then(|| KeyNamespace::FIRST.seal(0, "orders.inventory.0000000", 12_345)),
        work: pivot.is_none().then_some(Work { attempt: 1, started: time }),
    };
    let saga = SagaId::parse("0000000")?;
    let event = (event_type, &*data);
    let slot = FLOW.slot(slot, &saga);
    Ok(Outgoing::new(&FLOW, slot, row.worker, event, &occasion).payload.into())
}

/// The SKUs of the order as it is placed.
pub(crate) fn skus() -> anyhow::Result<Vec<String>> {
    let order = value(FLOW.opens.slot)?;
    let lines = order["lines"].as_array().context("the sample order has lines")?;
    Ok(lines.iter().filter_map(|line| Some(line["sku"].as_str()?.to_owned())).collect())
}
