//! A saga as a contract: its flow with the types of its events, and the files made from them.
//!
//! This module only makes text. A repository writes it to disk and compares it in a test, so that
//! the committed JSON Schemas, picture and table are always those of the code.

use crate::event::Kind;
use crate::event::runtime::{CancelRefused, CancelRequested, Cancelled, Go, Signal, Stop};
use crate::flow::Flow;

/// A flow with the types of its events.
#[derive(Debug, Clone, Copy)]
pub struct Contract {
    /// The module of the flow, and the folder of its schemas and samples: `trip`.
    pub name: &'static str,
    pub flow: &'static Flow,
    /// Every type that a client or a step of the flow writes, each once.
    pub events: &'static [Kind],
}

/// A file and its expected content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Within the folder of the contract's package: `json/trip/hotel.booked.v1.json`.
    pub path: String,
    pub content: String,
}

impl Contract {
    /// Every type the flow's table names, each once: the saga's own, then what the runtime writes.
    pub fn kinds(&self) -> Vec<Kind> {
        let pivot = self.flow.steps.iter().find_map(|row| row.pivot);
        let go = pivot.map(|pivot| Kind::of_runtime::<Go>(pivot.go));
        let stop = pivot.map(|pivot| Kind::of_runtime::<Stop>(pivot.stop));
        let cancelled = self.flow.closing().cancelled.map(Kind::of_runtime::<Cancelled>);
        let signal = Kind::of_runtime::<Signal>(self.flow.turns.event);
        let cancels = self.flow.cancels().into_iter().flat_map(|cancels| {
            let asked = Kind::of_runtime::<CancelRequested>(cancels.asked.event);
            [asked, Kind::of_runtime::<CancelRefused>(cancels.refused.event)]
        });
        let of_runtime = go.into_iter().chain(stop).chain(cancelled).chain(cancels).chain([signal]);
        self.events.iter().copied().chain(of_runtime).collect()
    }

    /// The file of one event type, within `json/` and `samples/`: without the saga's name, so that
    /// `trip.requested.v1` of the saga `trip` is `trip/requested.v1.json`.
    pub fn file(&self, event_type: &str) -> String {
        let own = event_type.strip_prefix(self.flow.saga).and_then(|rest| rest.strip_prefix('.'));
        format!("{}/{}.json", self.name, own.unwrap_or(event_type))
    }

    /// One JSON Schema for each event type.
    pub fn schemas(&self) -> Vec<File> {
        let file = |kind: Kind| {
            let schema = serde_json::to_string_pretty(&kind.schema()).expect("a schema is JSON");
            let path = format!("json/{}", self.file(kind.event_type()));
            File { path, content: schema + "\n" }
        };
        self.kinds().into_iter().map(file).collect()
    }
}

/// `text` with `block` between the lines `<!-- NAME: generated -->` and `<!-- end -->`. If `text`
/// has no such lines, they are added at its end.
pub fn with_block(text: &str, name: &str, block: &str) -> String {
    let (begin, end) = (format!("<!-- {name}: generated -->"), "<!-- end -->");
    let (before, after) = match text.split_once(&begin) {
        Some((before, rest)) => (before, rest.split_once(end).map_or(rest, |(_, after)| after)),
        None => (text, "\n"),
    };
    format!("{before}{begin}\n{block}{end}{after}")
}
