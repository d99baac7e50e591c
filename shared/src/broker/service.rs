//! Requests to the service endpoints of this process, and their answers.

use bytes::Bytes;
use tokio::sync::oneshot;

use super::Headers;

/// A request to a service endpoint of this process.
#[derive(Debug)]
pub struct Request {
    pub subject: String,
    pub payload: Bytes,
    /// All that can be read, with names in lower case.
    pub headers: Headers,
    pub(crate) respond: oneshot::Sender<Result<Bytes, Refused>>,
}

/// Which instances of a service answer a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    One,
    Each,
}

/// The error that a service answers with.
#[derive(Debug, Clone)]
pub struct ServiceError {
    /// As in HTTP: 400 for a bad request, 503 for "try again".
    pub code: u16,
    pub message: String,
}

/// An error, and the document that says more about it, which may be empty.
pub type Refused = (ServiceError, Bytes);

impl Request {
    /// Answers; that the caller no longer listens is no error.
    pub fn respond(self, answer: Result<Bytes, ServiceError>) {
        let _ = self.respond.send(answer.map_err(|error| (error, Bytes::new())));
    }

    /// As [`Request::respond`] with an error, and a payload that says more about it.
    pub fn refuse(self, error: ServiceError, document: impl Into<Bytes>) {
        let _ = self.respond.send(Err((error, document.into())));
    }
}
