//! The gateway over HTTP, in the shape of Stripe's PaymentIntents.
//!
//! Reads an answer strictly: what it cannot interpret is tried again, and never counts as a
//! refusal.

use quadrille::breaker::class::Class;
use quadrille::http::{Answer, BadSettings, Body, Client, Error, encode};
use quadrille::step::StepError;
use quadrille::{Currency, IdempotencyKey, Money, Reference, SagaId};
use serde::Deserialize;
use tokio::time::Instant;

use super::{Bill, Opened, Payment, PaymentGateway, State};
use crate::Settings;

/// Speaks to the gateway of [`Settings::url`].
#[derive(Debug)]
pub struct HttpGateway {
    client: Client,
}

impl HttpGateway {
    /// # Errors
    /// [`BadSettings`] when no request could ever be made with them.
    pub fn new(settings: &Settings) -> Result<Self, BadSettings> {
        let secret = settings.secret.clone();
        Ok(Self { client: Client::new(&settings.url, secret, settings.timeout)? })
    }

    async fn change(
        &self,
        path: &str,
        fields: &[(&str, &str)],
        key: IdempotencyKey,
        deadline: Instant,
    ) -> Result<Answer, Error> {
        let body = Body::Form(fields);
        let answer = self.client.post(path, &body, &key.to_string(), deadline).await?;
        if answer.status.is_server_error() && answer.replayed {
            // The gateway saved its own failure and would repeat it as long as the key lives. One
            // further key, the same for every attempt, is safe: a second open moves no money, and
            // the state of the payment guards the other calls.
            return self.client.post(path, &body, &format!("{key}-2"), deadline).await;
        }
        Ok(answer)
    }
}

impl PaymentGateway for HttpGateway {
    async fn open(
        &self,
        bill: &Bill<'_>,
        key: IdempotencyKey,
        deadline: Instant,
    ) -> Result<Opened, StepError> {
        let fields = [
            ("amount", &*bill.total.amount.to_string()),
            ("currency", &*bill.total.currency.code().to_ascii_lowercase()),
            ("customer", bill.customer.as_str()),
            ("payment_method", bill.payment_method.as_str()),
            ("metadata[order]", bill.order.as_str()),
        ];
        let answer = self.change("/v1/payment_intents", &fields, key, deadline).await?;
        match payment(&answer) {
            Ok(payment) => Ok(Opened::Payment(payment)),
            Err(StepError::BadMessage(_)) if is_about_the_key(&answer) => Ok(Opened::KeyUsed),
            Err(StepError::BadMessage(why)) => Ok(Opened::Rejected(why)),
            Err(error) => Err(error),
        }
    }

    async fn confirm(
        &self,
        opened: &Payment,
        key: IdempotencyKey,
        deadline: Instant,
    ) -> Result<Payment, StepError> {
        let path = format!("/v1/payment_intents/{}", encode(opened.id.as_str()));
        let answer = self.change(&format!("{path}/confirm"), &[], key, deadline).await?;
        match payment(&answer) {
            // The gateway repeats what it said when it had not decided yet: ask how it is now.
            Err(StepError::TryAgain { class: Class::Undecided, .. }) if answer.replayed => {
                payment(&self.client.get(&path, deadline).await?)
            }
            said => said,
        }
    }

    async fn cancel(
        &self,
        opened: &Payment,
        key: IdempotencyKey,
        deadline: Instant,
    ) -> Result<Payment, StepError> {
        let path = format!("/v1/payment_intents/{}/cancel", encode(opened.id.as_str()));
        payment(&self.change(&path, &[], key, deadline).await?)
    }

    async fn refund(
        &self,
        charged: &Reference,
        key: IdempotencyKey,
        deadline: Instant,
    ) -> Result<(), StepError> {
        let fields = [("payment_intent", charged.as_str())];
        let answer = self.change("/v1/refunds", &fields, key, deadline).await?;
        match (answer.status.as_u16(), answer.code().as_str()) {
            (200, _) => answer.json::<Refund>()?.must_have_worked(),
            (400, "charge_already_refunded") => Ok(()),
            _ => Err(answer.failure()),
        }
    }

    async fn of_order(&self, order: &SagaId, deadline: Instant) -> Result<Vec<Payment>, StepError> {
        let query = encode(&format!("metadata['order']:'{order}'"));
        let expand = encode("expand[]");
        let path = format!(
            "/v1/payment_intents/search?query={query}&limit=100&{expand}=data.latest_charge"
        );
        let answer = self.client.get(&path, deadline).await?;
        if answer.status != 200 {
            return Err(answer.failure());
        }
        answer.json::<Found>()?.data.into_iter().map(Intent::payment).collect()
    }
}

