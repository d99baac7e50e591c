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

fn done(story: &Story<'_>, step: &Row) -> bool {
    story.event(step.slot, step.done).is_some()
}

fn refused(story: &Story<'_>, step: &Row) -> bool {
    step.refused.is_some_and(|refused| story.event(step.slot, refused).is_some())
}

fn completed(story: &Story<'_>, found: &mut Findings) {
    for step in FLOW.steps {
        let what = format!("completed without {}", step.done);
        found.demand(done(story, step), Rule::Completed, story, what);
        if let Some(pivot) = step.pivot {
            let went = story.event(pivot.slot, pivot.go).is_some();
            let what = format!("completed without {}", pivot.go);
            found.demand(went, Rule::Completed, story, what);
        }
        if let Some(undo) = step.undo {
            let undone = story.slot(undo.slot).is_some();
            let what = format!("completed, but {} is written", undo.slot);
            found.demand(!undone, Rule::Completed, story, what);
        }
    }
}

/// Where the order turned around, as an index into the flow; a stop turns it before its step.
fn turned_at(story: &Story<'_>) -> Option<usize> {
    FLOW.steps.iter().position(|step| {
        let stopped = step.pivot.is_some_and(|pivot| story.event(pivot.slot, pivot.stop).is_some());
        stopped || refused(story, step)
    })
}

fn cancelled(story: &Story<'_>, found: &mut Findings) {
    let Some(turned) = turned_at(story) else {
        let what = "cancelled, but no worker refused or stopped it";
        return found.demand(false, Rule::Cancelled, story, what);
    };
    for step in FLOW.steps.iter().skip(turned) {
        let what = format!("cancelled at {}, but it has {}", FLOW.steps[turned].slot, step.done);
        found.demand(!done(story, step), Rule::Cancelled, story, what);
    }
    for step in FLOW.steps.iter().take(turned) {
        let what = format!("turned after {}, which it does not have", step.done);
        found.demand(done(story, step), Rule::Cancelled, story, what);
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
    for (at, step) in FLOW.steps.iter().enumerate().rev() {
        let Some(undo) = step.undo else { continue };
        let told = story.slot(undo.slot);
        if at > turned {
            let what = format!("{} is undone, and it never came so far", step.worker);
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
