//! From the bytes of a command to an order that is ready to be sent, or to all that is wrong with
//! it.
//!
//! What is valid is decided by `OrderPlaced` alone, which the workers read too. This module only
//! decides under which id, and which status a mistake has.

use quadrille::broker::Stored;
use quadrille::event::{self, Kind, Of, RawValue, no_json, text};
use quadrille::log::open::Opening;
use quadrille::service::problem::{Mistake, Problem};
use quadrille::{BadData, Event, Reason, SagaId};
use schemas::order_fulfilment::FLOW;
use schemas::order_fulfilment::events::{MAX_PLACED_BYTES, OrderPlaced, full_sample};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use uuid::Uuid;

use crate::problems;

/// Most bytes of a body that are read at all; an order itself has at most 32 KiB.
pub const MAX_BODY_BYTES: usize = 512 * 1024;

/// Longest `Idempotency-Key`, in bytes.
pub const MAX_KEY_BYTES: usize = 255;

/// The order's event, as a type known by name.
pub(crate) const PLACED: Kind = Kind::of::<OrderPlaced>();

/// Far more than anybody reads, because shops send what their own systems need, too.
const MOST_FIELDS: usize = 20_000;

/// Namespace of the ids that follow from a key; drawn once, and never to be changed.
const KEYED: Uuid = Uuid::from_u128(0x02fc_25e6_c255_40ea_812b_b2f1_3923_b141);

/// Who sends a command where nothing names the caller.
pub const NOBODY: &str = "-";

/// A command to place an order, as it came.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub body: &'a [u8],
    /// [`NOBODY`] if nothing names it.
    pub caller: &'a str,
    pub idempotency_key: Option<&'a str>,
    /// The client's own trace (W3C).
    pub traceparent: Option<&'a str>,
}

/// An order that passed every check.
#[derive(Debug)]
pub struct Order {
    pub opening: Opening,
    /// Whether its id follows from an idempotency key.
    pub by_key: bool,
    /// Whether the client chose its id, or the key that it follows from, so that it may have been
    /// used before.
    pub is_named: bool,
    placed: OrderPlaced,
}

impl Order {
    /// # Errors
    /// 400, 413 or 422, with every mistake.
    pub fn read(asked: &Asked<'_>) -> Result<Self, Problem> {
        let text = text::of(asked.body)
            .map_err(|what| problems::unreadable(vec![mistake("", what, None)]))?;
        if fields(text) > MOST_FIELDS {
            let what = format!("an order has at most {MOST_FIELDS} fields");
            return Err(problems::unreadable(vec![mistake("", what, None)]));
        }
        let placed =
            OrderPlaced::from_data(FLOW.opens.event, text).map_err(|bad| refused(&bad, text))?;
        placed.must_be_of_today().map_err(|bad| problems::invalid(vec![told(&sample(), bad)]))?;
        let read = placed.to_data();
        // What nobody reads has no room in the log where it makes an order large.
        let data: &RawValue = match text.len() <= MAX_PLACED_BYTES {
            true => serde_json::from_str(text).map_err(|error| refused(&no_json(&error), text))?,
            false => &read,
        };
        let is_named = placed.order_id.is_some() || asked.idempotency_key.is_some();
        let (saga, by_key) = match (&placed.order_id, asked.idempotency_key) {
            (Some(saga), _) => (saga.clone(), false),
            (None, Some(key)) => (keyed(asked.caller, key)?, true),
            (None, None) => (named(Uuid::new_v4()), false),
        };
        let opening = Opening::wrap(&FLOW, &saga, data, asked.traceparent);
        // As the workers will read it.
        let placed: OrderPlaced = opening.event(&FLOW).map_err(|bad| refused(&bad, text))?;
        Ok(Self { opening, by_key, is_named, placed: placed.without_id() })
    }

    /// Whether the slot holds this very order, whichever call wrote it and in whatever form.
    pub fn is_what_is_stored(&self, stored: &Stored) -> bool {
        let there = self.opening.event_of(&FLOW, stored).map(OrderPlaced::without_id);
        there.is_ok_and(|there| there == self.placed)
    }
}

