//! The gateway over HTTP, in the shape of Stripe's PaymentIntents.
//!
//! Reads an answer strictly: what it cannot interpret is tried again, and never counts as a
//! refusal. What the gateway repeats under a key tells how things were then, so the payment itself
//! is read after it. Where a saved failure of the gateway is repeated, the request is made again
//! under the next key, and every attempt walks the same keys in the same order: so all of them meet
//! in the first key that the gateway did not fail under.

mod currency;
mod intent;
mod refund;
mod says;

use quadrille::http::{Answer, BadSettings, Body, Client, Error, encode, given};
use quadrille::step::StepError;
use quadrille::{Currency, IdempotencyKey, Money};
use schemas::order_fulfilment::refusal;
use tokio::time::Instant;

use super::{Bill, Opened, Owner, Payment, PaymentGateway, State};
use crate::Settings;
use intent::{Found, Intent, expect};
use refund::{Refund, Refunds, Returned};
use says::{Unclear, is_about_the_key, is_about_the_state, is_saved_failure, no_of, not_shown};

/// The version of Stripe's API whose answers this adapter reads: fields move between versions, and
/// without the header the account's own setting would choose one.
const VERSION: &str = "2025-09-30.clover";

/// Nobody is there to authenticate or to be redirected, so the gateway must decide by itself; since
/// version 2023-08-16 it asks for a `return_url` otherwise.
const CONFIRM: [(&str, &str); 1] = [("off_session", "true")];

/// Keys that one request may use up: with a saved failure in each, a message that is tried every 15
/// seconds comes this far in a quarter of an hour. What is left then waits until the first key is
/// forgotten.
const KEYS: u32 = 64;

/// Speaks to the gateway of [`Settings::url`].
#[derive(Debug)]
pub struct HttpGateway {
    client: Client,
}

impl HttpGateway {
    /// # Errors
    /// [`BadSettings`] when no request could ever be made with them.
    pub fn new(settings: &Settings) -> Result<Self, BadSettings> {
        let url = given("charge-customer.url", &settings.url)?;
        let client = Client::new(url, settings.secret.clone(), settings.timeout)?;
        Ok(Self { client: client.with_header("stripe-version", VERSION) })
    }

    async fn post(
        &self,
        path: &str,
        fields: &[(&str, &str)],
        key: &str,
        deadline: Instant,
    ) -> Result<Answer, Error> {
        self.client.post(path, &Body::Form(fields), key, deadline).await
    }

    /// The payment as it is now.
    async fn now(&self, payment: &Payment, deadline: Instant) -> Result<Payment, StepError> {
        let expand = encode("expand[]");
        let path = format!("{}?{expand}=latest_charge", path_of(payment));
        let answer = self.client.get(&path, deadline).await?;
        if answer.status != 200 {
            return Err(not_shown(&answer));
        }
        expect(answer.json::<Intent>()?.payment()?, payment)
    }

    /// How a payment is after a confirm, by the answer to it.
    async fn confirmed(
        &self,
        answer: &Answer,
        opened: &Payment,
        deadline: Instant,
    ) -> Result<Payment, StepError> {
        match (answer.status.as_u16(), no_of(answer)) {
            (200, _) => expect(answer.json::<Intent>()?.payment()?, opened),
            (_, Some(reason)) => Ok(Payment { state: State::Declined(reason), ..opened.clone() }),
            _ if is_about_the_state(answer) => self.now(opened, deadline).await,
            _ => Err(answer.failure()),
        }
    }

    /// What has gone back of a payment, and is on its way.
    async fn returned(&self, payment: &Payment, deadline: Instant) -> Result<Returned, StepError> {
        let id = encode(payment.id.as_str());
        let path = format!("/v1/refunds?payment_intent={id}&limit=100");
        let answer = self.client.get(&path, deadline).await?;
        if answer.status != 200 {
            return Err(not_shown(&answer));
        }
        answer.json::<Refunds>()?.of(payment)
    }
}

impl PaymentGateway for HttpGateway {
    async fn open(
        &self,
        bill: &Bill<'_>,
        key: IdempotencyKey,
        deadline: Instant,
    ) -> Result<Opened, StepError> {
        let Ok(amount) = currency::to_gateway(bill.total) else {
            return Ok(Opened::Refused(refusal::NOT_CHARGEABLE.into()));
        };
        let (currency, log) = (bill.total.currency.code(), bill.owner.log.to_string());
        let fields = [
            ("amount", &*amount.to_string()),
            ("currency", &*currency.to_ascii_lowercase()),
            ("customer", bill.customer.as_str()),
            ("payment_method", bill.payment_method.as_str()),
            ("metadata[order]", bill.owner.order.as_str()),
            ("metadata[log]", &*log),
        ];
        for key in keys(key) {
            let answer = self.post("/v1/payment_intents", &fields, &key, deadline).await?;
            if answer.status == 200 {
                let payment = answer.json::<Intent>()?.payment_of(&bill.owner)?;
                return Ok(Opened::Payment(match answer.replayed {
                    true => self.now(&payment, deadline).await?,
                    false => payment,
                }));
            }
            if is_saved_failure(&answer) {
                continue;
            }
            if let Some(reason) = no_of(&answer) {
                return Ok(Opened::Refused(reason));
            }
            return match answer.failure() {
                StepError::BadMessage(_) if is_about_the_key(&answer) => Ok(Opened::KeyUsed),
                StepError::BadMessage(why) => Ok(Opened::Rejected(why)),
                error => Err(error),
            };
        }
        Err(Unclear::KeysUsedUp.into())
    }

