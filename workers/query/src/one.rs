//! One saga, straight from the log: its whole story, as of now or as of an earlier place.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::{StreamExt as _, TryStreamExt as _};
use quadrille::SagaId;
use quadrille::broker::{Care, Stored, Unavailable};
use quadrille::log::parked;
use quadrille::log::story;
use quadrille::log::token::Token;
use quadrille::service::problem::Problem;
use quadrille::topology::parked_stream_name;
use quadrille_projection::rusqlite::{self, Connection};
use serde_json::{Value, json};

use crate::api::{Api, saga_of, unavailable};
use crate::question::{Question, bad};

/// Messages asked for at once.
const AT_ONCE: usize = 16;

pub(crate) async fn get(api: &Api, question: &Question) -> Result<Value, Problem> {
    let id = saga_of(question)?;
    let at = match question.text("at") {
        None => None,
        Some(text) => Some(place(api, text)?),
    };
    api.reached(question).await?;
    let (mut events, seen) = events(api, &id).await?;
    let parked_stream = parked_stream_name(api.flow);
    let filter = parked::filters(api.flow, &id);
    let mut parked = api.broker.last_of_many(&parked_stream, filter).await.map_err(no_answer)?;
    if let Some(at) = at {
        events.retain(|event| event.sequence <= at.sequence);
        let time = events.last().map(|event| event.stored_at);
        parked.retain(|parked| time.is_some_and(|time| parked.stored_at <= time));
    }
    if events.is_empty() {
        let detail = match at {
            Some(at) => format!("{id} has no event up to sequence {}", at.sequence),
            None => format!(
                "{id} is not in the log {}; upper and lower case differ, and /find finds parts",
                api.flow.stream
            ),
        };
        return Err(
            Problem::new(404, "not-found", "not in the log", detail).with("as_of", api.as_of(seen))
        );
    }
    let story = story::tell(api.flow, &id, &events, &parked);
    let mut answer = serde_json::to_value(story).unwrap_or_default();
    answer["at"] = json!(at.map(|at| at.to_string()));
    answer["as_of"] = api.as_of(seen);
    Ok(answer)
}

/// The events of a saga, and the place in the log up to which they are all of them.
///
/// The rows say where they are, and the leader is asked for each of them, because its answer does
/// no harm, whatever headers a message has, and no replica lags. What the rows do not know yet, or
/// while nothing serves, is read in one request from any replica.
async fn events(api: &Api, id: &SagaId) -> Result<(Vec<Stored>, Option<Token>), Problem> {
    let saga = id.clone();
    let query = move |rows: &Connection| {
        let sql = "SELECT sequence FROM events WHERE saga = ?1 ORDER BY sequence";
        let mut sequences = rows.prepare_cached(sql)?;
        let sequences = sequences.query_map([saga.as_str()], |row| row.get::<_, u64>(0))?;
        sequences.collect::<rusqlite::Result<Vec<_>>>()
    };
    let known = api.projection.read(api.settings.query_limit, query).await.ok();
    let (sequences, place) = known.map_or_else(Default::default, |(all, at)| (all, Some(at)));
    if sequences.is_empty() {
        let read = api.broker.last_of_many(api.flow.stream, vec![api.flow.story(id)]).await;
        return Ok((read.map_err(no_answer)?, place));
    }
    let read = sequences.into_iter().map(|sequence| stored(api, id, sequence));
    let read: Vec<_> = futures::stream::iter(read).buffered(AT_ONCE).try_collect().await?;
    Ok((read.into_iter().flatten().collect(), place))
}

/// One message, from the leader; `None` also if it is another saga's, which happens where the log
/// has just become another one.
async fn stored(api: &Api, id: &SagaId, sequence: u64) -> Result<Option<Stored>, Problem> {
    let page = api.broker.read_page(api.flow.stream, sequence, 1, Care::Careful).await;
    let messages = page.map_err(no_answer)?.messages;
    Ok(messages.into_iter().find(|message| {
        let parsed = api.flow.parse_subject(&message.subject);
        message.sequence == sequence && parsed.is_some_and(|(_, saga)| saga == *id)
    }))
}

fn no_answer(error: Unavailable) -> Problem {
    unavailable(&error.to_string())
}

/// A place of the present log.
fn place(api: &Api, text: &str) -> Result<Token, Problem> {
    let what = "must be a token, or a sequence of the log";
    let token = api.projection.token(text).map_err(|_| bad("at", what, Some("4711")))?;
    match api.projection.status().as_of {
        Some(present) if present.created != token.created => {
            let detail = format!("{token} is a place in a log that is no longer there");
            Err(Problem::new(410, "old-log", "the token is of an earlier log", detail))
        }
        Some(_) | None => Ok(token),
    }
}

/// One event as the log has it.
pub(crate) async fn payload(api: &Api, question: &Question) -> Result<Value, Problem> {
    let id = saga_of(question)?;
    let sequence = question.number("sequence", 0, 1..=i64::MAX.unsigned_abs())?;
    let Some(stored) = stored(api, &id, sequence).await? else {
        let detail = format!("{id} has no event with sequence {sequence}");
        return Err(Problem::new(404, "not-found", "not in the log", detail));
    };
    let text = std::str::from_utf8(&stored.payload).ok();
    let document: Option<Value> = text.and_then(|text| serde_json::from_str(text).ok());
    Ok(json!({
        "subject": stored.subject,
        "sequence": stored.sequence,
        "stored_at": stored.stored_at.to_string(),
        "headers": stored.headers.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
        "payload": document,
        "text": text.filter(|_| document.is_none()),
        "base64": text.is_none().then(|| BASE64_STANDARD.encode(&stored.payload)),
    }))
}
