//! The payment service's paths. Each route reads its request and leaves the rest to `exchange`.

use std::sync::Arc;

use axum::Router;
use axum::body::HttpBody;
use axum::extract::{FromRequest, Path, Query, Request, State};
use axum::routing::{get, post};
use serde::Deserialize;

use crate::answer::{Answer, Reply};
use crate::exchange::{App, ask, change, malformed};
use crate::keys::key_of;
use crate::operation::Operation;
use crate::payment::{self, Form, invalid, searched};
use crate::request::{Change, Command, Question};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/payment_intents", post(create))
        .route("/v1/payment_intents/search", get(search))
        .route("/v1/payment_intents/{id}", get(retrieve))
        .route("/v1/payment_intents/{id}/confirm", post(confirm))
        .route("/v1/payment_intents/{id}/cancel", post(cancel))
        .route("/v1/refunds", get(refunds).post(refund))
}

async fn create(State(app): State<Arc<App>>, request: Request) -> Reply {
    let parsed = read(request, Form::create).await;
    execute(app, Operation::Create, parsed).await
}

async fn confirm(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Reply {
    let parsed = read(request, |form| form.confirm(id)).await;
    execute(app, Operation::Confirm, parsed).await
}

async fn cancel(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Reply {
    let parsed = read(request, |form| form.cancel(id)).await;
    execute(app, Operation::Cancel, parsed).await
}

async fn refund(State(app): State<Arc<App>>, request: Request) -> Reply {
    let parsed = read(request, Form::refund).await;
    execute(app, Operation::Refund, parsed).await
}

async fn retrieve(State(app): State<Arc<App>>, Path(intent): Path<String>) -> Reply {
    ask(&app, Question::Retrieve { intent }).await
}

#[derive(Deserialize)]
struct Search {
    #[serde(default)]
    query: String,
}

async fn search(State(app): State<Arc<App>>, Query(search): Query<Search>) -> Reply {
    match searched(&search.query) {
        Ok((order, log)) => ask(&app, Question::Search { order, log }).await,
        Err(answer) => malformed(&app, Operation::Search, answer),
    }
}

#[derive(Deserialize)]
struct OfIntent {
    payment_intent: String,
}

async fn refunds(State(app): State<Arc<App>>, Query(of): Query<OfIntent>) -> Reply {
    ask(&app, Question::Refunds { intent: of.payment_intent }).await
}

async fn execute(app: Arc<App>, operation: Operation, parsed: Result<Change, Answer>) -> Reply {
    match parsed {
        Ok(parsed) => change(app, parsed).await,
        Err(answer) => malformed(&app, operation, answer),
    }
}

async fn read(
    request: Request,
    parse: impl FnOnce(Form) -> Result<payment::Command, Answer>,
) -> Result<Change, Answer> {
    let key = key_of(request.headers())
        .map_err(|message| invalid("Idempotency-Key", "parameter_missing", message))?;
    let path = request.uri().path().to_owned();
    let form = Form::new(pairs(request).await?)?;
    let text = form.request(&path);
    Ok(Change { key, request: text, command: Command::Payment(parse(form)?) })
}

async fn pairs(request: Request) -> Result<Vec<(String, String)>, Answer> {
    // Clients send no content type with an empty body, and axum would insist on one.
    if request.body().is_end_stream() {
        return Ok(Vec::new());
    }
    match axum::Form::from_request(request, &()).await {
        Ok(axum::Form(pairs)) => Ok(pairs),
        Err(bad) => Err(invalid("body", "parameter_invalid", &bad.body_text())),
    }
}
