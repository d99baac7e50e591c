//! The carrier: sells labels, and keeps the answer to a key for ever, refusals included.
//!
//! A label has no store of its own: it is the answer saved under the key it was bought with.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::answer::Answer;
use crate::decision::Decision;
use crate::keys::Keys;
use crate::ledger::{Effect, Fact};

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
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Destination {
    /// Two upper-case letters, ISO 3166.
    country: String,
    /// 1 to 16 characters.
    postcode: String,
}

impl NewLabel {
    /// # Errors
    ///
    /// The field that is out of its range, and the range, in words.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let Destination { country, postcode } = &self.ship_to;
        if !(1..=64).contains(&self.reference.len()) {
            return Err("reference: not 1 to 64 characters");
        }
        if country.len() != 2 || !country.bytes().all(|b| b.is_ascii_uppercase()) {
            return Err("ship_to.country: not two upper-case letters");
        }
        if !(1..=16).contains(&postcode.len()) {
            return Err("ship_to.postcode: not 1 to 16 characters");
        }
        if self.items == 0 {
            return Err("items: not above zero");
        }
        Ok(())
    }
}

/// Sells the label or refuses the destination; the key keeps this answer for ever.
pub(crate) fn decide(new: &NewLabel, key: &str) -> Decision {
    let Destination { country, postcode } = &new.ship_to;
    let refused = country == REFUSED_COUNTRY || postcode == REFUSED_POSTCODE;
    let (answer, effect, label) = if refused {
        let message = format!("nothing is delivered to {country} {postcode}");
        (error(422, "destination_refused", &message), Effect::DestinationRefused, None)
    } else {
        let label = format!("lbl_{}", Uuid::new_v4().simple());
        (bought(&label, &new.reference), Effect::LabelBought, Some(label))
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

fn bought(label: &str, reference: &str) -> Answer {
    let tracking = Uuid::new_v4().as_u128() % 1_000_000_000_000;
    Answer::new(
        201,
        &json!({
            "label": label,
            "tracking": format!("SP{tracking:012}"),
            "carrier": "sandbox-post",
            "reference": reference,
        }),
    )
}

/// The label bought under this key; a refusal or an error saved there is not a label.
pub(crate) fn look_up(keys: &Keys, key: &str) -> Answer {
    match keys.saved(key) {
        Some(saved) if saved.answer.status == 201 => {
            Answer { status: 200, body: Arc::clone(&saved.answer.body) }
        }
        Some(_) | None => error(404, "label_not_found", "no label was bought under this key"),
    }
}

/// An error in the carrier's shape.
pub(crate) fn error(status: u16, code: &str, message: &str) -> Answer {
    Answer::new(status, &json!({"error": {"code": code, "message": message}}))
}
