//! Services over NATS in the form that stock tools discover (`nats micro ls`).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::service::endpoint::Endpoint;
use async_nats::service::error::Error as EndpointError;
use async_nats::service::{Request as Incoming, Service, ServiceExt};
use async_nats::{Client, HeaderMap, RequestErrorKind, StatusCode};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{FuturesUnordered, SelectAll, select_all};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};

use super::Names;
use super::api::ANSWER_TIME;
use super::ask::ask;
use super::connection::{Link, NatsOptions, Reading};
use crate::broker::{Answers, Headers, Refused, Request, ServiceError, Unavailable};

/// Requests read and not yet answered; further ones wait in the client.
const PENDING: usize = 256;

/// Before the next try to serve again.
const WAIT_MS: std::ops::RangeInclusive<u64> = 250..=1_000;

/// Headers of an answer that is an error.
const ERROR: &str = "Nats-Service-Error";
const ERROR_CODE: &str = "Nats-Service-Error-Code";

pub(super) async fn serve(
    options: &Arc<NatsOptions>,
    names: &Names,
    service: &str,
    (prefix, endpoints): (&str, &[&str]),
    answers: Answers,
) -> Result<mpsc::Receiver<Request>, Unavailable> {
    let endpoint = Endpoints {
        reading: Reading::new(options.clone(), format!("service {service}")),
        names: names.clone(),
        service: service.to_owned(),
        prefix: prefix.to_owned(),
        endpoints: endpoints.iter().map(|&endpoint| endpoint.to_owned()).collect(),
        answers,
    };
    let serving = endpoint.open().await?;
    let (requests, receiver) = mpsc::channel(PENDING);
    #[expect(
        clippy::disallowed_methods,
        reason = "it ends by itself when the receiver is dropped, and holds no work in hand"
    )]
    tokio::spawn(answer_all(endpoint, serving, requests));
    Ok(receiver)
}

/// What is served, on a connection of its own, because a request with headers that no client can
/// read ends the connection that it comes on. Such a request gets no answer.
struct Endpoints {
    reading: Reading,
    names: Names,
    service: String,
    prefix: String,
    endpoints: Vec<String>,
    answers: Answers,
}

/// Endpoints on the present connection.
struct Serving {
    link: Link,
    running: Service,
    incoming: SelectAll<Endpoint>,
}

impl Endpoints {
    async fn open(&self) -> Result<Serving, Unavailable> {
        let unavailable = |error: async_nats::Error| Unavailable(error.to_string());
        let link = self.reading.link().await?;
        let prefix = self.names.subject(&self.prefix);
        let description = format!("Quadrille: {prefix}.{{{}}}", self.endpoints.join(","));
        let metadata = HashMap::from([("quadrille.prefix".to_owned(), prefix.to_string())]);
        let builder = link.client.service_builder();
        let mut builder = builder.description(description).metadata(metadata);
        if let Answers::Each = self.answers {
            // The library knows no endpoint without a queue group, so each instance has one of its
            // own.
            builder = builder.queue_group(format!("{:032x}", fastrand::u128(..)));
        }
        let running = builder.start(&self.service, env!("CARGO_PKG_VERSION")).await;
        let running = running.map_err(unavailable)?;
        let group = running.group(prefix.as_ref());
        let mut incoming = Vec::new();
        for endpoint in &self.endpoints {
            let builder = group.endpoint_builder().name(endpoint.replace('.', "-"));
            incoming.push(builder.add(endpoint).await.map_err(unavailable)?);
        }
        Ok(Serving { link, running, incoming: select_all(incoming) })
    }

    async fn open_again(&self) -> Serving {
        loop {
            match self.open().await {
                Ok(serving) => return serving,
                Err(error) => {
                    tracing::warn!(%error, service = self.service, "is not served now");
                    sleep(Duration::from_millis(fastrand::u64(WAIT_MS))).await;
                }
            }
        }
    }
}

async fn answer_all(endpoints: Endpoints, mut serving: Serving, requests: mpsc::Sender<Request>) {
    let mut answers = FuturesUnordered::new();
    loop {
        let Serving { link, incoming, .. } = &mut serving;
        tokio::select! {
            () = requests.closed() => break,
            () = link.ended() => {
                let service = &endpoints.service;
                tracing::error!(
                    service,
                    "a request with headers that no client can read ended the connection of the \
                     service; it is opened again"
                );
                tokio::select! {
                    again = endpoints.open_again() => serving = again,
                    () = requests.closed() => return,
                }
            }
            Some(request) = incoming.next(), if answers.len() < PENDING => {
                let (respond, answer) = oneshot::channel();
                let subject = endpoints.names.usual(request.message.subject.to_string());
                let payload = request.message.payload.clone();
                let headers = headers(&request);
                // If nobody takes it, it is answered with "try again".
                let _ = requests.send(Request { subject, payload, headers, respond }).await;
                answers.push(respond_with(request, answer));
            }
            Some(()) = answers.next() => {}
        }
    }
    // From here on the broker sends requests to other replicas; those that are here already get
    // their answers.
    let Serving { running, mut incoming, .. } = serving;
    let _ = running.stop().await;
    while let Some(request) = incoming.next().await {
        answers.push(respond_with(request, oneshot::channel().1));
    }
    while answers.next().await.is_some() {}
}

