//! The quote service over HTTP and JSON.

use quadrille::http::{BadSettings, Client, encode, given};
use quadrille::step::StepError;
use tokio::time::Instant;

use super::{MAX_CARRIER, Quote, Quotes};
use crate::Settings;
use crate::carrier::Parcel;

/// Asks the service of [`Settings::quote_url`].
#[derive(Debug)]
pub struct HttpQuotes {
    client: Client,
}

impl HttpQuotes {
    /// # Errors
    /// [`BadSettings`] when no request could ever be made with them.
    pub fn new(settings: &Settings) -> Result<Self, BadSettings> {
        let secret = settings.quote_secret.clone();
        let url = given("ship-order.quote_url", &settings.quote_url)?;
        Ok(Self { client: Client::new(url, secret, settings.quote_timeout)? })
    }
}

impl Quotes for HttpQuotes {
    async fn cheapest(&self, parcel: &Parcel<'_>, deadline: Instant) -> Result<Quote, StepError> {
        let Parcel { order, ship_to, pieces } = parcel;
        let path = format!(
            "/rates?reference={order}&country={}&items={pieces}{}",
            encode(&ship_to.country),
            ship_to
                .postcode
                .as_ref()
                .map_or_else(String::new, |it| format!("&postcode={}", encode(it))),
        );
        let answer = self.client.get(&path, deadline).await?;
        match answer.status.as_u16() {
            200 => sound(answer.json()?),
            _ => Err(answer.failure()),
        }
    }
}

/// What no label can be bought with is no quote: the parcel goes at the flat rate.
fn sound(quote: Quote) -> Result<Quote, StepError> {
    let name = &quote.carrier;
    let is_name =
        (1..=MAX_CARRIER).contains(&name.len()) && name.chars().all(|c| c.is_ascii_graphic());
    match is_name && quote.price.amount > 0 {
        true => Ok(quote),
        false => Err(StepError::try_again("the quote names no carrier, or no price above zero")),
    }
}
