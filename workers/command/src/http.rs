//! Commands over HTTP. Every answer is JSON, and every refusal a problem document.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use quadrille::SagaId;
use quadrille::service::answered;
use quadrille::service::problem::Problem;
use tokio::time::timeout;

use crate::intake::{self, Intake, Placed};
use crate::micro::{is_json, said};
use crate::order::{Asked, MAX_BODY_BYTES, NOBODY};
use crate::{NAME, openapi, problems};

/// How requests are read.
#[derive(Debug, Clone)]
pub(crate) struct Ways {
    caller_header: Option<HeaderName>,
    body_time: Duration,
}

impl Ways {
    /// # Errors
    /// When the header's name is none.
    pub(crate) fn new(caller_header: Option<&str>, body_time: Duration) -> anyhow::Result<Self> {
        let caller_header = caller_header
            .filter(|name| !name.is_empty())
            .map(|name| name.parse().with_context(|| format!("{NAME}.caller_header: {name:?}")))
            .transpose()?;
        Ok(Self { caller_header, body_time })
    }
}

type Desk = (Arc<Intake>, Ways);

/// All paths.
pub(crate) fn router(intake: Arc<Intake>, ways: Ways) -> Router {
    Router::new()
        .route("/orders", post(place).options(|| allow("POST, OPTIONS")))
        .route("/orders/{id}/cancel", post(cancel).options(|| allow("POST, OPTIONS")))
        .route("/openapi.json", get(document).options(|| allow("GET, HEAD, OPTIONS")))
        .fallback(async || problems::no_such_path())
        .method_not_allowed_fallback(async || problems::wrong_method())
        .layer(map_response(count))
        .with_state((intake, ways))
}

async fn count(response: Response) -> Response {
    answered(NAME, "http", response.status().as_u16());
    response
}

async fn allow(methods: &'static str) -> impl IntoResponse {
    (StatusCode::NO_CONTENT, [(header::ALLOW, methods)])
}

async fn document() -> impl IntoResponse {
    Json(openapi::document())
}

async fn place(State((intake, ways)): State<Desk>, request: Request) -> Response {
    match place_one(&intake, &ways, request).await {
        Ok(placed) => {
            // A repeat has the same body, and a status that says that it is one.
            let status = if placed.now { StatusCode::CREATED } else { StatusCode::OK };
            let no_store = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
            (status, no_store, Json(placed)).into_response()
        }
        Err(problem) => refuse(problem),
    }
}

async fn place_one(intake: &Intake, ways: &Ways, request: Request) -> Result<Placed, Problem> {
    let (head, body) = request.into_parts();
    let headers = &head.headers;
    check_media(headers)?;
    let caller = match &ways.caller_header {
        Some(name) => one(headers, name)?.unwrap_or(NOBODY),
        None => NOBODY,
    };
    let idempotency_key = one(headers, &HeaderName::from_static("idempotency-key"))?;
    let traceparent = one(headers, &HeaderName::from_static("traceparent")).unwrap_or(None);
    let _place = intake.place_for_one()?;
    let body = read(headers, body, ways.body_time).await?;
    let asked = Asked { body: &body, caller, idempotency_key, traceparent };
    intake.place(&asked).await
}

async fn cancel(
    State((intake, ways)): State<Desk>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let saga = id.ok().and_then(|Path(id)| SagaId::parse(&id).ok());
    let Some(saga) = saga else { return refuse(problems::bad_id()) };
    match cancel_one(&intake, &ways, &saga, request).await {
        Ok(asked) => {
            let no_store = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
            (StatusCode::ACCEPTED, no_store, Json(asked)).into_response()
        }
        Err(problem) => refuse(problem),
    }
}

/// The body may say who asks, and why; one that says it in no way that can be read says nothing.
async fn cancel_one(
    intake: &Intake,
    ways: &Ways,
    saga: &SagaId,
    request: Request,
) -> Result<intake::Asked, Problem> {
    let (head, body) = request.into_parts();
    let headers = &head.headers;
    let caller = match &ways.caller_header {
        Some(name) => one(headers, name)?,
        None => None,
    };
    let traceparent = one(headers, &HeaderName::from_static("traceparent")).unwrap_or(None);
    let _place = intake.place_for_one()?;
    let body = read(headers, body, ways.body_time).await?;
    intake.cancel(saga, &said(&body, caller), traceparent).await
}

/// A problem, with what its status promises in headers.
fn refuse(problem: Problem) -> Response {
    let status = problem.status;
    let mut response = problem.into_response();
    let headers = response.headers_mut();
    if status == 415 {
        headers.insert("accept-post", HeaderValue::from_static("application/json"));
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    if status == 408 || status == 413 {
        // What is left of the body is not read.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn check_media(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = one(headers, &header::CONTENT_TYPE)?;
    if !kind.is_some_and(is_json) {
        return Err(problems::wrong_media("send an order with Content-Type: application/json"));
    }
    match one(headers, &header::CONTENT_ENCODING)? {
        Some(encoding) if !encoding.eq_ignore_ascii_case("identity") => Err(problems::compressed()),
        Some(_) | None => Ok(()),
    }
}

/// The one value of a header.
fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().map(HeaderValue::to_str).transpose();
    match (value, values.next()) {
        (Ok(value), None) => Ok(value),
        (Ok(_), Some(_)) => Err(problems::bad_request(format!("the header {name} is there twice"))),
        (Err(_), _) => {
            Err(problems::bad_request(format!("the header {name} is not printable ASCII")))
        }
    }
}

async fn read(headers: &HeaderMap, body: Body, time: Duration) -> Result<bytes::Bytes, Problem> {
    let large = || problems::too_large(format!("a body has at most {MAX_BODY_BYTES} bytes"));
    let told = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    if told
        .and_then(|length| length.parse().ok())
        .is_some_and(|length: u64| length > MAX_BODY_BYTES as u64)
    {
        return Err(large());
    }
    let collected = timeout(time, Limited::new(body, MAX_BODY_BYTES).collect()).await;
    match collected.map_err(|_| problems::too_slow())? {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(large()),
        Err(_) => Err(problems::bad_request("the body ended too early")),
    }
}
