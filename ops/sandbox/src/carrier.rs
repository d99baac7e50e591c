//! The carrier: sells labels, and keeps the answer to a key for ever, refusals included.
//!
//! A label has no store of its own: it is the answer saved under the key it was bought with. The
//! rate is one of the parameters: under another rate, a key in use is another request.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::answer::Answer;
use crate::decision::Decision;
use crate::keys::Keys;
use crate::ledger::{Effect, Fact};
use crate::operation::Service;
use crate::quote::Rate;

/// No label is sold to this country (ISO 3166 code): Antarctica.
pub const REFUSED_COUNTRY: &str = "AQ";

/// No label is sold to this postcode, in any country.
pub const REFUSED_POSTCODE: &str = "00000";

/// A request for a label.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewLabel {
    /// The order, 1 to 64 characters.
    pub(crate) reference: String,
    ship_to: Destination,
    /// Above zero.
    items: u32,
    /// As the quote service answered it; without it the label is sold at the flat rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rate: Option<Rate>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Destination {
    /// Two upper-case letters, ISO 3166.
    pub(crate) country: String,
    /// 1 to 16 characters, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) postcode: Option<String>,
}

impl NewLabel {
    /// # Errors
    ///
    /// The field that is out of its range, and the range, in words.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        check_parcel(&self.reference, &self.ship_to, self.items)?;
        match &self.rate {
            Some(rate) if !(1..=32).contains(&rate.carrier.len()) => {
                Err("rate.carrier: not 1 to 32 characters")
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// # Errors
///
/// The field that is out of its range, and the range, in words.
pub(crate) fn check_parcel(
    reference: &str,
    ship_to: &Destination,
    items: u32,
) -> Result<(), &'static str> {
    let Destination { country, postcode } = ship_to;
    if !(1..=64).contains(&reference.len()) {
        return Err("reference: not 1 to 64 characters");
    }
    if country.len() != 2 || !country.bytes().all(|b| b.is_ascii_uppercase()) {
        return Err("country: not two upper-case letters");
    }
    if postcode.as_ref().is_some_and(|postcode| !(1..=16).contains(&postcode.len())) {
        return Err("postcode: not 1 to 16 characters");
    }
    if items == 0 {
        return Err("items: not above zero");
    }
    Ok(())
}

/// Sells the label or refuses the destination; the key keeps this answer for ever.
pub(crate) fn decide(new: &NewLabel, key: &str) -> Decision {
    let Destination { country, postcode } = &new.ship_to;
    let postcode = postcode.as_deref().unwrap_or_default();
    let refused = country == REFUSED_COUNTRY || postcode == REFUSED_POSTCODE;
    let (answer, effect, label) = if refused {
        let message = format!("nothing is delivered to {country} {postcode}");
        (refusal(&new.ship_to, &message), Effect::DestinationRefused, None)
    } else {
        let label = format!("lbl_{}", Uuid::new_v4().simple());
        (bought(&label, new), Effect::LabelBought, Some(label))
    };
    let fact = Fact {
        effect,
        order: Some(new.reference.clone()),
        key: key.to_owned(),
        amount: None,
        currency: None,
        intent: None,
        label,
    };
    Decision { answer, keep: true, intent: None, facts: vec![fact] }
}

fn bought(label: &str, new: &NewLabel) -> Answer {
    let tracking = Uuid::new_v4().as_u128() % 1_000_000_000_000;
    let (kind, rate) = match &new.rate {
        Some(rate) => ("quoted", rate.clone()),
        None => ("flat", Rate::flat()),
    };
    Answer::new(
        201,
        &json!({
            "label": label,
            "tracking": format!("SP{tracking:012}"),
            "carrier": rate.carrier,
            "reference": new.reference,
            "rate": kind,
            "price": rate.price,
        }),
    )
}

/// Says for which destination, because the key may come again with another one.
fn refusal(ship_to: &Destination, message: &str) -> Answer {
    let code = "destination_refused";
    let error = json!({"code": code, "message": message, "ship_to": ship_to});
    Answer::new(422, &json!({"error": error}))
}

/// What was decided under this key: the label, or the refusal once more. An error that is saved
/// there decided nothing.
pub(crate) fn look_up(keys: &Keys, key: &str) -> Answer {
    match keys.saved(key) {
        Some(saved) if saved.answer.status == 201 => {
            Answer { status: 200, body: Arc::clone(&saved.answer.body) }
        }
        Some(saved) if saved.answer.status == 422 => saved.answer.clone(),
        None if keys.is_executing(key) => Answer::key_in_use(Service::Carrier),
        Some(_) | None => error(404, "label_not_found", "no label was bought under this key"),
    }
}

/// An error in the carrier's shape.
pub(crate) fn error(status: u16, code: &str, message: &str) -> Answer {
    Answer::new(status, &json!({"error": {"code": code, "message": message}}))
}
