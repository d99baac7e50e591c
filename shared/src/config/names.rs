//! The names that a flow has on a broker where others have its usual ones.

use super::{FlowSettings, Invalid, Settings, Sources};
use crate::Flow;
use crate::nats::{BadName, Names};

impl Sources {
    /// What the streams and subjects of `flow` are called.
    ///
    /// # Errors
    /// When a name cannot be used, or the section is another flow's: then the names of this one
    /// would be a surprise.
    pub fn names(&self, settings: &Settings, flow: &Flow) -> Result<Names, Invalid> {
        if let Some(other) = settings.flow.keys().find(|saga| *saga != flow.saga) {
            let problem = format!("no such flow; this one is flow.{}", flow.saga);
            return Err(self.invalid_below(&format!("flow.{other}"), problem));
        }
        let Some(FlowSettings { stream, prefix }) = settings.flow.get(flow.saga) else {
            return Ok(Names::default());
        };
        Names::new(flow, stream.as_deref(), prefix.as_deref()).map_err(|error| {
            let key = match error {
                BadName::Stream => "stream",
                BadName::Prefix => "prefix",
            };
            self.invalid(&format!("flow.{}.{key}", flow.saga), error.to_string())
        })
    }
}
