//! What the HTTP service answers, as an OpenAPI 3.1 document for programs: made from the types that
//! read an order, so that it says what they do.

use quadrille::service::problem::CONTENT_TYPE;
use serde_json::{Map, Value, json};

use crate::order::{MAX_KEY_BYTES, PLACED, sample};

/// Each status of `POST /orders`, besides its success, and what it means.
const PLACE: &[(u16, &str)] = &[
    (400, "Not readable as an order: all mistakes, each with its JSON pointer"),
    (408, "The body did not arrive in time"),
    (
        409,
        "The id, or the Idempotency-Key, belongs to another order, which stands; or the id is \
           spent, and nothing was stored",
    ),
    (413, "Too large for an order"),
    (415, "Not application/json, or encoded"),
    (422, "Readable, and not a valid order: all mistakes, each with its JSON pointer"),
    (503, "Nothing was stored: the log is full, the broker is away, or too many commands at once"),
    (504, "It is not known whether the order is stored; `id` says under which id to ask again"),
];

const CANCEL: &[(u16, &str)] = &[
    (400, "No order's id"),
    (404, "There is no such order in the log"),
    (408, "The body did not arrive in time"),
    (409, "Too late, or another client has written into a slot of it; nothing was changed"),
    (413, "The body is too large"),
    (503, "Nothing was stored: the log is full, the broker is away, or too many commands at once"),
    (504, "It is not known whether the wish is stored; send it again"),
];

/// The document.
pub fn document() -> Value {
    let (order, mut schemas) = schemas();
    schemas.insert("Order".to_owned(), order);
    schemas.insert("CancelAsked".to_owned(), receipt("Of the wish, in the log"));
    schemas.insert("Placed".to_owned(), receipt("Of the order's first event in the log"));
    schemas.insert("Problem".to_owned(), problem());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Orders: commands",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Places and cancels orders. Every refusal is a problem document \
                (RFC 9457).",
        },
        "paths": {
            "/orders": { "post": place() },
            "/orders/{id}/cancel": { "post": cancel() },
            "/openapi.json": { "get": {
                "operationId": "document",
                "summary": "This document",
                "responses": { "200": {
                    "description": "OpenAPI 3.1",
                    "content": { "application/json": { "schema": { "type": "object" } } },
                } },
            } },
        },
        "components": { "schemas": schemas },
    })
}

fn place() -> Value {
    let mut responses = problems(PLACE);
    let stored = |what: &str| {
        let schema = json!({ "$ref": "#/components/schemas/Placed" });
        json!({ "description": what, "content": { "application/json": { "schema": schema } } })
    };
    responses.insert("201".to_owned(), stored("The order is in the log"));
    responses.insert("200".to_owned(), stored("The same order was in the log already"));
    json!({
        "operationId": "place",
        "summary": "Place an order",
        "description": "Without `order_id`, an Idempotency-Key makes a repeat safe: the same order \
            under the same key has the same answer. With neither, each call is a new order.",
        "parameters": [{
            "name": "Idempotency-Key",
            "in": "header",
            "description": "Chosen by the client, once for each order; without effect if the order \
                has an `order_id`",
            "schema": { "type": "string", "minLength": 1, "maxLength": MAX_KEY_BYTES,
                "pattern": "^[!-~]([ -~]*[!-~])?$" },
        }],
        "requestBody": {
            "required": true,
            "content": { "application/json": {
                "schema": { "$ref": "#/components/schemas/Order" },
                "example": sample(),
            } },
        },
        "responses": responses,
    })
}

fn cancel() -> Value {
    let mut responses = problems(CANCEL);
    let schema = json!({ "$ref": "#/components/schemas/CancelAsked" });
    responses.insert(
        "202".to_owned(),
        json!({
            "description": "The wish is in the log; the order's story says what becomes of it",
            "content": { "application/json": { "schema": schema } },
        }),
    );
    json!({
        "operationId": "cancel",
        "summary": "Cancel an order",
        "description": "Honoured until the order is with the carrier. May be sent again, and \
            before the order is placed: the wish waits 30 s for its order. The body may be empty, \
            or say who asks and why.",
        "requestBody": {
            "required": false,
            "content": { "application/json": { "schema": {
                "type": "object",
                "properties": { "by": { "type": "string" }, "reason": { "type": "string" } },
            } } },
        },
        "parameters": [{
            "name": "id",
            "in": "path",
            "required": true,
            "schema": { "$ref": "#/components/schemas/SagaId" },
        }],
        "responses": responses,
    })
}

fn problems(of: &[(u16, &str)]) -> Map<String, Value> {
    let one = |(status, what): &(u16, &str)| {
        let schema = json!({ "$ref": "#/components/schemas/Problem" });
        let mut response =
            json!({ "description": what, "content": { CONTENT_TYPE: { "schema": schema } } });
        if *status >= 503 {
            response["headers"] = json!({ "Retry-After": {
                "description": "Seconds", "schema": { "type": "integer", "minimum": 1 },
            } });
        }
        (status.to_string(), response)
    };
    of.iter().map(one).collect()
}

fn receipt(sequence: &str) -> Value {
    json!({
        "type": "object",
        "required": ["id", "sequence", "token"],
        "properties": {
            "id": { "$ref": "#/components/schemas/SagaId" },
            "sequence": { "type": "integer", "minimum": 1, "description": sequence },
            "token": { "type": "string", "pattern": "^[1-9a-f][0-9a-f]*-[1-9][0-9]*$",
                "description": "Opaque: `?min_seq=` of a read that must show this order" },
        },
    })
}

fn problem() -> Value {
    json!({
        "type": "object",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": { "type": "string", "pattern": "^urn:problem-type:quadrille:[a-z-]+$" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string", "description": "What happened, and what to do next" },
            "errors": { "type": "array", "minItems": 1, "items": {
                "type": "object",
                "required": ["pointer", "message"],
                "properties": {
                    "pointer": { "type": "string", "description": "RFC 6901" },
                    "message": { "type": "string" },
                    "example": { "description": "A value that would do" },
                },
            } },
            "id": { "type": "string", "description": "409, 504: the order's id" },
            "sequence": { "type": "integer", "description": "409: of the order that stands" },
        },
    })
}

/// The schema of an order, and those it refers to, as components of this document.
fn schemas() -> (Value, Map<String, Value>) {
    let mut order = PLACED.schema().to_value();
    let mut parts = Map::new();
    if let Some(schema) = order.as_object_mut() {
        schema.remove("$schema");
        if let Some(Value::Object(named)) = schema.remove("$defs") {
            parts = named;
        }
    }
    refer(&mut order);
    parts.values_mut().for_each(refer);
    (order, parts)
}

fn refer(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::String(name)) = members.get_mut("$ref") {
                *name = name.replace("#/$defs/", "#/components/schemas/");
            }
            members.values_mut().for_each(refer);
        }
        Value::Array(items) => items.iter_mut().for_each(refer),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
