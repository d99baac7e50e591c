//! What was set aside: no row of a query worker says it, so it is asked of the broker, and read as
//! `quadrille open` reads it. One order has one state, whichever command shows it.

use std::collections::{BTreeMap, BTreeSet};

use quadrille::SagaId;
use quadrille::broker::Broker as _;
use quadrille::log::parked;
use quadrille::log::story::Phase;
use quadrille_tool::connect::Connection;
use quadrille_tool::{Tool, open};
use serde_json::Value;

/// Orders in one request.
const AT_ONCE: usize = 100;

/// Puts `parked`, and why, in those of these rows whose next message was set aside.
///
/// # Errors
/// When the broker does not answer.
pub(super) async fn mark(
    connection: &Connection,
    tool: &Tool,
    rows: &mut [Value],
) -> anyhow::Result<()> {
    let (flow, broker) = (tool.flow, &connection.broker);
    let waits = |row: &&Value| row["state"] == "open" || row["state"] == "parked";
    let ids = rows.iter().filter(waits).filter_map(|row| SagaId::parse(row["id"].as_str()?).ok());
    let ids: Vec<_> = ids.collect();
    let mut set_aside = BTreeSet::new();
    for some in ids.chunks(AT_ONCE) {
        let filters = some.iter().map(|id| parked::filter(flow, id)).collect();
        let found = broker.last_of_many(&flow.parked_stream(), filters).await?;
        let ids = found.iter().filter_map(|entry| entry.subject.rsplit('.').next());
        set_aside.extend(ids.filter_map(|id| SagaId::parse(id).ok()));
    }
    let set_aside: Vec<_> = set_aside.into_iter().collect();
    let stories = open::stories(broker, flow, &set_aside, tool.ui).await?;
    let parked = stories.iter().filter(|story| story.state.phase == Phase::Parked);
    let parked: BTreeMap<_, _> =
        parked.map(|story| (story.id.as_str(), open::reason(story))).collect();
    for row in rows {
        let reason = row["id"].as_str().and_then(|id| parked.get(id));
        if let Some(reason) = reason {
            row["state"] = "parked".into();
            row["reason"] = reason.clone().into();
        }
    }
    Ok(())
}
