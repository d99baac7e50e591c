//! What was set aside: no row has it, so the broker is asked about those of the rows that are open.
//! One saga has one state, whichever list shows it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use quadrille::SagaId;
use quadrille::broker::{Incarnation, Stored, Unavailable};
use quadrille::log::parked;
use quadrille::log::story::{self, Phase, Story};
use quadrille::topology::parked_stream_name;
use quadrille_projection::rusqlite::{self, Connection};
use quadrille_projection::story::lines;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::api::Api;
use crate::list::PARKED;
use crate::question::Question;

/// How long a list waits for what was set aside: without an answer it shows what the rows say.
const PATIENCE: Duration = Duration::from_secs(1);
/// Sagas of one request: the server answers with at most 1,024 subjects, and a saga has up to two
/// of each durable.
const AT_ONCE: usize = 50;

/// The sagas of which something was set aside, be it tried again or settled since: all that the
/// stream of parked messages names, so they are listed again only after it has got a message.
#[derive(Debug, Default)]
pub(crate) struct Named(Mutex<Option<Listed>>);

/// What they were up to a message of that stream.
#[derive(Debug, Clone)]
struct Listed {
    up_to: (Incarnation, u64),
    sagas: Arc<BTreeSet<SagaId>>,
}

impl Named {
    pub(crate) async fn list(&self, api: &Api) -> Result<Arc<BTreeSet<SagaId>>, Unavailable> {
        let stream = parked_stream_name(api.flow);
        // Before the list, which may then have more than this says, and never less.
        let Some(state) = api.broker.state(&stream).await? else { return Ok(Arc::default()) };
        let up_to = (state.incarnation, state.last_sequence);
        let known = self.0.lock().await.as_ref().filter(|it| it.up_to == up_to).cloned();
        if let Some(listed) = known {
            return Ok(listed.sagas);
        }
        let subjects = api.broker.subjects(&stream, &parked::filter_all(api.flow)).await?;
        let ids = subjects.iter().filter_map(|subject| subject.rsplit('.').next());
        let sagas = Arc::new(ids.filter_map(|id| SagaId::parse(id).ok()).collect());
        // Nobody waits behind another's question; what is put back by a slow one is asked again.
        *self.0.lock().await = Some(Listed { up_to, sagas: Arc::clone(&sagas) });
        Ok(sagas)
    }
}

/// Shows those of these rows as parked whose next message was set aside. Asks nothing where no row
/// is open, and where the broker does not answer the rows stay as they are.
pub(crate) async fn mark<'r>(api: &Api, rows: impl Iterator<Item = &'r mut Value>) {
    let mut open: Vec<_> = rows.filter(|row| row["state"] == "open").collect();
    let ids = open.iter().filter_map(|row| SagaId::parse(row["id"].as_str()?).ok()).collect();
    let stories = match timeout(PATIENCE, stories(api, ids)).await {
        Ok(Some(stories)) => stories,
        Ok(None) | Err(_) => return,
    };
    for row in &mut open {
        let story = row["id"].as_str().and_then(|id| stories.get(id));
        if let Some(story) = story.filter(|story| story.state.phase == Phase::Parked) {
            show(api, row, story);
        }
    }
}

/// As the operator's tool shows one that is parked.
pub(crate) fn show(api: &Api, row: &mut Value, story: &Story) {
    row["state"] = PARKED.into();
    row["reason"] = story.waits_at(api.flow).map(|parked| parked.reason.as_str()).into();
}

/// The stories of those of these sagas of which something was set aside.
async fn stories(api: &Api, ids: Vec<SagaId>) -> Option<BTreeMap<String, Story>> {
    let parked = read(api, ids).await.ok()?;
    if parked.is_empty() {
        return Some(BTreeMap::new());
    }
    let flow = api.flow;
    let query = move |rows: &Connection| {
        let told = parked.into_iter().map(|(id, parked)| {
            let story = story::retell(flow, &id, lines(rows, &id)?, &parked);
            Ok((id.to_string(), story))
        });
        told.collect::<rusqlite::Result<_>>()
    };
    Some(api.rows(&Question::default(), query).await.ok()?.0)
}

/// What was set aside of these sagas, and brought back, by saga.
pub(crate) async fn read(
    api: &Api,
    ids: Vec<SagaId>,
) -> Result<BTreeMap<SagaId, Vec<Stored>>, Unavailable> {
    let stream = &parked_stream_name(api.flow);
    let some = ids.chunks(AT_ONCE).map(|ids| {
        let filters = ids.iter().flat_map(|id| parked::filters(api.flow, id)).collect();
        api.broker.last_of_many(stream, filters)
    });
    let mut of = BTreeMap::<_, Vec<_>>::new();
    for stored in try_join_all(some).await?.into_iter().flatten() {
        // Both kinds of subjects end with the id.
        let id = stored.subject.rsplit('.').next().unwrap_or_default();
        if let Ok(id) = SagaId::parse(id) {
            of.entry(id).or_default().push(stored);
        }
    }
    Ok(of)
}
