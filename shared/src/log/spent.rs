//! Whether an id can still be used, as each door asks before it opens a saga: an id without an
//! opening is spent as soon as anything is in a slot that a worker would write.
//!
//! Only a courtesy, because what comes into a slot between this look and the opening is not seen.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::timeout;

use super::story::{self, Occupied};
use crate::broker::{Broker, Stored};
use crate::{Flow, SagaId};

/// How long a look may take: it delays every opening.
const LOOK: Duration = Duration::from_secs(1);

/// The broker answers one request with at most so many messages.
const MOST: usize = 1_024;

/// What lies in the slots of each of `ids`, in their order, that has no opening: such a saga could
/// never end. `None` for one that is open or can be opened; nothing at all if the broker gives no
/// answer within a second, or the caller may not read.
///
/// Only the flow's own slots are asked for, so that an id under which a client has written
/// hundreds of subjects costs no more than another. 64 ids of a flow with 15 slots are one request.
pub async fn spent(
    broker: &dyn Broker,
    flow: &'static Flow,
    ids: &[&SagaId],
) -> Option<Vec<Option<Occupied>>> {
    timeout(LOOK, look(broker, flow, ids)).await.ok()?
}

async fn look(
    broker: &dyn Broker,
    flow: &'static Flow,
    ids: &[&SagaId],
) -> Option<Vec<Option<Occupied>>> {
    let slots: Vec<_> = [flow.opens.slot].into_iter().chain(story::workers_slots(flow)).collect();
    let mut events = HashMap::<_, Vec<Stored>>::new();
    for some in ids.chunks((MOST / slots.len()).max(1)) {
        let of_one =
            |id: &&SagaId| slots.iter().map(|slot| flow.slot(slot, id)).collect::<Vec<_>>();
        let subjects = some.iter().flat_map(of_one).map(|slot| slot.subject().to_owned()).collect();
        for stored in broker.last_of_many(flow.stream, subjects).await.ok()? {
            let Some((_, saga)) = flow.parse_subject(&stored.subject) else { continue };
            events.entry(saga).or_default().push(stored);
        }
    }
    let occupied = |id: &&SagaId| {
        let story = story::tell(flow, id, events.get(*id)?, &[]);
        story.occupied(flow).filter(|occupied| !occupied.is_opened())
    };
    Some(ids.iter().map(occupied).collect())
}
