//! What was looked at, for whoever doubts the answer.

use super::Seen;
use crate::Flow;
use crate::breaker::fleet;
use crate::broker::Pause;
use crate::log::story::Story;

/// Each thing that was looked at, with what it said.
pub(super) fn looked_at(flow: &Flow, story: &Story, seen: &Seen) -> Vec<String> {
    let mut looked = vec![format!("{} events in {}", story.events.len(), flow.stream)];
    looked.push(format!("{} parked messages", story.parked.len()));
    if let Some(awaited) = &seen.awaited {
        let trigger = awaited.trigger.sequence;
        looked.push(match &seen.durable {
            Some(durable) => format!(
                "durable {}: message {trigger} is awaited, delivered up to {}, settled up to {}, \
                 {} in hand, {} pending, {} pulls wait{}",
                awaited.durable,
                durable.delivered,
                durable.settled,
                durable.in_hand,
                durable.pending,
                durable.pulls,
                if durable.pause == Pause::Off { "" } else { ", paused" },
            ),
            None => format!("durable {}: there is none", awaited.durable),
        });
        let held: usize = seen.replicas.iter().map(|replica| replica.held_total).sum();
        let (count, worker) = (seen.replicas.len(), awaited.worker);
        looked.push(format!("{count} replicas of {worker} answer, and hold {held} messages"));
    }
    for service in &seen.services {
        let phase = service.key.as_ref().map_or(fleet::Phase::Flowing, |key| key.phase);
        let phase = serde_json::to_value(phase).unwrap_or_default();
        let phase = phase.as_str().unwrap_or_default();
        looked.push(format!("breaker of {}: {phase}", service.name));
    }
    if let Some(log) = &seen.log {
        let most = log.max_bytes.map_or_else(|| "any number".to_owned(), |most| most.to_string());
        looked.push(format!("log: {} of {most} bytes", log.bytes));
    }
    looked.extend(seen.unanswered.iter().map(|what| format!("no answer: {what}")));
    looked
}