/// The id of the order that this caller sends under this key: the same each time.
fn keyed(caller: &str, key: &str) -> Result<SagaId, Problem> {
    let fits = (1..=MAX_KEY_BYTES).contains(&key.len())
        && key.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    if !fits {
        let what = "Idempotency-Key must be 1 to 255 printable ASCII characters";
        return Err(problems::bad_request(what));
    }
    Ok(named(Uuid::new_v5(&KEYED, format!("{caller}\n{key}").as_bytes())))
}

fn named(id: Uuid) -> SagaId {
    SagaId::parse(&id.to_string()).expect("a UUID is hexadecimal digits and dashes")
}

/// Every mistake in a body whose first one is `bad`.
fn refused(bad: &BadData, text: &str) -> Problem {
    if bad.reason == Reason::TooLarge {
        return problems::too_large(format!(
            "an order has at most {MAX_PLACED_BYTES} bytes of JSON; nothing was stored"
        ));
    }
    if is_enveloped(text) {
        let what = "is a CloudEvent: send the order itself, which is what stands in its data";
        return problems::unreadable(vec![mistake("", what, None)]);
    }
    let sample = sample();
    let mut found = PLACED.mistakes(text, &sample);
    if found.is_empty() {
        found = vec![event::Mistake { bad: bad.clone(), of: Of::Form }];
    }
    // An id that is none would become part of a subject, so it makes the whole unreadable.
    let is_form = |found: &event::Mistake| found.of == Of::Form || found.bad.pointer == "/order_id";
    let form = found.iter().any(is_form);
    let errors = found.into_iter().map(|found| match found.bad.reason {
        // The sample's currency may be the very one that is wrong here.
        Reason::Rule("mixed-currencies") => told(&of_its_currency(text), found.bad),
        _ => told(&sample, found.bad),
    });
    let errors = errors.collect();
    if form { problems::unreadable(errors) } else { problems::invalid(errors) }
}

/// The sample, in the currency of the first line of this order.
fn of_its_currency(text: &str) -> Value {
    let order: Value = serde_json::from_str(text).unwrap_or_default();
    let first = order.pointer("/lines/0/unit_price/currency").cloned().unwrap_or_default();
    let mut sample = sample();
    for place in ["/lines/0/unit_price/currency", "/charges/0/amount/currency"] {
        if let Some(currency) = sample.pointer_mut(place) {
            *currency = first.clone();
        }
    }
    sample
}

/// As a worker writes to the log; here the envelope is ours to make.
fn is_enveloped(text: &str) -> bool {
    #[derive(Deserialize)]
    struct Enveloped {
        #[serde(rename = "specversion")]
        _version: IgnoredAny,
        #[serde(rename = "data")]
        _data: IgnoredAny,
    }
    // A list of two would be read as one, too.
    text.trim_start().starts_with('{') && serde_json::from_str::<Enveloped>(text).is_ok()
}

fn told(sample: &Value, bad: BadData) -> Mistake {
    let example = example(sample, &bad.pointer);
    mistake(&bad.pointer, bad.message, example)
}

fn mistake(pointer: &str, message: impl Into<String>, example: Option<Value>) -> Mistake {
    Mistake { pointer: pointer.to_owned(), message: message.into(), example }
}

/// What would do in that place; nothing for the whole document, which is in the OpenAPI document.
fn example(sample: &Value, pointer: &str) -> Option<Value> {
    let is_index = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let parts = pointer.split('/').map(|part| if is_index(part) { "0" } else { part });
    let place = parts.collect::<Vec<_>>().join("/");
    (!place.is_empty()).then(|| sample.pointer(&place).cloned()).flatten()
}

/// A valid order with every field.
pub(crate) fn sample() -> Value {
    full_sample()
}

/// Colons outside texts: one for each field.
fn fields(text: &str) -> usize {
    let (mut count, mut in_text, mut escaped) = (0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b':' if !in_text => count += 1,
            _ => {}
        }
    }
    count
}
