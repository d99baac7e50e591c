//! A small HTTP client for the adapters of outside services: pooled connections, one deadline over
//! the whole exchange, and errors that say whether anything was sent.
//!
//! It never repeats a request that may have arrived, and never follows a redirect. There is only
//! one retry: the runtime tries the step's message again, with the same idempotency key.

mod answer;
mod form;
mod settings;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Method, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client as Pool, ResponseFuture, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::{Deserialize, Serialize, Serializer};
use tokio::time::{Instant, timeout_at};

use crate::step::NotSent;

use form::form;

pub use answer::Answer;
pub use form::encode;
pub use settings::{BadSettings, given};

/// Largest answer that is read: 1 MB, far above any that a gateway gives.
const MAX_BODY: usize = 1 << 20;
/// Connections kept open: more than a replica has calls in flight.
const IDLE_CONNECTIONS: usize = 64;
/// Below the 60 s after which common load balancers close an idle connection.
const IDLE_FOR: Duration = Duration::from_secs(50);

/// A secret that appears only in the request.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Serialize for Secret {
    /// As `***`, because what is written of a setting is for people.
    fn serialize<S: Serializer>(&self, writer: S) -> Result<S::Ok, S::Error> {
        writer.serialize_str("***")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing can have happened, because there was no connection, or no time left.
    #[error("the request was not made")]
    NothingSent(#[source] NotSent),
    /// The request may have been carried out: send it again with the same key.
    #[error("the service may or may not have done it")]
    OutcomeUnknown(#[source] NoAnswer),
    /// The service says that it failed, or that this is not the time.
    #[error("the service answers {0}")]
    Failed(StatusCode),
    /// The service answered, but its answer cannot be read.
    #[error("the service answers {0}, which cannot be read")]
    Unreadable(StatusCode, #[source] Box<dyn std::error::Error + Send + Sync>),
}

/// How an answer was missed after the request was on its way.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    #[error("{host} gave no answer within {limit:?}, the setting `timeout` of this service")]
    Timeout { host: String, limit: Duration },
    #[error("{host} gave no answer before the deadline of this attempt, `worker.deadline`")]
    Deadline { host: String },
    #[error("the connection to {host} was lost")]
    Lost {
        host: String,
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What a request carries.
#[derive(Debug, Clone)]
pub enum Body<'a> {
    Nothing,
    /// Names and values, in any characters.
    Form(&'a [(&'a str, &'a str)]),
    Json(serde_json::Value),
}

/// One service, below one base URL.
pub struct Client {
    base: String,
    /// With its port, for errors.
    host: String,
    secret: Option<HeaderValue>,
    /// Sent with each request.
    header: Option<(HeaderName, HeaderValue)>,
    timeout: Duration,
    pool: Connections,
}

/// Kept-alive connections; TLS, and the machine's root certificates, only where they are needed.
enum Connections {
    Plain(Pool<HttpConnector, Full<Bytes>>),
    Tls(Pool<HttpsConnector<HttpConnector>, Full<Bytes>>),
}

impl Client {
    /// `base` may end in a slash; no call takes longer than `timeout`.
    ///
    /// # Errors
    /// [`BadSettings`], at start and not at the first request. Root certificates are read for an
    /// `https` base only.
    pub fn new(base: &str, secret: Option<Secret>, timeout: Duration) -> Result<Self, BadSettings> {
        let uri: Uri = base.parse().map_err(|_| BadSettings::Url)?;
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        // Shorter than the whole, so that a connection that was never made is not mistaken for a
        // lost answer.
        tcp.set_connect_timeout(Some(timeout / 2));
        let mut pool = Pool::builder(TokioExecutor::new());
        pool.pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_FOR)
            .pool_max_idle_per_host(IDLE_CONNECTIONS);
        let pool = match uri.scheme_str() {
            Some("http") => Connections::Plain(pool.build(tcp)),
            Some("https") => {
                let tls = HttpsConnectorBuilder::new().with_native_roots();
                let tls = tls.map_err(BadSettings::Certificates)?.https_only().enable_http1();
                Connections::Tls(pool.build(tls.wrap_connector(tcp)))
            }
            Some(_) | None => return Err(BadSettings::Url),
        };
        let host = uri.authority().ok_or(BadSettings::Url)?;
        let host = host.as_str().rsplit('@').next().unwrap_or_default().to_owned();
        let base = base.trim_end_matches('/').to_owned();
        let secret = secret.map(bearer).transpose()?;
        Ok(Self { base, host, secret, header: None, timeout, pool })
    }

    /// The same, with a header on each request: the version of the API that the adapter was written
    /// for.
    #[must_use]
    pub fn with_header(self, name: &'static str, value: &'static str) -> Self {
        let header = (HeaderName::from_static(name), HeaderValue::from_static(value));
        Self { header: Some(header), ..self }
    }

    /// Reads; `path` begins with a slash, and its query is already encoded ([`encode`]).
    ///
    /// # Errors
    /// As [`Client::post`].
    pub async fn get(&self, path: &str, deadline: Instant) -> Result<Answer, Error> {
        self.call(Method::GET, path, &Body::Nothing, None, deadline).await
    }

    /// Asks for a change, with an idempotency key of visible ASCII.
    ///
    /// # Errors
    /// [`Error`] when there is no whole answer by `deadline`. Any status is an answer.
    pub async fn post(
        &self,
        path: &str,
        body: &Body<'_>,
        key: &str,
        deadline: Instant,
    ) -> Result<Answer, Error> {
        self.call(Method::POST, path, body, Some(key), deadline).await
    }

    /// Sets what is below `path` to `body`; no key, because setting it twice is setting it once.
    ///
    /// # Errors
    /// As [`Client::post`].
    pub async fn put(
        &self,
        path: &str,
        body: &Body<'_>,
        deadline: Instant,
    ) -> Result<Answer, Error> {
        self.call(Method::PUT, path, body, None, deadline).await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: &Body<'_>,
        key: Option<&str>,
        deadline: Instant,
    ) -> Result<Answer, Error> {
        let request = self.request(method, path, body, key);
        let request = request.map_err(|bad| self.nothing_sent(bad))?;
        let now = Instant::now();
        if deadline <= now {
            // A process that was suspended for a day must not act on what it looked up before.
            return Err(self.nothing_sent("the deadline of this attempt has passed"));
        }
        let own = now + self.timeout;
        match timeout_at(deadline.min(own), self.exchange(request)).await {
            Ok(answer) => answer,
            Err(_) => {
                let (host, limit) = (self.host.clone(), self.timeout);
                Err(Error::OutcomeUnknown(match own <= deadline {
                    true => NoAnswer::Timeout { host, limit },
                    false => NoAnswer::Deadline { host },
                }))
            }
        }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: &Body<'_>,
        key: Option<&str>,
    ) -> Result<hyper::Request<Full<Bytes>>, hyper::http::Error> {
        let mut request = hyper::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("accept", "application/json");
        if let Some(secret) = &self.secret {
            request = request.header(AUTHORIZATION, secret);
        }
        if let Some((name, value)) = &self.header {
            request = request.header(name, value);
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        match body {
            Body::Nothing => request.body(Full::default()),
            Body::Form(fields) => request
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(Full::from(form(fields))),
            Body::Json(value) => {
                request.header(CONTENT_TYPE, "application/json").body(Full::from(value.to_string()))
            }
        }
    }

    fn nothing_sent(&self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::NothingSent(NotSent::new(self.host.clone(), cause))
    }

    async fn exchange(&self, request: hyper::Request<Full<Bytes>>) -> Result<Answer, Error> {
        let response =
            self.pool.request(request).await.map_err(|error| match error.is_connect() {
                true => self.nothing_sent(error),
                false => {
                    let host = self.host.clone();
                    Error::OutcomeUnknown(NoAnswer::Lost { host, cause: error.into() })
                }
            })?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await;
        let body = body.map_err(|error| Error::Unreadable(head.status, error))?.to_bytes();
        Ok(Answer::new(head.status, &head.headers, body))
    }
}

impl Connections {
    fn request(&self, request: hyper::Request<Full<Bytes>>) -> ResponseFuture {
        match self {
            Self::Plain(pool) => pool.request(request),
            Self::Tls(pool) => pool.request(request),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { base, timeout, .. } = self;
        f.debug_struct("Client").field("base", base).field("timeout", timeout).finish()
    }
}

fn bearer(secret: Secret) -> Result<HeaderValue, BadSettings> {
    let value = HeaderValue::try_from(format!("Bearer {}", secret.0));
    let mut value = value.map_err(|_| BadSettings::Secret)?;
    value.set_sensitive(true);
    Ok(value)
}
