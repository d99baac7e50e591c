//! Where an order may end, and what it must have done and undone on the way.

use quadrille::flow::Row;
use schemas::order_fulfilment::FLOW;

use super::story::Story;
use super::{Findings, Rule};

pub(super) fn check(story: &Story<'_>, found: &mut Findings) {
    match (story.completed(), story.cancelled()) {
        (true, _) => completed(story, found),
        (_, true) => cancelled(story, found),
        (false, false) => {
            let slots: Vec<_> = story.told.keys().map(String::as_str).collect();
            let what = format!("neither closed nor parked; it has {}", slots.join(", "));
            found.demand(story.parked, Rule::Ending, story, what);
        }
    }
}

fn done(story: &Story<'_>, row: &Row) -> bool {
    story.event(row.slot, row.done).is_some()
}

fn refused(story: &Story<'_>, row: &Row) -> bool {
    row.refused.is_some_and(|refused| story.event(row.slot, refused).is_some())
}

fn completed(story: &Story<'_>, found: &mut Findings) {
    for row in FLOW.steps {
        let what = format!("completed without {}", row.done);
        found.demand(done(story, row), Rule::Completed, story, what);
        if let Some(pivot) = row.pivot {
            let went = story.event(pivot.slot, pivot.go).is_some();
            let what = format!("completed without {}", pivot.go);
            found.demand(went, Rule::Completed, story, what);
        }
        if let Some(undo) = row.undo {
            let undone = story.slot(undo.slot).is_some();
            let what = format!("completed, but {} is written", undo.slot);
            found.demand(!undone, Rule::Completed, story, what);
        }
    }
}

/// Where the order turned around, as an index into the flow; a stop turns it before its step.
fn turned_at(story: &Story<'_>) -> Option<usize> {
    FLOW.steps.iter().position(|row| {
        let stopped = row.pivot.is_some_and(|pivot| story.event(pivot.slot, pivot.stop).is_some());
        stopped || refused(story, row)
    })
}

fn cancelled(story: &Story<'_>, found: &mut Findings) {
    let Some(turned) = turned_at(story) else {
        let what = "cancelled, but no worker refused or stopped it";
        return found.demand(false, Rule::Cancelled, story, what);
    };
    for row in FLOW.steps.iter().skip(turned) {
        let what = format!("cancelled at {}, and yet {}", FLOW.steps[turned].slot, row.done);
        found.demand(!done(story, row), Rule::Cancelled, story, what);
    }
    for row in FLOW.steps.iter().take(turned) {
        let what = format!("turned after {}, which it has not", row.done);
        found.demand(done(story, row), Rule::Cancelled, story, what);
    }
    let signalled = story.slot(FLOW.turns.slot).is_some();
    found.demand(signalled, Rule::Cancelled, story, "cancelled without the signal");
    undone_in_reverse(story, turned, found);
}

/// Checks that the refused step itself is undone, if it can be, then each one before it, then the
/// end.
fn undone_in_reverse(story: &Story<'_>, turned: usize, found: &mut Findings) {
    let mut before = story.slot(FLOW.turns.slot).map(|told| told.sequence);
    // A signal may be forged, or late if a later reader wrote it; the order of the undo slots is
    // what counts.
    let mut last_slot = None;
    for (at, row) in FLOW.steps.iter().enumerate().rev() {
        let Some(undo) = row.undo else { continue };
        let told = story.slot(undo.slot);
        if at > turned {
            let what = format!("{} is undone, and it never came so far", row.worker);
            found.demand(told.is_none(), Rule::Cancelled, story, what);
            continue;
        }
        let Some(told) = told else {
            let what = format!("cancelled without {}", undo.slot);
            found.demand(false, Rule::Cancelled, story, what);
            continue;
        };
        if let Some(last) = last_slot {
            let in_order = before.is_some_and(|before| before < told.sequence);
            let what = format!("{} is undone before {last}", undo.slot);
            found.demand(in_order, Rule::Cancelled, story, what);
        }
        (before, last_slot) = (Some(told.sequence), Some(undo.slot));
    }
    let closed = story.slot(FLOW.closing().slot).map(|told| told.sequence);
    let last = before < closed;
    found.demand(last, Rule::Cancelled, story, "cancelled before all was undone");
}
