//! The carrier over HTTP and JSON.

use quadrille::IdempotencyKey;
use quadrille::http::{self, BadSettings, Body, Client, encode, given};
use quadrille::ids::{Reference, shown};
use quadrille::step::StepError;
use schemas::order_fulfilment::events::Destination;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Answer, Carrier, Parcel};
use crate::Settings;
use crate::quotes::Rate;

/// Speaks to the carrier of [`Settings::url`].
#[derive(Debug)]
pub struct HttpCarrier {
    client: Client,
}

impl HttpCarrier {
    /// # Errors
    /// [`BadSettings`] when no request could ever be made with them.
    pub fn new(settings: &Settings) -> Result<Self, BadSettings> {
        let secret = settings.secret.clone();
        let url = given("ship-order.url", &settings.url)?;
        Ok(Self { client: Client::new(url, secret, settings.timeout)? })
    }

    /// A key which comes with other parameters: the rate may be another one than that of the first
    /// attempt, and neither this nor a change of the adapter may buy a second label.
    async fn reused(
        &self,
        parcel: &Parcel<'_>,
        key: IdempotencyKey,
        reused: &http::Answer,
        deadline: Instant,
    ) -> Result<Answer, StepError> {
        // The first request ended meanwhile and decided nothing: the key is free again.
        let free = || StepError::try_again(http::Error::Failed(reused.status));
        self.decided(parcel, key, deadline).await?.ok_or_else(free)
    }
}

impl Carrier for HttpCarrier {
    async fn label(
        &self,
        parcel: &Parcel<'_>,
        rate: &Rate,
        key: IdempotencyKey,
        deadline: Instant,
    ) -> Result<Answer, StepError> {
        let mut body = json!({
            "reference": parcel.order,
            "ship_to": parcel.ship_to,
            "items": parcel.pieces,
        });
        if let Rate::Quoted(quote) = rate {
            body["rate"] = json!(quote);
        }
        let body = Body::Json(body);
        let answer = self.client.post("/labels", &body, &key.to_string(), deadline).await?;
        match (answer.status.as_u16(), refusal(&answer)) {
            (200 | 201, _) => label(&answer),
            (422, Some(reason)) => Ok(Answer::Refused(reason)),
            (409, _) if answer.code() == "key_reused" => {
                self.reused(parcel, key, &answer, deadline).await
            }
            _ => Err(answer.failure()),
        }
    }

    /// Busy while the first request is still being executed.
    async fn decided(
        &self,
        parcel: &Parcel<'_>,
        key: IdempotencyKey,
        deadline: Instant,
    ) -> Result<Option<Answer>, StepError> {
        let path = format!("/labels?key={}", encode(&key.to_string()));
        let answer = self.client.get(&path, deadline).await?;
        match (answer.status.as_u16(), refusal(&answer)) {
            (200, _) => label(&answer).map(Some),
            (422, Some(reason)) if is_refusal_of(&answer, parcel) => {
                Ok(Some(Answer::Refused(reason)))
            }
            (422, Some(_)) => Err(StepError::BadMessage(
                "the key bought no label, and came with another parcel".to_owned(),
            )),
            (404, _) if answer.code() == "label_not_found" => Ok(None),
            _ => Err(answer.failure()),
        }
    }
}

/// What the label says, as foreign text: the parcel goes, whatever form its numbers have.
fn label(answer: &http::Answer) -> Result<Answer, StepError> {
    let Bought { carrier, label, tracking, rate } = answer.json()?;
    let label = text(&label).ok_or(NoLabel)?;
    let label = Reference::parse(&label).or_else(|_| Reference::parse(&encoded(&label)));
    Ok(Answer::Label {
        carrier: shown(&carrier, LONGEST),
        label: label.map_err(|_| NoLabel)?,
        tracking: text(&tracking).map(|text| shown(&text, LONGEST)),
        at_flat_rate: rate == "flat",
    })
}

/// Longest text of the carrier that is recorded.
const LONGEST: usize = 128;

/// The carrier says that it sold a label, and not which.
#[derive(Debug, thiserror::Error)]
#[error("the carrier's answer has no `label`")]
struct NoLabel;

/// A text, or a number as text; `None` for anything else, and for an empty one.
fn text(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    Some(text).filter(|text| !text.trim().is_empty())
}

/// A label's id with spaces or other letters in the form that a reference has.
fn encoded(label: &str) -> String {
    let mut encoded = encode(label);
    encoded.truncate(LONGEST);
    encoded
}

/// Why the carrier will not take the parcel, in its own word. A 422 without a word is no reason to
/// give up the parcel: somebody must look.
fn refusal(answer: &http::Answer) -> Option<String> {
    answer.error_field("code").or_else(|| answer.error_field("type"))
}

/// Whether this says no to this parcel; a key that was used for another one says nothing of it.
fn is_refusal_of(answer: &http::Answer, parcel: &Parcel<'_>) -> bool {
    let refusal = answer.json::<Refusal>();
    refusal.is_ok_and(|refusal| refusal.error.ship_to == *parcel.ship_to)
}

#[derive(Deserialize)]
struct Bought {
    carrier: String,
    label: Value,
    #[serde(default)]
    tracking: Value,
    /// `flat` or `quoted`; labels of a carrier that knows no rates do not say.
    #[serde(default)]
    rate: String,
}

#[derive(Deserialize)]
struct Refusal {
    error: Refused,
}

#[derive(Deserialize)]
struct Refused {
    ship_to: Destination,
}
