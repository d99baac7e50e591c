//! The operations over HTTP, the page that shows them, and the commands that it passes on.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use quadrille::service::Stopping;
use quadrille::service::problem::Problem;

use crate::access::Access;
use crate::api::Api;
use crate::operation::Operation;
use crate::question::Question;
use crate::{changes, flow, openapi, page, verbs};

#[derive(Clone)]
struct Served {
    api: Arc<Api>,
    access: Arc<Access>,
    stopping: Stopping,
}

/// The routes of the operations, the stream of events, and the document that describes them.
pub(crate) fn router(api: Arc<Api>, access: Arc<Access>, stopping: Stopping) -> Router {
    let view = api.view;
    let served = Served { api, access, stopping };
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
    for verb in view.verbs {
        let act = move |State(served): State<Served>,
                        id: Option<Path<String>>,
                        request: Request| async move {
            let Served { api, access, .. } = served;
            let id = id.map(|Path(id)| id);
            let (head, body) = request.into_parts();
            verbs::act(&api, &access, verb, id.as_deref(), &head.headers, body).await
        };
        router = router.route(&verbs::path(view.many, verb), post(act));
    }
    router
        .route("/", get(async |State(served): State<Served>| Json(index(&served))))
        .route("/assets/{version}/{file}", get(page::asset))
        .route("/session", post(session))
        .route("/events", get(events))
        .route("/openapi.json", get(document))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(served.clone(), guard))
        .with_state(served)
}

/// Who may not read gets nothing but the page itself. Nothing of an answer may be kept, guessed or
/// framed, and every answer of the router's own is a problem document.
async fn guard(State(served): State<Served>, request: Request, next: Next) -> Response {
    let Served { api, access, .. } = served;
    let (method, path) = (request.method(), request.uri().path());
    let mut response = if page::is_wanted(method, path, request.headers(), api.view) {
        page::shell()
    } else if let Err(problem) = access.may_read(request.headers())
        && !path.starts_with("/assets/")
    {
        problem.into_response()
    } else {
        next.run(request).await
    };
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
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(page::POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    if response.status() == StatusCode::UNAUTHORIZED {
        let way = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, way);
    }
    response
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

/// Gives a browser that shows the token a cookie to read with, because an `EventSource` sends no
/// headers.
async fn session(State(served): State<Served>, headers: HeaderMap) -> Result<Response, Problem> {
    if !served.access.has_token(&headers) {
        let detail = "send Authorization: Bearer TOKEN";
        return Err(Problem::new(401, "no-token", "the token is missing", detail));
    }
    let cookie = [(header::SET_COOKIE, served.access.cookie())];
    Ok((StatusCode::NO_CONTENT, cookie).into_response())
}

async fn document(State(served): State<Served>) -> Response {
    Json(openapi::document(served.api.view, served.access.read_only)).into_response()
}

fn index(served: &Served) -> serde_json::Value {
    let Served { api, access, .. } = served;
    let view = api.view;
    let paths = Operation::ALL.iter().filter_map(|operation| {
        Some(serde_json::json!({ "path": operation.path(view)?, "about": operation.about() }))
    });
    let filters = Operation::List.parameters(view).into_iter().map(
        |one| serde_json::json!({ "name": one.name, "about": one.about, "example": one.example }),
    );
    let verbs = view.verbs.iter().filter(|_| !access.read_only).map(|verb| {
        serde_json::json!({
            "name": verb.name,
            "about": verb.about,
            "of_one": verb.of_one,
            "path": verbs::path(view.many, verb),
            "sample": verb.sample,
        })
    });
    serde_json::json!({
        "about": format!("Reads {}; /openapi.json describes it", view.many),
        "many": view.many,
        "saga": api.flow.saga,
        "stock": view.stock,
        "flow": flow::table(api.flow),
        "paths": paths.collect::<Vec<_>>(),
        "filters": filters.collect::<Vec<_>>(),
        "verbs": verbs.collect::<Vec<_>>(),
        "page": *page::VERSION,
        "as_of": api.as_of(api.projection.status().as_of),
    })
}

async fn not_found(uri: Uri) -> Problem {
    let shown: String = uri.path().chars().filter(|c| !c.is_control()).take(100).collect();
    let detail = format!("there is nothing at {shown}; /openapi.json says what there is");
    Problem::new(404, "no-such-path", "no such path", detail)
}

async fn method_not_allowed(State(served): State<Served>, method: Method, uri: Uri) -> Response {
    let Served { api, access, .. } = served;
    let is_at = |path: &str| {
        let same = |(known, given): (&str, &str)| known == given || known.starts_with('{');
        let (known, given) = (path.split('/'), uri.path().split('/'));
        known.clone().count() == given.clone().count() && known.zip(given).all(same)
    };
    let mut verbs = api.view.verbs.iter().map(|verb| verbs::path(api.view.many, verb));
    let acts = is_at("/session") || (!access.read_only && verbs.any(|path| is_at(&path)));
    let paths = Operation::ALL.iter().filter_map(|one| one.path(api.view));
    let reads = paths.into_iter().any(|path| is_at(&path));
    let allowed = match (reads, acts) {
        (true, true) => "GET,HEAD,POST",
        (false, true) => "POST",
        (_, false) => "GET,HEAD",
    };
    let detail = format!("{method} is not answered here; {allowed} is");
    let problem = Problem::new(405, "method-not-allowed", "method not allowed", detail);
    let mut response = problem.into_response();
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}
