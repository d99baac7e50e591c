//! Events as they stand in the log: whatever changes, these are read for ever.
//!
//! A sample that no longer passes is not to be edited: the type needs a new version.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use quadrille_vocabulary::ids::event_id;
use quadrille_vocabulary::{Contract, Event, SagaId};
use schemas::CONTRACTS;
use schemas::order_fulfilment::FLOW;
use schemas::order_fulfilment::events::{OrderPlaced, PaymentUndone, ShipmentDispatched};
use serde_json::Value;

/// The text of one sample, as it is committed.
fn sample(contract: &Contract, event_type: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
    let path = folder.join(contract.file(event_type));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The structured samples of the order flow by type, and the data of all of them.
fn structured() -> BTreeMap<&'static str, Value> {
    let kinds =
        CONTRACTS[0].kinds().into_iter().filter(|kind| kind.event_type() != FLOW.opens.event);
    kinds
        .map(|kind| {
            let text = sample(&CONTRACTS[0], kind.event_type());
            (kind.event_type(), serde_json::from_str(&text).unwrap())
        })
        .collect()
}

#[test]
fn every_type_of_a_table_is_an_event_with_a_sample_and_the_other_way_round() {
    for contract in CONTRACTS {
        let table: BTreeSet<_> = contract.flow.events().iter().map(|(_, event)| *event).collect();
        let kinds: BTreeSet<_> =
            contract.kinds().into_iter().map(|kind| kind.event_type()).collect();
        assert_eq!(table, kinds);
        assert_eq!(kinds.len(), contract.kinds().len(), "a type is listed once");

        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples").join(contract.name);
        let names = fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name());
        let names: BTreeSet<_> = names.map(|name| name.into_string().unwrap()).collect();
        let expected = kinds.iter().map(|event| contract.file(event));
        let expected: BTreeSet<_> =
            expected.map(|path| path.split_once('/').unwrap().1.to_owned()).collect();
        assert_eq!(names, expected);
    }
}

#[test]
fn every_sample_is_read_as_its_type_and_written_again_as_it_was() {
    for contract in CONTRACTS {
        for kind in contract.kinds() {
            let text = sample(contract, kind.event_type());
            let mut data: Value = serde_json::from_str(&text).unwrap();
            if kind.event_type() != contract.flow.opens.event {
                data = data["data"].take();
            }
            let read = kind.read(&data.to_string());
            let read = read.unwrap_or_else(|bad| panic!("{}: {bad}", kind.event_type()));
            let written: Value = serde_json::from_str(read.get()).unwrap();
            assert_eq!(written, data, "{}", kind.event_type());
        }
    }
}

#[test]
fn every_structured_sample_is_a_cloudevent_of_order_a123() {
    for (event_type, event) in structured() {
        assert_eq!(event["specversion"], "1.0", "{event_type}");
        assert_eq!(event["type"], event_type);
        assert_eq!(event["subject"], "A123", "{event_type}");
        assert_eq!(event["datacontenttype"], "application/json", "{event_type}");
        assert!(event["time"].as_str().unwrap().ends_with('Z'), "{event_type}");
        let is_a_clients = event["source"] == "client";
        assert!(is_a_clients || event["causationseq"].as_u64().unwrap() > 0, "{event_type}");
        let trace: Vec<_> = event["traceparent"].as_str().unwrap().split('-').collect();
        assert_eq!(trace.iter().map(|part| part.len()).collect::<Vec<_>>(), [2, 32, 16, 2]);
    }
}

#[test]
fn the_id_of_every_sample_and_of_its_cause_is_derived_not_drawn() {
    let saga = SagaId::parse("A123").unwrap();
    let placed = event_id(FLOW.saga, &saga, "placed", FLOW.opens.event, "client");
    let (mut ids, mut wrong) = (BTreeSet::from([placed.to_string()]), Vec::new());
    let samples = structured();
    for (slot, event_type) in FLOW.events().into_iter().skip(1) {
        let event = &samples[event_type];
        let source = event["source"].as_str().unwrap();
        let id = event_id(FLOW.saga, &saga, slot, event_type, source);
        if event["id"] != id.to_string() {
            wrong.push(format!("{event_type}: \"id\": \"{id}\""));
        }
        ids.insert(id.to_string());
    }
    // All at once, as they are pasted into the samples of a new step.
    assert!(wrong.is_empty(), "samples must have these ids:\n{}", wrong.join("\n"));
    for (event_type, event) in samples {
        if event["source"] == "client" {
            continue;
        }
        assert!(ids.contains(event["causationid"].as_str().unwrap()), "{event_type}");
    }
}

#[test]
fn every_sample_is_written_by_somebody_who_may() {
    let samples = structured();
    for (slot, event_type) in FLOW.events().into_iter().skip(1) {
        let source = samples[event_type]["source"].as_str().unwrap();
        let cancels = FLOW.cancels().unwrap();
        if slot == cancels.asked.slot {
            assert_eq!(source, "client");
            continue;
        }
        let row = FLOW.row(source).unwrap_or_else(|| panic!("{event_type}: {source} has no row"));
        let undo = row.undo.map(|undo| undo.slot);
        let pivot = row.pivot.map(|pivot| pivot.slot);
        let own = [Some(row.slot), undo, pivot, Some(FLOW.turns.slot)].contains(&Some(slot));
        let closings = ["order.stop.v1", cancels.refused.event];
        let on_its_behalf = source == FLOW.closing().worker && closings.contains(&event_type);
        assert!(own || on_its_behalf, "{event_type} is not {source}'s to write");
    }
}

#[test]
fn the_sample_order_fits_any_id() {
    let text = sample(&CONTRACTS[0], "order.placed.v1");
    let order = OrderPlaced::from_data("order.placed.v1", &text).unwrap();
    assert_eq!(order.named_saga(), None);
    assert_eq!(order.total().unwrap().to_string(), "4990 EUR (minor units)");
    assert_eq!(order.pieces(), 13);
    let skus: Vec<_> = order.lines.iter().map(|line| line.sku.as_str()).collect();
    assert_eq!(skus, ["ROSE-RED", "VASE-GLASS"], "what a development stack has in stock");
}

#[test]
fn only_a_shipment_without_a_quote_says_that_it_is_degraded() {
    let event_type = "shipment.dispatched.v1";
    let data = structured()[event_type]["data"].clone();
    let read = |data: &Value| ShipmentDispatched::from_data(event_type, &data.to_string()).unwrap();
    let quoted = read(&data);
    assert!(!quoted.degraded);
    assert!(!quoted.to_data().get().contains("degraded"));
    let degraded = ShipmentDispatched { degraded: true, ..quoted.clone() };
    let written: Value = serde_json::from_str(degraded.to_data().get()).unwrap();
    assert_eq!(written["degraded"], true);
    assert_eq!(read(&written), degraded);
}

#[test]
fn a_slot_of_either_of_two_events_reads_both_by_type() {
    let samples = structured();
    for event_type in PaymentUndone::TYPES {
        let data = samples[event_type]["data"].to_string();
        let undone = PaymentUndone::from_data(event_type, &data).unwrap();
        assert_eq!(undone.event_type(), *event_type);
        let again: Value = serde_json::from_str(undone.to_data().get()).unwrap();
        assert_eq!(again, samples[event_type]["data"]);
    }
    let other = PaymentUndone::from_data("inventory.released.v1", "{}").unwrap_err();
    assert_eq!((other.reason.code(), other.pointer.as_str()), ("unknown-type", "/type"));
}
