//! A worker whose types differ from its flow row does not start.

use anyhow::{Context, ensure};

use crate::flow::Row;
use crate::step::{Step, Undo};
use crate::{Event, Flow};

/// Compares what a step reads and writes with its row.
pub(super) fn step<S: Step>(flow: &Flow, worker: &str) -> anyhow::Result<()> {
    let illegal = flow.check();
    let sentences = illegal.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    ensure!(illegal.is_empty(), "the flow table of {} is illegal: {sentences}", flow.saga);
    let row = row(flow, worker)?;
    let reads = flow.decides(row.on).map_or(flow.opens.event, |before| before.done);
    same(worker, "reacts to", &[reads], S::On::TYPES)?;
    same(worker, "records", &[row.done], S::Done::TYPES)?;
    let refused: Vec<_> = row.refused.into_iter().collect();
    same(worker, "refuses with", &refused, S::Refused::TYPES)
}

/// Compares what an undo records with its row.
pub(super) fn undo<S: Undo>(flow: &Flow, worker: &str) -> anyhow::Result<()> {
    let undo = row(flow, worker)?.undo;
    let undo = undo.with_context(|| format!("{worker}: its code has an undo, its row has none"))?;
    same(worker, "undoes with", undo.events, S::Undone::TYPES)
}

/// Checks that a step which runs without an undo has none in its row.
pub(super) fn not_undoable(flow: &Flow, worker: &str) -> anyhow::Result<()> {
    ensure!(row(flow, worker)?.undo.is_none(), "{worker}: its flow row has an undo: run_undoable");
    Ok(())
}

fn row(flow: &Flow, worker: &str) -> anyhow::Result<&'static Row> {
    flow.row(worker).with_context(|| format!("the flow {} has no row for {worker}", flow.saga))
}

fn same(worker: &str, verb: &str, row: &[&str], code: &[&str]) -> anyhow::Result<()> {
    let list = |types: &[&str]| match types {
        [] => "nothing".to_owned(),
        types => types.join(" or "),
    };
    ensure!(
        row == code,
        "{worker}: by its flow row it {verb} {}, by its code {}",
        list(row),
        list(code)
    );
    Ok(())
}
