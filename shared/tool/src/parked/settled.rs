//! What the log says of messages that were set aside: which are decided, and which have no saga.

use std::collections::HashSet;

use anyhow::Context;
use quadrille::broker::{Broker, Stored};
use quadrille::log::story;
use quadrille::nats::NatsBroker;
use quadrille::{Flow, SagaId};

use super::cases::{Case, Standing};

/// Slots in one request; an event may have 64 KB.
const SLOTS: usize = 100;

/// Looks up which of them are decided; what is found is true, whichever replica says it.
pub(super) async fn settle(
    broker: &NatsBroker,
    flow: &Flow,
    cases: &mut [Case],
) -> anyhow::Result<()> {
    let subjects = cases.iter().flat_map(|case| case.decisive(flow)).collect();
    let decided = decided(broker, flow, subjects).await?;
    let opening = |saga: &SagaId| format!("{}.{}.{saga}", flow.subjects, flow.opens.slot);
    let given_up = cases.iter().filter(|case| case.standing == Standing::Discarded);
    let openings = given_up.filter_map(|case| case.saga.as_ref()).map(opening).collect();
    let opened = found(broker, flow, openings).await?;
    let opened: HashSet<_> = opened.into_iter().map(|stored| stored.subject).collect();
    for case in cases {
        if case.standing == Standing::Discarded {
            case.has_saga = case.saga.as_ref().is_some_and(|saga| opened.contains(&opening(saga)));
        }
        // Of an effect that no slot records, the decision is the cause and not the end.
        if case.is_orphan_effect() && case.standing == Standing::Parked {
            continue;
        }
        if case.decisive(flow).iter().any(|subject| decided.contains(subject)) {
            case.standing = Standing::Settled;
        }
    }
    Ok(())
}

/// Those of these subjects of the log that hold a decision: what no worker wrote is none.
///
/// # Errors
/// When the broker does not answer.
pub(super) async fn decided(
    broker: &NatsBroker,
    flow: &Flow,
    subjects: Vec<String>,
) -> anyhow::Result<HashSet<String>> {
    let decides = |stored: &Stored| {
        let Some((_, saga)) = flow.parse_subject(&stored.subject) else { return false };
        let events = story::lines(flow, &saga, std::slice::from_ref(stored));
        events.iter().any(|line| !line.is_foreign(flow))
    };
    let found = found(broker, flow, subjects).await?;
    Ok(found.into_iter().filter(decides).map(|stored| stored.subject).collect())
}

/// What these subjects of the log hold, as far as the replica that answers has it.
pub(super) async fn found(
    broker: &NatsBroker,
    flow: &Flow,
    subjects: Vec<String>,
) -> anyhow::Result<Vec<Stored>> {
    let mut found = Vec::new();
    for some in subjects.chunks(SLOTS) {
        let read = broker.last_of_many(flow.stream, some.to_vec()).await;
        found.extend(read.context("the log cannot be read")?);
    }
    Ok(found)
}
