//! What can be done about a parked message that is given up.

use quadrille::SagaId;
use quadrille::broker::Broker;
use quadrille::flow::Row;
use quadrille::log::story::{Obstacle, Occupied, Phase};
use quadrille::nats::NatsBroker;
use serde::Serialize;

use crate::parked::cases::Case;
use crate::tool::Tool;
use crate::trace::read;

/// What becomes of a saga whose message is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Way {
    /// It has not passed its pivot: it is taken back.
    Cancel,
    /// It has, and its step has not decided: the step is told to refuse.
    Refuse,
    /// No saga that was opened is behind the message.
    Close,
    /// The step before has decided for good.
    OnlyRetry,
    /// Its step has decided, or the saga has ended.
    Settled,
    /// A slot that it needs to end is taken by what no worker wrote.
    Occupied,
    /// Its opening is of a type that no worker knows.
    Unknown,
    /// The replicas of the log do not agree yet.
    LookAgain,
}

impl Way {
    /// Whether something is to be done at all.
    pub(super) fn is_open(self) -> bool {
        match self {
            Self::Cancel | Self::Refuse | Self::Close => true,
            Self::OnlyRetry | Self::Settled | Self::Occupied | Self::Unknown | Self::LookAgain => {
                false
            }
        }
    }
}

/// Which way a parked message can be given up, and what is in its saga's way.
///
/// # Errors
/// When the broker does not answer.
pub(super) async fn way(
    broker: &NatsBroker,
    case: &Case,
    tool: &Tool,
) -> anyhow::Result<(Way, Option<Occupied>)> {
    let (Some(saga), Some(row)) = (&case.saga, case.row(tool.flow)) else {
        return Ok((Way::Close, None));
    };
    if case.is_orphan_effect() {
        return Ok((Way::Close, None));
    }
    let story = read(broker, tool.flow, saga).await?;
    let occupied = story.occupied(tool.flow);
    let way = match occupied.as_ref().map(|occupied| occupied.kind) {
        Some(Obstacle::Barred) => Way::Occupied,
        Some(Obstacle::Stoppable) => Way::Cancel,
        // Without an opening no worker grants a wish, and none can refuse for good.
        Some(Obstacle::Spent | Obstacle::Leftover) => Way::Close,
        None if story.state.phase == Phase::Unknown => Way::Close,
        None if story.is_of_unknown_opening(tool.flow) => Way::Unknown,
        None => way_of_a_step(broker, saga, row, tool).await?,
    };
    // The leader is asked, because what a replica does not find proves nothing.
    let opening = tool.flow.slot(tool.flow.opens.slot, saga);
    if way == Way::Close && broker.last(tool.flow.stream, opening.subject()).await?.is_some() {
        return Ok((Way::LookAgain, None));
    }
    Ok((way, occupied))
}

async fn way_of_a_step(
    broker: &NatsBroker,
    saga: &SagaId,
    row: &Row,
    tool: &Tool,
) -> anyhow::Result<Way> {
    let holds = async |slot: &'static str| {
        let slot = tool.flow.slot(slot, saga);
        let stored = broker.last(tool.flow.stream, slot.subject()).await;
        anyhow::Ok(stored?.is_some())
    };
    match (row.undo, row.pivot) {
        (Some(_), _) => Ok(Way::Cancel),
        (None, Some(pivot)) if !holds(pivot.slot).await? => Ok(Way::Cancel),
        (None, Some(_)) if !holds(row.slot).await? => Ok(Way::Refuse),
        (None, _) => Ok(Way::OnlyRetry),
    }
}
