//! The carrier over HTTP and JSON.

use quadrille::IdempotencyKey;
use quadrille::http::{self, BadSettings, Body, Client, encode};
use quadrille::ids::Reference;
use quadrille::step::StepError;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::{Answer, Carrier, Parcel};
use crate::Settings;

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
        Ok(Self { client: Client::new(&settings.url, secret, settings.timeout)? })
    }

    /// The label that was bought under a key which now comes with other parameters, because a
    /// change of this adapter must not buy a second label.
    async fn bought(
        &self,
        key: IdempotencyKey,
        reused: &http::Answer,
        deadline: Instant,
    ) -> Result<Answer, StepError> {
        let path = format!("/labels?key={}", encode(&key.to_string()));
        let answer = self.client.get(&path, deadline).await?;
        match answer.status.as_u16() {
            200 => label(&answer),
            404 => Err(StepError::BadMessage(format!(
                "the carrier answers {}: the key bought no label, and came with another parcel",
                reused.status,
            ))),
            _ => Err(answer.failure()),
        }
    }
}

impl Carrier for HttpCarrier {
    async fn label(
        &self,
        parcel: &Parcel<'_>,
        key: IdempotencyKey,
        deadline: Instant,
    ) -> Result<Answer, StepError> {
        let body = Body::Json(json!({
            "reference": parcel.order,
            "ship_to": parcel.ship_to,
            "items": parcel.pieces,
        }));
        let answer = self.client.post("/labels", &body, &key.to_string(), deadline).await?;
        match (answer.status.as_u16(), answer.code().as_str()) {
            (200 | 201, _) => label(&answer),
            (422, "destination_refused") => Ok(Answer::Refused("destination_refused".into())),
            (409, "key_reused") => self.bought(key, &answer, deadline).await,
            _ => Err(answer.failure()),
        }
    }
}

fn label(answer: &http::Answer) -> Result<Answer, StepError> {
    let Bought { carrier, label, tracking } = answer.json()?;
    Ok(Answer::Label { carrier, label, tracking })
}

#[derive(Deserialize)]
struct Bought {
    carrier: String,
    label: Reference,
    tracking: Reference,
}
