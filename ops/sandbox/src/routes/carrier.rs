//! The carrier's paths. Each route reads its request and leaves the rest to `exchange`.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;

use crate::answer::{Answer, Reply};
use crate::carrier::{NewLabel, error};
use crate::exchange::{App, ask, change, malformed};
use crate::keys::key_of;
use crate::operation::Operation;
use crate::request::{Change, Command, Question};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route("/labels", get(lookup).post(buy))
}

async fn buy(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> Reply {
    match read(&headers, &body) {
        Ok(parsed) => change(app, parsed).await,
        Err(answer) => malformed(&app, Operation::Label, answer),
    }
}

#[derive(Deserialize)]
struct Lookup {
    key: String,
}

async fn lookup(State(app): State<Arc<App>>, Query(Lookup { key }): Query<Lookup>) -> Reply {
    ask(&app, Question::Lookup { key }).await
}

fn read(headers: &HeaderMap, body: &[u8]) -> Result<Change, Answer> {
    let key = key_of(headers).map_err(|message| error(400, "key_missing", message))?;
    let Json(label) = Json::<NewLabel>::from_bytes(body)
        .map_err(|bad| error(400, "malformed", &bad.body_text()))?;
    label.check().map_err(|message| error(400, "malformed", message))?;
    // The parsed form again, so that white space does not make another request.
    let request = serde_json::to_string(&label).expect("strings and numbers serialize");
    Ok(Change { key, request, command: Command::Label(label) })
}
