//! The operations over HTTP. It only reads, so it is open to whoever reaches its address, which is
//! on this machine unless the settings say otherwise.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use quadrille::service::Stopping;
use quadrille::service::problem::Problem;

use crate::api::Api;
use crate::operation::Operation;
use crate::question::Question;
use crate::{changes, openapi};

#[derive(Clone)]
struct Served {
    api: Arc<Api>,
    stopping: Stopping,
}

/// The routes of the operations, the stream of events, and the document that describes them.
pub(crate) fn router(api: Arc<Api>, stopping: Stopping) -> Router {
    let view = api.view;
    let mut router = Router::new();
    for operation in Operation::ALL {
        let Some(path) = operation.path(view) else { continue };
        let answer = move |State(served): State<Served>,
                           path: Option<Path<Vec<(String, String)>>>,
                           RawQuery(query): RawQuery| async move {
            let parameters = path.map(|Path(parameters)| parameters).unwrap_or_default();
            answer(&served.api, operation, parameters, query.as_deref()).await
        };
        router = router.route(&path, get(answer));
    }
    router
        .route("/", get(async |State(served): State<Served>| Json(index(&served.api))))
        .route("/events", get(events))
        .route("/openapi.json", get(document))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(api.clone(), guard))
        .with_state(Served { api, stopping })
}

/// Nothing of an answer may be kept, guessed or framed, and every answer of the router's own is a
/// problem document.
async fn guard(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    if api.settings.listen.ip().is_loopback() && !is_of_this_machine(request.headers()) {
        let detail = "this address answers for localhost and 127.0.0.1 only, because a page of \
                      another site could read it under a name of its own";
        return Problem::new(421, "other-host", "not this host", detail).into_response();
    }
    let mut response = next.run(request).await;
    if response.status() == StatusCode::BAD_REQUEST
        && response
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind == "text/plain; charset=utf-8")
    {
        let detail = "the path is not UTF-8 once its percent signs are decoded";
        response =
            Problem::new(400, "unreadable", "the request cannot be read", detail).into_response();
    }
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A request without the header is no browser's.
fn is_of_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let host = host.to_str().unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, port)| {
        if port.bytes().all(|b| b.is_ascii_digit()) { name } else { host }
    });
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let address = name.parse::<std::net::IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

async fn answer(
    api: &Api,
    operation: Operation,
    path: Vec<(String, String)>,
    query: Option<&str>,
) -> Result<Response, Problem> {
    let mut known = operation.parameters(api.view);
    known.retain(|parameter| !path.iter().any(|(name, _)| name == parameter.name));
    let mut question = Question::from_query(query.unwrap_or_default(), &known)?;
    for (name, value) in path {
        question.set(&name, &value);
    }
    Ok(Json(api.answer(operation, &question).await?).into_response())
}

async fn events(
    State(served): State<Served>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let question = Question::from_query(query.as_deref().unwrap_or_default(), openapi::EVENTS)?;
    let header = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let last = header.filter(|text| !text.is_empty()).or(question.text("after"));
    let body = changes::stream(served.api, last.map(str::to_owned), served.stopping).await?;
    let kind = HeaderValue::from_static("text/event-stream");
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    // A proxy that gathers answers would hold the events back.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

async fn document(State(served): State<Served>) -> Response {
    Json(openapi::document(served.api.view)).into_response()
}

fn index(api: &Api) -> serde_json::Value {
    let paths = Operation::ALL.iter().filter_map(|operation| {
        Some(serde_json::json!({ "path": operation.path(api.view)?, "about": operation.about() }))
    });
    serde_json::json!({
        "about": format!("Reads {}; /openapi.json describes it", api.view.many),
        "paths": paths.collect::<Vec<_>>(),
        "as_of": api.as_of(api.projection.status().as_of),
    })
}

async fn not_found(uri: Uri) -> Problem {
    let shown: String = uri.path().chars().filter(|c| !c.is_control()).take(100).collect();
    let detail = format!("there is nothing at {shown}; /openapi.json says what there is");
    Problem::new(404, "no-such-path", "no such path", detail)
}

async fn method_not_allowed(method: Method) -> Response {
    let detail = format!("{method} is not answered here: this service only reads, with GET");
    let problem = Problem::new(405, "method-not-allowed", "method not allowed", detail);
    let mut response = problem.into_response();
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET,HEAD"));
    response
}
