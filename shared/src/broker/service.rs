//! Requests to the service endpoints of this process, and their answers.

use bytes::Bytes;

/// A request to a service endpoint of this process.
#[derive(Debug)]
pub struct Request {
    pub subject: String,
    pub payload: Bytes,
    pub(crate) respond: tokio::sync::oneshot::Sender<Result<Bytes, ServiceError>>,
}

/// The error that a service answers with.
#[derive(Debug, Clone)]
pub struct ServiceError {
    /// As in HTTP: 400 for a bad request, 503 for "try again".
    pub code: u16,
    pub message: String,
}

impl Request {
    /// Answers; that the caller no longer listens is no error.
    pub fn respond(self, answer: Result<Bytes, ServiceError>) {
        let _ = self.respond.send(answer);
    }
}