/// The payment that an answer shows, whether the call was carried out, declined, or too late.
fn payment(answer: &Answer) -> Result<Payment, StepError> {
    match (answer.status.as_u16(), answer.code().as_str()) {
        (200, _) => answer.json::<Intent>()?.payment(),
        (402, _) => answer.json::<Failed>()?.error.declined(),
        (400, "payment_intent_unexpected_state") => {
            let intent = answer.json::<Failed>()?.error.payment_intent;
            intent.ok_or(Unclear::NoIntent)?.payment()
        }
        _ => Err(answer.failure()),
    }
}

/// Whether the key was used before, with other parameters.
fn is_about_the_key(answer: &Answer) -> bool {
    let typed = answer.json::<Typed>();
    typed.is_ok_and(|answer| answer.error.kind.as_deref() == Some("idempotency_error"))
}

/// Answers of the gateway with which the step cannot go on.
#[derive(Debug, thiserror::Error)]
enum Unclear {
    #[error("the gateway refuses because of a state that it does not show")]
    NoIntent,
    #[error("the gateway shows a payment in a state that decides nothing")]
    Undecided,
    #[error("the gateway shows a payment in an unknown currency")]
    Currency,
    #[error("the gateway did not carry out the refund")]
    NotRefunded,
}

#[derive(Debug, Deserialize)]
struct Intent {
    id: Reference,
    amount: i64,
    currency: String,
    status: String,
    /// The sandbox shows it here, Stripe in the charge.
    amount_refunded: Option<i64>,
    latest_charge: Option<Charge>,
    last_payment_error: Option<Decline>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Charge {
    Expanded {
        amount_refunded: i64,
    },
    /// Only its id.
    Bare(#[expect(dead_code, reason = "says no more than that there is one")] String),
}

#[derive(Debug, Default, Deserialize)]
struct Decline {
    code: Option<String>,
    decline_code: Option<String>,
}

impl Decline {
    fn reason(self) -> String {
        self.decline_code.or(self.code).unwrap_or_else(|| "card_declined".into())
    }
}

impl Intent {
    fn payment(self) -> Result<Payment, StepError> {
        let refunded = match self.latest_charge {
            Some(Charge::Expanded { amount_refunded }) => amount_refunded,
            Some(Charge::Bare(_)) | None => self.amount_refunded.unwrap_or(0),
        };
        let state = match self.status.as_str() {
            "requires_confirmation" => State::Unconfirmed,
            // No person is there to authenticate or to choose another card, so this counts as
            // declined.
            "requires_payment_method" | "requires_action" => {
                State::Declined(self.last_payment_error.unwrap_or_default().reason())
            }
            "succeeded" if refunded >= self.amount => State::Refunded,
            "succeeded" => State::Charged,
            "canceled" => State::Cancelled,
            "processing" => return Err(StepError::undecided(Unclear::Undecided)),
            _ => return Err(Unclear::Undecided.into()),
        };
        let currency = Currency::parse(&self.currency.to_ascii_uppercase());
        let amount = Money::new(self.amount, currency.map_err(|_| Unclear::Currency)?);
        Ok(Payment { id: self.id, amount, state })
    }
}

#[derive(Debug, Deserialize)]
struct Found {
    data: Vec<Intent>,
}

#[derive(Debug, Deserialize)]
struct Typed {
    error: ErrorType,
}

#[derive(Debug, Deserialize)]
struct ErrorType {
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Failed {
    error: Failure,
}

#[derive(Debug, Deserialize)]
struct Failure {
    #[serde(flatten)]
    decline: Decline,
    payment_intent: Option<Intent>,
}

impl Failure {
    fn declined(self) -> Result<Payment, StepError> {
        let payment = self.payment_intent.ok_or(Unclear::NoIntent)?.payment()?;
        Ok(Payment { state: State::Declined(self.decline.reason()), ..payment })
    }
}

#[derive(Debug, Deserialize)]
struct Refund {
    status: String,
}

impl Refund {
    fn must_have_worked(self) -> Result<(), StepError> {
        match self.status.as_str() {
            "succeeded" | "pending" => Ok(()),
            _ => Err(Unclear::NotRefunded.into()),
        }
    }
}
