//! The OpenAPI document of the HTTP side, made from the same tables that serve it.

mod acts;

use serde_json::{Map, Value, json};

use crate::operation::Operation;
use crate::question::Parameter;
use crate::verbs;
use crate::view::View;

/// What the stream of events takes.
pub(crate) const EVENTS: &[Parameter] = &[Parameter {
    name: "after",
    about: "The id of the last event that was seen, where no Last-Event-ID header can be sent",
    example: "4711",
}];

/// Of a list, and of what the search finds.
const ROWS: &str = "Rows as of `as_of`. The state of one that is open is parked, and its reason \
    why, where its next message was set aside and waits for a human: that is asked of the broker, \
    and if it does not answer within a second, the state stays open. `why` is there where the \
    question has `why`.";

const NOW: &str = "The broker's time, where the workers are asked: a message in hand whose \
    `next_try` is before it is tried once a call is free";
const TOOK: &str = "From its opening until its end, or until the newest event so far";
const AGE: &str = "From its opening until its end, or until now, as in lists; not with `at`";

/// OpenAPI 3.1.
pub(crate) fn document(view: &View, read_only: bool) -> Value {
    let mut paths = Map::new();
    for operation in Operation::ALL {
        let Some(path) = operation.path(view) else { continue };
        let parameters = operation.parameters(view);
        let parameters: Vec<_> =
            parameters.iter().map(|one| parameter(one, path.contains(&in_braces(one)))).collect();
        let mut get = json!({
            "operationId": operation.name(),
            "summary": operation.about(),
            "parameters": parameters,
            "responses": responses("application/json", &schema(operation, view)),
        });
        if operation.is_a_document() {
            get["responses"]["200"]["content"]["text/html"] = json!({
                "schema": { "type": "string", "description": "The page, for a browser" },
            });
        }
        paths.insert(path, json!({ "get": get }));
    }
    let stream = json!({
        "operationId": "events",
        "summary": "What happens, as server-sent events: transition, heartbeat, and resync where \
                    the reader's place is in another log or too far back. Each has a token as its \
                    id.",
        "parameters": EVENTS.iter().map(|one| parameter(one, false)).collect::<Vec<_>>(),
        "responses": responses("text/event-stream", &json!({ "type": "string" })),
    });
    paths.insert("/events".to_owned(), json!({ "get": stream }));
    for (path, summary) in [("/", "What there is"), ("/openapi.json", "This document")] {
        let get = json!({
            "summary": summary,
            "responses": responses("application/json", &json!({ "type": "object" })),
        });
        paths.insert(path.to_owned(), json!({ "get": get }));
    }
    for verb in view.verbs.iter().filter(|_| !read_only) {
        let path = verbs::path(view.many, verb);
        let item = paths.entry(path).or_insert_with(|| json!({}));
        item["post"] = acts::verb(verb);
    }
    paths.insert("/session".to_owned(), json!({ "post": acts::session() }));
    paths.insert("/assets/{version}/{file}".to_owned(), json!({ "get": acts::asset() }));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": format!("Quadrille: reads {}", view.many),
            "description": "Projections of the log. Every answer says by `as_of` which place of \
                            the log it is of; `min_seq` waits for a place.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": { "Problem": problem(), "AsOf": as_of() },
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn in_braces(parameter: &Parameter) -> String {
    format!("{{{}}}", parameter.name)
}

fn parameter(parameter: &Parameter, in_path: bool) -> Value {
    json!({
        "name": parameter.name,
        "in": if in_path { "path" } else { "query" },
        "required": in_path || parameter.name == "q",
        "description": parameter.about,
        "example": parameter.example,
        "schema": { "type": "string" },
    })
}

fn a_problem(about: &str) -> Value {
    let schema = json!({ "$ref": "#/components/schemas/Problem" });
    let content = json!({ "application/problem+json": { "schema": schema } });
    json!({ "description": about, "content": content })
}

fn responses(kind: &str, schema: &Value) -> Value {
    let problem = a_problem;
    let mut content = Map::new();
    content.insert(kind.to_owned(), json!({ "schema": schema }));
    json!({
        "200": { "description": "The answer", "content": content },
        "401": problem("The token is missing, and this address is not for this machine only"),
        "400": problem("A parameter does not exist, or cannot be used: the detail says which do"),
        "404": problem("Not in the log"),
        "410": problem("The token is of a log that is no longer there"),
        "503": problem("Not reached yet, being built, too slow, or no answer from the broker"),
        "default": problem("Anything else that went wrong"),
    })
}

fn schema(operation: Operation, view: &View) -> Value {
    let object = json!({ "type": "object" });
    let list = json!({ "type": "array", "items": object });
    let found = json!({ "type": "array", "items": object, "description": ROWS });
    let as_of = json!({ "$ref": "#/components/schemas/AsOf" });
    let nullable = json!({ "type": ["string", "null"] });
    let (required, properties) = match operation {
        Operation::List => (
            vec![view.many, "next", "as_of"],
            json!({ view.many: found, "next": nullable, "count": object, "asked": list,
                "not_named": { "type": "integer" }, "looked_at": object, "as_of": as_of,
                "now": { "type": "string", "format": "date-time", "description": NOW } }),
        ),
        Operation::Get => (
            vec!["id", "state", "events", "as_of"],
            json!({ "id": { "type": "string" }, "state": { "type": "string" }, "events": list,
                "took_ms": { "type": ["number", "null"], "description": TOOK },
                "age_ms": { "type": ["number", "null"], "description": AGE },
                "as_of": as_of }),
        ),
        Operation::Why => (
            vec!["id", "code", "sentence", "next", "do", "looked_at"],
            json!({ "id": { "type": "string" }, "code": { "type": "string" },
                "waits_for": { "type": ["object", "null"] }, "sentence": { "type": "string" },
                "next": { "type": "string" }, "do": { "type": "string" },
                "looked_at": { "type": "array", "items": { "type": "string" } } }),
        ),
        Operation::Payload => (
            vec!["subject", "sequence"],
            json!({ "subject": { "type": "string" }, "sequence": { "type": "integer" } }),
        ),
        Operation::Find => (
            vec!["found", "more", "as_of"],
            json!({ "found": found, "more": { "type": "boolean" }, "as_of": as_of }),
        ),
        Operation::Counts => (vec!["counts", "as_of"], json!({ "counts": list, "as_of": as_of })),
        Operation::Steps => (
            vec!["steps", "window_s", "as_of"],
            json!({ "steps": list, "window_s": { "type": "number" }, "as_of": as_of }),
        ),
        Operation::Flow => (
            vec!["opens", "turns", "steps", "arrows", "replicas", "services", "as_of"],
            json!({ "opens": object, "turns": object, "steps": list, "arrows": list,
                "replicas": list, "services": list, "as_of": as_of }),
        ),
        Operation::Held => (
            vec!["held", "not_named", "asked"],
            json!({ "held": list, "not_named": { "type": "integer" }, "asked": list }),
        ),
        Operation::Stock => (vec!["stock"], json!({ "stock": list })),
        Operation::Projections => (
            vec!["replica", "projections", "as_of"],
            json!({ "replica": { "type": "string" }, "projections": list, "as_of": as_of }),
        ),
        Operation::Changes | Operation::Rebuild => (vec![], json!({})),
    };
    json!({ "type": "object", "required": required, "properties": properties })
}

fn as_of() -> Value {
    json!({
        "type": "object",
        "description": "The place in the log that an answer is of.",
        "required": ["token", "sequence", "behind", "read_ms_ago"],
        "properties": {
            "token": { "type": ["string", "null"], "description": "For min_seq; opaque" },
            "sequence": { "type": ["integer", "null"] },
            "stored_at": { "type": ["string", "null"], "format": "date-time" },
            "behind": { "type": "integer", "description": "Messages of the log behind that place" },
            "read_ms_ago": { "type": "integer", "description": "Since the log was last read" },
        },
    })
}

fn problem() -> Value {
    json!({
        "type": "object",
        "description": "RFC 9457.",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": { "type": "string" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string" },
            "errors": { "type": "array", "items": { "type": "object" } },
        },
    })
}
