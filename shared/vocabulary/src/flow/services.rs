//! The outside services that a flow names. A step that requires one waits for it; a step that only
//! prefers one goes on without it.

use super::Flow;

impl Flow {
    /// The outside services that the steps require, each once, in flow order.
    pub fn services(&self) -> Vec<&'static str> {
        each_once(self.steps.iter().flat_map(|step| step.requires))
    }

    /// As [`Flow::services`], and then those that steps only prefer.
    pub fn all_services(&self) -> Vec<&'static str> {
        let preferred = self.steps.iter().flat_map(|step| step.prefers);
        each_once(self.steps.iter().flat_map(|step| step.requires).chain(preferred))
    }
}

fn each_once(names: impl Iterator<Item = &'static &'static str>) -> Vec<&'static str> {
    let mut once = Vec::new();
    for name in names {
        if !once.contains(name) {
            once.push(*name);
        }
    }
    once
}