fn headers(request: &Incoming) -> Headers {
    let pairs = request.message.headers.iter().flat_map(|headers| headers.iter());
    let pairs = pairs.flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
    pairs.map(|(name, value)| (name.to_string().to_lowercase(), value.to_string())).collect()
}

async fn respond_with(request: Incoming, answer: oneshot::Receiver<Result<Bytes, Refused>>) {
    let answer = answer.await.unwrap_or_else(|_| {
        let message = "the service is stopping".to_owned();
        Err((ServiceError { code: 503, message }, Bytes::new()))
    });
    let sent = match answer {
        Ok(payload) => request.respond(Ok(payload)).await,
        Err((ServiceError { code, message }, document)) if document.is_empty() => {
            let error = EndpointError { status: one_line(&message), code: code.into() };
            request.respond(Err(error)).await
        }
        // The library sends an error without a payload only, so its counters do not see this one.
        Err((error, document)) => {
            let mut headers = HeaderMap::new();
            headers.insert(ERROR, one_line(&error.message));
            headers.insert(ERROR_CODE, error.code.to_string());
            request.respond_with_headers(Ok(document), headers).await
        }
    };
    if let Err(error) = sent {
        tracing::warn!(%error, "an answer was not sent");
    }
}

/// Removes line breaks, because the text goes into a header, where one causes a panic.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

pub(super) async fn request(
    client: &Client,
    subject: &str,
    payload: Bytes,
) -> Result<Result<Bytes, ServiceError>, Unavailable> {
    let answer = command(client, subject, Headers::new(), payload).await?;
    Ok(answer.map_err(|(error, _)| error))
}

/// As [`request`], with headers, and with the document of an error.
pub(super) async fn command(
    client: &Client,
    subject: &str,
    headers: Headers,
    payload: Bytes,
) -> Result<Result<Bytes, Refused>, Unavailable> {
    let mut request = async_nats::Request::new().payload(payload);
    if !headers.is_empty() {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            // Otherwise a line break in it would panic.
            let value = value.parse::<async_nats::HeaderValue>();
            let value = value.map_err(|_| Unavailable(format!("{name} has a line break")))?;
            map.insert(name.as_str(), value);
        }
        request = request.headers(map);
    }
    let message = match ask(client, subject, request, ANSWER_TIME).await {
        None => return Err(Unavailable(format!("{subject} timed out"))),
        Some(Err(error)) if error.kind() == RequestErrorKind::NoResponders => {
            return Err(Unavailable(format!("nobody serves {subject}")));
        }
        Some(Err(error)) => return Err(Unavailable(format!("{subject}: {error}"))),
        Some(Ok(message)) => message,
    };
    let header = |name: &str| Some(message.headers.as_ref()?.get(name)?.as_str());
    let Some(code) = header(ERROR_CODE) else { return Ok(Ok(message.payload)) };
    let error = ServiceError {
        code: code.parse().unwrap_or(500),
        message: header(ERROR).unwrap_or_default().to_owned(),
    };
    Ok(Err((error, message.payload)))
}

pub(super) async fn ask_each(
    client: &Client,
    subject: &str,
    payload: Bytes,
    patience: Duration,
) -> Result<Vec<Bytes>, Unavailable> {
    let unavailable = |why: String| Unavailable(format!("{subject}: {why}"));
    let inbox = client.new_inbox();
    let heard = client.subscribe(inbox.clone()).await;
    let mut heard = heard.map_err(|error| unavailable(error.to_string()))?;
    let asked = client.publish_with_reply(subject.to_owned(), inbox, payload).await;
    asked.map_err(|error| unavailable(error.to_string()))?;
    let end = Instant::now() + patience;
    let mut answers = Vec::new();
    while let Ok(Some(message)) = timeout_at(end, heard.next()).await {
        if message.status == Some(StatusCode::NO_RESPONDERS) {
            break;
        }
        let is_error =
            message.headers.is_some_and(|all| all.get("Nats-Service-Error-Code").is_some());
        if !is_error {
            answers.push(message.payload);
        }
    }
    let _ = heard.unsubscribe().await;
    Ok(answers)
}
