//! What is not an operation on rows: commands that are passed on, and what the page is made of.

use serde_json::{Value, json};

use super::a_problem;
use crate::view::Verb;

/// A command, which another worker answers.
pub(super) fn verb(verb: &Verb) -> Value {
    let object = json!({ "schema": { "type": "object" } });
    let mut post = json!({
        "operationId": verb.name,
        "summary": verb.about,
        "description": "Passed on to the worker that takes commands; its answer comes back as it \
                        is.",
        "security": [{ "token": [] }],
        "parameters": [{
            "name": "Idempotency-Key",
            "in": "header",
            "description": "The same key and body get the same answer, and are done once",
            "schema": { "type": "string" },
        }],
        "responses": {
            "200": { "description": "Done", "content": { "application/json": object } },
            "400": a_problem("It cannot be read: each mistake with its pointer"),
            "401": a_problem("The token is missing"),
            "403": a_problem("This service only reads, or a page of another site asked"),
            "404": a_problem("There is none"),
            "409": a_problem("Another one has this id, or it is too late"),
            "413": a_problem("Too large"),
            "415": a_problem("Not JSON"),
            "422": a_problem("Not valid: each mistake with its pointer"),
            "501": a_problem("The worker cannot do that yet"),
            "503": a_problem("The worker or the broker gives no answer, or is full"),
            "504": a_problem("It is not known whether it was done: ask again with the same key"),
            "default": a_problem("Anything else that went wrong"),
        },
    });
    match verb.of_one {
        None => {
            post["requestBody"] = json!({
                "required": true, "content": { "application/json": object },
            })
        }
        Some(_) => {
            let id = json!({ "name": "id", "in": "path", "required": true, "description": "Its id",
                "example": "A123", "schema": { "type": "string" } });
            if let Some(parameters) = post["parameters"].as_array_mut() {
                parameters.push(id);
            }
        }
    }
    post
}

/// A cookie to read with.
pub(super) fn session() -> Value {
    json!({
        "operationId": "session",
        "summary": "A cookie to read with, for a browser that shows the token",
        "security": [{ "token": [] }],
        "responses": {
            "204": { "description": "The cookie is set" },
            "401": a_problem("The token is missing"),
            "default": a_problem("Anything else that went wrong"),
        },
    })
}

/// A file of the page.
pub(super) fn asset() -> Value {
    let required = json!({ "in": "path", "required": true, "schema": { "type": "string" } });
    let parameter = |name: &str| {
        let mut parameter = required.clone();
        parameter["name"] = name.into();
        parameter
    };
    let text = json!({ "schema": { "type": "string" } });
    json!({
        "summary": "A file of the page, under a name that its content gives it",
        "parameters": [parameter("version"), parameter("file")],
        "responses": {
            "200": { "description": "The file", "content": {
                "text/javascript": text, "text/css": text, "image/svg+xml": text,
            } },
            "404": a_problem("The page is of another version"),
            "default": a_problem("Anything else that went wrong"),
        },
    })
}
