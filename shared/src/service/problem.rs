//! What went wrong, as a document for programs and people: RFC 9457, `application/problem+json`.
//!
//! The same document goes over HTTP and, beside the headers of a micro service's error, over NATS.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};

/// The content type of the document.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// What went wrong with one request.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Problem {
    /// Identifies the kind of problem: `urn:problem-type:quadrille:log-full`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words, the same each time.
    pub title: &'static str,
    /// As in HTTP.
    pub status: u16,
    /// What happened this time, and what to do next.
    pub detail: String,
    /// Each mistake in what was sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Mistake>,
    /// More members, each documented where it is made.
    #[serde(flatten)]
    pub more: Box<Map<String, Value>>,
    /// Seconds after which the same request may succeed.
    #[serde(skip)]
    pub retry_after: Option<u32>,
}

/// One mistake in what was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mistake {
    /// RFC 6901; empty for the whole document.
    pub pointer: String,
    /// What the field must be, in its own words.
    pub message: String,
    /// A value that would do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub example: Option<Value>,
}

impl Problem {
    /// `kind` is lower case with dashes, and the last part of [`Problem::kind`].
    pub fn new(status: u16, kind: &str, title: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:problem-type:quadrille:{kind}"),
            title,
            status,
            detail: detail.into(),
            errors: Vec::new(),
            more: Box::default(),
            retry_after: None,
        }
    }

    /// With one more member.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.to_owned(), value.into());
        self
    }

    /// Worth another try after so many seconds.
    #[must_use]
    pub fn retry_after(self, seconds: u32) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// The document.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and numbers always serialise")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let kind = HeaderValue::from_static(CONTENT_TYPE);
        let mut response = (status, self.to_json()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, kind);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
