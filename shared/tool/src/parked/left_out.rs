//! What a retry leaves out, because no step could run on it or nothing could come of it, and what
//! it says of the rest.

use std::collections::HashSet;

use quadrille::Reason;
use quadrille::broker::Broker;
use quadrille::log::parked::is_for_good;
use quadrille::log::story::{Obstacle, Phase};
use quadrille::nats::NatsBroker;

use super::plan::Plan;
use super::settled::found;
use crate::tool::Tool;
use crate::trace::read;

/// Takes it out of the plan, and says why; true if a saga stays blocked by it.
///
/// # Errors
/// When the broker does not answer.
pub(super) async fn take(
    plan: &mut Plan,
    broker: &NatsBroker,
    tool: &Tool,
) -> anyhow::Result<bool> {
    let mut is_blocked = false;
    let subjects = plan.cases.iter().map(|case| case.parked().subject.clone()).collect();
    let found = found(broker, tool.flow, subjects).await?.into_iter();
    let found: HashSet<_> = found.map(|stored| stored.subject).collect();
    for case in std::mem::take(&mut plan.cases) {
        let (subject, sequence) = (&case.parked().subject, case.parked().sequence);
        let (Some(saga), Some(_)) = (&case.saga, case.row(tool.flow)) else {
            let durable = &case.durable;
            tool.ui.note(format!("{subject}: no step of {durable} can run on it: only discard"));
            continue;
        };
        // The leader is asked, because what a replica does not find proves nothing.
        if !found.contains(subject) && broker.last(tool.flow.stream, subject).await?.is_none() {
            // Where its saga is still open, it was taken out so that the rest goes on.
            let story = read(broker, tool.flow, saga).await?;
            let rest = match story.state.phase == Phase::Unknown {
                true => format!("`{} parked discard {saga}` closes it", tool.ui.tool),
                false => "it settles with the rest".to_owned(),
            };
            tool.ui.note(format!("{subject}: message {sequence} is no longer in the log; {rest}"));
            continue;
        }
        if case.parked().reason == Reason::WrongSource.code()
            && let Some(occupied) = read(broker, tool.flow, saga).await?.occupied(tool.flow)
        {
            let or = match occupied.kind == Obstacle::Stoppable {
                true => format!("; or `{} cancel {saga}` takes it back", tool.ui.tool),
                false => String::new(),
            };
            tool.ui.note(format!("{saga}: no retry helps: {}{or}", occupied.sentence()));
            is_blocked = true;
            continue;
        }
        plan.cases.push(case);
    }
    Ok(is_blocked)
}

/// Says of which it is known already that they will be parked again, unless a newer worker takes
/// what the present one does not.
pub(super) fn in_vain(plan: &Plan, tool: &Tool) {
    let mut lasting = plan.cases.iter().filter(|case| is_for_good(tool.flow, case.parked()));
    let Some(first) = lasting.next() else { return };
    let (id, reason) = (first.id(), &first.parked().reason);
    let more = match lasting.count() {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    let give_up = give_up(id, tool);
    tool.ui.note(format!(
        "{id}{more}: its own bytes are wrong ({reason}), so it is parked again unless its worker \
         is a newer one that takes them; {give_up}"
    ));
}

/// What is left to do about a message whose own bytes are wrong.
pub(super) fn give_up(id: &str, tool: &Tool) -> String {
    format!("`{} parked discard {id} --reason unreadable --write` gives it up", tool.ui.tool)
}
