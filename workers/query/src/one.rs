//! One saga: its story out of the rows, and each of its messages as the log has it.
//!
//! The rows have all of a story but the payloads, because the server would load a block of the log
//! for each message. A payload is read from the log when somebody wants to see it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::future::join;
use quadrille::SagaId;
use quadrille::broker::{Care, Stored, Unavailable};
use quadrille::log::parked;
use quadrille::log::story::{self, Line};
use quadrille::log::token::Token;
use quadrille::service::problem::Problem;
use quadrille::topology::parked_stream_name;
use quadrille_projection::rusqlite::Connection;
use serde_json::{Value, json};

use crate::api::{Api, saga_of, unavailable};
use crate::question::{Question, bad};

pub(crate) async fn get(api: &Api, question: &Question) -> Result<Value, Problem> {
    let id = saga_of(question)?;
    let at = match question.text("at") {
        None => None,
        Some(text) => Some(place(api, text)?),
    };
    api.reached(question).await?;
    let parked_stream = parked_stream_name(api.flow);
    let parked = api.broker.last_of_many(&parked_stream, parked::filters(api.flow, &id));
    let (lines, parked) = join(lines(api, &id, at), parked).await;
    let ((mut lines, seen), mut parked) = (lines?, parked.map_err(no_answer)?);
    if let Some(at) = at {
        lines.retain(|line| line.sequence <= at.sequence);
        // The rows have times to the microsecond.
        let time = lines.last().map(|line| line.stored_at.as_microsecond());
        parked.retain(|one| time.is_some_and(|time| one.stored_at.as_microsecond() <= time));
    }
    if lines.is_empty() {
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
    let story = story::retell(api.flow, &id, lines, &parked);
    let opened = story.events.iter().find(|line| line.slot == api.flow.opens.slot);
    let opened = opened.map(|line| line.stored_at).filter(|_| story.state.waits_for.is_some());
    let mut answer = serde_json::to_value(&story).unwrap_or_default();
    // As in lists: one that is open grows older while nothing happens.
    if at.is_none() {
        answer["age_ms"] = match opened {
            Some(opened) => story::milliseconds(opened, api.now()?).max(0.0).into(),
            None => answer["took_ms"].clone(),
        };
    }
    answer["at"] = json!(at.map(|at| at.to_string()));
    answer["as_of"] = api.as_of(seen);
    Ok(answer)
}

/// The events of a saga, and the place in the log up to which they are all of them.
///
/// Where the rows do not have it yet, have not reached the place that is asked for, or nothing
/// serves, the log is read, in one request to any replica.
async fn lines(
    api: &Api,
    id: &SagaId,
    at: Option<Token>,
) -> Result<(Vec<Line>, Option<Token>), Problem> {
    let saga = id.clone();
    let query = move |rows: &Connection| quadrille_projection::story::lines(rows, &saga);
    let known = api.projection.read(api.settings.query_limit, query).await.ok();
    let (lines, place) = known.map_or_else(Default::default, |(all, place)| (all, Some(place)));
    let reached = |place: Token| at.is_none_or(|at| at.sequence <= place.sequence);
    if !lines.is_empty() && place.is_some_and(reached) {
        return Ok((lines, place));
    }
    let read = api.broker.last_of_many(api.flow.stream, vec![api.flow.story(id)]).await;
    let mut read = read.map_err(no_answer)?;
    // Under a name that is none of a slot: the rows have it among what was skipped.
    read.retain(|stored| api.flow.parse_subject(&stored.subject).is_some());
    Ok((story::lines(api.flow, id, &read), place))
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
