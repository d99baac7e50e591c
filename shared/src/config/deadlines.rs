//! Deadlines of steps are of those steps alone that have one in the flow; any other name is a
//! mistake, which must not pass in silence.

use config::ValueKind;

use super::{Invalid, Sources};
use crate::Flow;

impl Sources {
    pub(super) fn refuse_unknown_deadlines(&self, flow: &Flow) -> Result<(), Invalid> {
        let ValueKind::Table(sections) = &self.config.cache.kind else { return Ok(()) };
        let Some(ValueKind::Table(deadline)) = sections.get("deadline").map(|value| &value.kind)
        else {
            return Ok(());
        };
        let Some(ValueKind::Table(steps)) = deadline.get("steps").map(|value| &value.kind) else {
            return Ok(());
        };
        let timed = flow.undoable().filter(|row| row.within.is_some()).map(|row| row.worker);
        let timed: Vec<_> = timed.collect();
        match steps.keys().find(|name| !timed.contains(&&*name.replace('_', "-"))) {
            None => Ok(()),
            Some(name) => {
                let named = match timed.join(", ") {
                    steps if steps.is_empty() => "no step".to_owned(),
                    steps => steps,
                };
                let problem = format!("that step has no deadline in the flow; {named} has one");
                Err(self.invalid_below(&format!("deadline.steps.{name}"), problem))
            }
        }
    }
}
