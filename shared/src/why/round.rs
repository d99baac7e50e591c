//! The same look for many sagas: what does not depend on one of them is asked once for all.

use std::collections::BTreeMap;

use futures::future::join_all;

use super::look::{ask_durable, ask_worker};
use super::waiting::deadline;
use super::{Code, Seen, Why, awaited, decide, look};
use crate::Flow;
use crate::broker::{Broker, Unavailable};
use crate::log::story::Story;
use crate::worker::held::Report;

/// What log, durables, workers and breakers said, all within about a second.
#[derive(Debug)]
pub struct Round {
    flow: &'static Flow,
    /// By the name of the durable.
    seen: BTreeMap<String, Seen>,
    /// Of a saga that waits for no durable.
    log: Seen,
}

impl Round {
    /// Asks.
    ///
    /// # Errors
    /// When the log does not answer; all else that does not is in [`Seen::unanswered`].
    pub async fn look(broker: &dyn Broker, flow: &'static Flow) -> Result<Self, Unavailable> {
        let log = Seen::of(broker.state(flow.stream).await?);
        let workers = flow.steps.iter().map(|row| (row, log.clone()));
        let workers = workers.map(|(row, mut of_worker)| async move {
            ask_worker(broker, flow, row.worker, &mut of_worker).await;
            let mut all = Vec::new();
            for durable in flow.durables(Some(row.worker)) {
                let mut seen = of_worker.clone();
                ask_durable(broker, &durable.stream, &durable.name, &mut seen).await;
                all.push((durable.name, seen));
            }
            all
        });
        let seen = join_all(workers).await.into_iter().flatten().collect();
        Ok(Self { flow, seen, log })
    }

    /// Why a saga waits. That its message was lost is believed only after another look at the saga
    /// alone, because it may have gone on meanwhile.
    ///
    /// # Errors
    /// When the log does not answer that look.
    pub async fn decide(
        &mut self,
        broker: &dyn Broker,
        story: &Story,
        tool: &str,
    ) -> Result<Why, Unavailable> {
        let awaited = awaited(self.flow, story);
        let durable = awaited.as_ref().and_then(|one| self.seen.get_mut(&one.durable));
        let seen = durable.unwrap_or(&mut self.log);
        seen.deadline = awaited.as_ref().and_then(|one| deadline(self.flow, story, one));
        seen.awaited = awaited;
        seen.slot_taken = Some(false);
        let why = decide(self.flow, story, seen, tool);
        if why.code != Code::StepNotDelivered {
            return Ok(why);
        }
        let (story, seen) = look(broker, self.flow, &story.id).await?;
        Ok(decide(self.flow, &story, &seen, tool))
    }

    /// What the replicas of all workers said, in the order of their names.
    pub fn replicas(&self) -> Vec<Report> {
        let said = self.seen.values().flat_map(|seen| &seen.replicas);
        let each: BTreeMap<_, _> = said.map(|report| (&report.instance, report)).collect();
        each.into_values().cloned().collect()
    }
}
