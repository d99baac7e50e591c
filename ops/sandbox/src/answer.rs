//! The answer to a request: a status and a JSON body, kept as text because a saved answer is
//! replayed byte for byte. `Severed` means no answer: the connection closes.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use crate::operation::Service;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Arc<RawValue>,
}

impl Answer {
    pub(crate) fn new(status: u16, body: &impl Serialize) -> Self {
        let body = to_raw_value(body).expect("our bodies have string keys and no failing fields");
        Self { status, body: body.into() }
    }

    /// A failure of the service itself, in the error shape of that service.
    pub(crate) fn failure(service: Service, status: u16, code: &str, message: &str) -> Self {
        let body = match service {
            Service::Payment => {
                let kind = if status == 429 { "rate_limit_error" } else { "api_error" };
                json!({"error": {"type": kind, "code": code, "message": message}})
            }
            Service::Carrier | Service::Quote => {
                json!({"error": {"code": code, "message": message}})
            }
        };
        Self::new(status, &body)
    }

    /// A request to the paths for tests (`/ledger`, `/faults`) that makes no sense.
    pub(crate) fn bad_control(message: &str) -> Self {
        Self::new(400, &json!({"error": {"message": message}}))
    }

    /// A request with this key is being executed right now.
    pub(crate) fn key_in_use(service: Service) -> Self {
        let message = "another request with this key is still executing";
        let body = match service {
            Service::Payment => json!({"error": {
                "type": "idempotency_error", "code": "idempotency_key_in_use", "message": message
            }}),
            Service::Carrier | Service::Quote => {
                json!({"error": {"code": "key_in_use", "message": message}})
            }
        };
        Self::new(409, &body)
    }

    /// The key belongs to a request with another path or other parameters.
    pub(crate) fn key_reused(service: Service) -> Self {
        let message = "this key was first used with another path or other parameters";
        match service {
            Service::Payment => {
                let body = json!({"error": {"type": "idempotency_error", "message": message}});
                Self::new(400, &body)
            }
            Service::Carrier | Service::Quote => {
                Self::new(409, &json!({"error": {"code": "key_reused", "message": message}}))
            }
        }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body.get().to_owned()));
        *response.status_mut() =
            StatusCode::from_u16(self.status).expect("statuses are ours or validated as 400-599");
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response
    }
}

/// Marks a response that must never be written; the server closes its connection instead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Severed;

#[derive(Debug)]
pub(crate) enum Reply {
    Fresh(Answer),
    Replayed(Answer),
    RetryAfter(Answer, u64),
    /// Not the service's: a proxy's before it, in HTML.
    Page(u16),
    Severed,
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        match self {
            Self::Fresh(answer) => answer.into_response(),
            Self::Replayed(answer) => {
                let mut response = answer.into_response();
                let yes = HeaderValue::from_static("true");
                response.headers_mut().insert("idempotent-replayed", yes);
                response
            }
            Self::RetryAfter(answer, seconds) => {
                let mut response = answer.into_response();
                response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
                response
            }
            Self::Page(status) => {
                let status = StatusCode::from_u16(status).expect("validated as 400-599");
                let page = format!("<html><head><title>{status}</title></head></html>\r\n");
                let mut response = Response::new(Body::from(page));
                *response.status_mut() = status;
                let html = HeaderValue::from_static("text/html");
                response.headers_mut().insert(header::CONTENT_TYPE, html);
                response
            }
            Self::Severed => {
                let mut response = Response::new(Body::empty());
                response.extensions_mut().insert(Severed);
                response
            }
        }
    }
}