    async fn confirm(
        &self,
        opened: &Payment,
        key: IdempotencyKey,
        deadline: Instant,
    ) -> Result<Payment, StepError> {
        let path = format!("{}/confirm", path_of(opened));
        for key in keys(key) {
            let answer = self.post(&path, &CONFIRM, &key, deadline).await?;
            if !answer.replayed {
                return self.confirmed(&answer, opened, deadline).await;
            }
            let now = self.now(opened, deadline).await?;
            match (&now.state, no_of(&answer)) {
                (State::Unconfirmed, _) if is_saved_failure(&answer) => {}
                (State::Unconfirmed | State::Declined(_), Some(reason)) => {
                    return Ok(Payment { state: State::Declined(reason), ..now });
                }
                (State::Unconfirmed, None) => {
                    return self.confirmed(&answer, opened, deadline).await;
                }
                _ => return Ok(now),
            }
        }
        Err(Unclear::KeysUsedUp.into())
    }

    async fn cancel(
        &self,
        opened: &Payment,
        key: IdempotencyKey,
        deadline: Instant,
    ) -> Result<Payment, StepError> {
        let path = format!("{}/cancel", path_of(opened));
        for key in keys(key) {
            let answer = self.post(&path, &[], &key, deadline).await?;
            if !answer.replayed {
                return match answer.status.as_u16() {
                    200 => expect(answer.json::<Intent>()?.payment()?, opened),
                    _ if is_about_the_state(&answer) => self.now(opened, deadline).await,
                    _ => Err(answer.failure()),
                };
            }
            let now = self.now(opened, deadline).await?;
            if !now.state.can_be_cancelled() {
                return Ok(now);
            }
        }
        Err(Unclear::KeysUsedUp.into())
    }

    async fn refund(
        &self,
        charged: &Payment,
        key: IdempotencyKey,
        deadline: Instant,
    ) -> Result<(), StepError> {
        if charged.state == State::Refunded {
            match self.returned(charged, deadline).await? {
                Returned::Nothing => {}
                Returned::Underway => return Err(StepError::undecided(Unclear::RefundPending)),
                Returned::All => return Ok(()),
            }
        }
        let fields = [("payment_intent", charged.id.as_str())];
        for key in keys(key) {
            let answer = self.post("/v1/refunds", &fields, &key, deadline).await?;
            if !answer.replayed {
                match answer.status.as_u16() {
                    200 if answer.json::<Refund>()?.is_all_of(charged)? => return Ok(()),
                    200 => {}
                    400 if answer.code() == "charge_already_refunded" => {}
                    _ => return Err(answer.failure()),
                }
            }
            match self.returned(charged, deadline).await? {
                Returned::All => return Ok(()),
                Returned::Underway => return Err(StepError::undecided(Unclear::RefundPending)),
                // The gateway refuses a refund of more than is left, so another key is safe.
                Returned::Nothing if answer.replayed => {}
                Returned::Nothing => return Err(Unclear::NotRefunded.into()),
            }
        }
        Err(Unclear::KeysUsedUp.into())
    }

    async fn of_order(
        &self,
        owner: &Owner<'_>,
        deadline: Instant,
    ) -> Result<Vec<Payment>, StepError> {
        let Owner { order, log } = owner;
        let query = encode(&format!("metadata['order']:'{order}' AND metadata['log']:'{log}'"));
        let expand = encode("expand[]");
        let path = format!(
            "/v1/payment_intents/search?query={query}&limit=100&{expand}=data.latest_charge"
        );
        let answer = self.client.get(&path, deadline).await?;
        if answer.status != 200 {
            return Err(answer.failure());
        }
        let Found { data, has_more } = answer.json()?;
        if has_more {
            return Err(Unclear::TooMany.into());
        }
        data.into_iter().map(|intent| intent.payment_of(owner)).collect()
    }
}

fn path_of(payment: &Payment) -> String {
    format!("/v1/payment_intents/{}", encode(payment.id.as_str()))
}

/// The key, and those that follow it where the gateway saved a failure of its own.
fn keys(key: IdempotencyKey) -> impl Iterator<Item = String> + Send {
    (1..=KEYS).map(move |number| match number {
        1 => key.to_string(),
        _ => format!("{key}-{number}"),
    })
}

impl State {
    fn can_be_cancelled(&self) -> bool {
        match self {
            Self::Unconfirmed | Self::Declined(_) => true,
            Self::Processing | Self::Charged | Self::Cancelled | Self::Refunded => false,
        }
    }
}

/// Money as the gateway writes it.
fn money(amount: i64, currency: &str) -> Result<Money, Unclear> {
    let currency = Currency::read(&currency.to_ascii_uppercase());
    let currency = currency.map_err(|_| Unclear::Currency)?;
    let ours = currency::from_gateway(amount, currency);
    ours.ok_or(Unclear::Amount(amount, currency.code()))
}
