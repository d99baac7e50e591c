//! Commands over NATS: the micro service `orders`, found by `nats micro ls` and called by
//! `nats req orders.place '{…}'`.
//!
//! An error has the headers of a micro service's error, and the problem document as its payload.

use std::sync::Arc;

use quadrille::SagaId;
use quadrille::broker::{Request, ServiceError};
use quadrille::event::runtime::CancelRequested;
use quadrille::ids::is_printable;
use quadrille::service::problem::Problem;
use quadrille::service::{Stopping, answered};
use serde::Deserialize;
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinSet;

use crate::intake::Intake;
use crate::order::{Asked, MAX_BODY_BYTES, NOBODY};
use crate::{NAME, problems};

pub(crate) const SERVICE: &str = "orders";
/// The log takes subjects of three parts, so it does not store `orders.place`.
pub(crate) const PREFIX: &str = "orders";
pub(crate) const ENDPOINTS: &[&str] = &["place", "cancel"];

/// Answers until the process is to stop, then answers what has arrived.
pub(crate) async fn serve(
    mut requests: Receiver<Request>,
    intake: Arc<Intake>,
    mut stopping: Stopping,
) {
    let mut answers = JoinSet::new();
    let mut asked = stopping.clone();
    loop {
        tokio::select! {
            request = requests.recv() => match request {
                Some(request) => {
                    let intake = intake.clone();
                    answers.spawn(async move { answer(request, &intake).await });
                }
                None => break,
            },
            Some(_) = answers.join_next() => {}
            () = asked.asked() => requests.close(),
        }
        if requests.is_closed() && requests.is_empty() {
            break;
        }
    }
    let finished = async { while answers.join_next().await.is_some() {} };
    tokio::select! {
        () = finished => {}
        () = stopping.let_go() => {}
    }
}

async fn answer(request: Request, intake: &Intake) {
    let answer = match request.subject.rsplit('.').next() {
        Some("place") => place(&request, intake).await,
        _ => cancel(&request, intake).await,
    };
    match answer {
        Ok(placed) => {
            answered(NAME, "nats", 200);
            request.respond(Ok(placed.into()));
        }
        Err(problem) => {
            answered(NAME, "nats", problem.status);
            let message = format!("{}: {}", problem.title, problem.detail);
            request.refuse(ServiceError { code: problem.status, message }, problem.to_json());
        }
    }
}

async fn place(request: &Request, intake: &Intake) -> Result<Vec<u8>, Problem> {
    let _place = intake.place_for_one()?;
    let body = &*request.payload;
    if header(request, "content-type")?.is_some_and(|kind| !is_json(kind)) {
        return Err(problems::wrong_media("send an order as application/json"));
    }
    if header(request, "content-encoding")?.is_some() {
        return Err(problems::compressed());
    }
    if body.len() > MAX_BODY_BYTES {
        return Err(problems::too_large(format!("a request has at most {MAX_BODY_BYTES} bytes")));
    }
    let asked = Asked {
        body,
        // Any client of the broker could name any caller.
        caller: NOBODY,
        idempotency_key: header(request, "idempotency-key")?,
        traceparent: header(request, "traceparent")?,
    };
    let placed = intake.place(&asked).await?;
    Ok(serde_json::to_vec(&placed).expect("texts and numbers always serialise"))
}

async fn cancel(request: &Request, intake: &Intake) -> Result<Vec<u8>, Problem> {
    #[derive(Deserialize)]
    struct Named {
        order_id: SagaId,
    }
    let _place = intake.place_for_one()?;
    let named: Named = serde_json::from_slice(&request.payload).map_err(|_| {
        problems::bad_request(r#"must be {"order_id": …}, whose id is 1 to 64 of A-Z a-z 0-9 _ -"#)
    })?;
    let asked = said(&request.payload, None);
    let traceparent = header(request, "traceparent").unwrap_or(None);
    let asked = intake.cancel(&named.order_id, &asked, traceparent).await?;
    Ok(serde_json::to_vec(&asked).expect("texts and numbers always serialise"))
}

/// Longest text that a wish repeats, in characters.
const MAX_SAID: usize = 200;

/// Who asks for a cancellation, and why. It may say anything, or nothing.
pub(crate) fn said(body: &[u8], caller: Option<&str>) -> CancelRequested {
    let CancelRequested { by, reason } = serde_json::from_slice(body).unwrap_or_default();
    let short =
        |text: &str| text.chars().filter(|c| is_printable(*c)).take(MAX_SAID).collect::<String>();
    CancelRequested { by: short(caller.unwrap_or(&by)), reason: short(&reason) }
}

/// The one value of a header.
fn header<'r>(request: &'r Request, name: &str) -> Result<Option<&'r str>, Problem> {
    let mut values = request.headers.iter().filter(|(key, _)| key == name);
    let value = values.next().map(|(_, value)| value.trim());
    match values.next() {
        Some(_) => Err(problems::bad_request(format!("the header {name} is there twice"))),
        None => Ok(value),
    }
}

/// Whether a content type is JSON in UTF-8.
pub(crate) fn is_json(kind: &str) -> bool {
    let mut parts = kind.split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    let is_utf8 = |part: &str| {
        part.is_empty()
            || part.split_once('=').is_some_and(|(name, value)| {
                !name.eq_ignore_ascii_case("charset")
                    || value.trim_matches('"').eq_ignore_ascii_case("utf-8")
            })
    };
    is_json && parts.all(is_utf8)
}
