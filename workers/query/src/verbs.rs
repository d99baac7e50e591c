//! What people may ask for: passed on to the worker that takes commands, whose answer comes back as
//! it is. This service itself still changes nothing.
//!
//! They go through here so that the page needs one origin only.

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use quadrille::SagaId;
use quadrille::service::problem::{self, Problem};
use serde_json::{Map, json};

use crate::access::Access;
use crate::api::Api;
use crate::question::bad;
use crate::view::Verb;

/// More than any command; the worker has a limit of its own.
const MOST: usize = 256 * 1024;
/// Passed on to the worker.
const HEADERS: [&str; 2] = ["idempotency-key", "traceparent"];

/// The path of a verb: `/orders`, `/orders/{id}/cancel`.
pub(crate) fn path(many: &str, verb: &Verb) -> String {
    match verb.of_one {
        None => format!("/{many}"),
        Some(_) => format!("/{many}/{{id}}/{}", verb.name),
    }
}

/// Asks the worker to do it.
pub(crate) async fn act(
    api: &Api,
    access: &Access,
    verb: &Verb,
    id: Option<&str>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    access.may_act(headers)?;
    let payload = match verb.of_one {
        Some(field) => of_one(field, id.unwrap_or_default())?,
        None => order(headers, body).await?,
    };
    let mut passed: Vec<(String, String)> = Vec::new();
    for name in HEADERS {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        passed.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    }
    let subject = format!("{}.{}", api.view.many, verb.name);
    let answer = api.broker.command(&subject, passed, payload).await;
    match answer {
        Ok(Ok(answer)) => Ok(json_response(StatusCode::OK, "application/json", answer)),
        Ok(Err((error, document))) if !document.is_empty() => {
            let status = StatusCode::from_u16(error.code).unwrap_or(StatusCode::BAD_GATEWAY);
            Ok(json_response(status, problem::CONTENT_TYPE, document))
        }
        Ok(Err((error, _))) => {
            Err(Problem::new(error.code, "refused", "the worker says no", error.message))
        }
        Err(why) => {
            let detail = format!(
                "{why}: it is not known whether that was done; the same request with the same \
                 Idempotency-Key does it once"
            );
            Err(Problem::new(503, "no-answer", "no answer", detail).retry_after(1))
        }
    }
}

fn of_one(field: &str, id: &str) -> Result<Bytes, Problem> {
    let saga = SagaId::parse(id);
    let saga = saga.map_err(|error| bad("id", &format!("is none: {error}"), Some("A123")))?;
    let payload = Map::from_iter([(field.to_owned(), json!(saga.as_str()))]);
    Ok(serde_json::Value::from(payload).to_string().into())
}

async fn order(headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    // A form of another site cannot send this type without asking first.
    let is_json = kind
        .and_then(|kind| kind.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
    if !is_json {
        let detail = "send it with Content-Type: application/json";
        return Err(Problem::new(415, "wrong-media-type", "not JSON", detail));
    }
    to_bytes(body, MOST).await.map_err(|_| {
        let detail = format!("a body has at most {MOST} bytes, and comes whole");
        Problem::new(413, "too-large", "the body cannot be read", detail)
    })
}

fn json_response(status: StatusCode, kind: &'static str, body: Bytes) -> Response {
    let mut response = (status, body).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
