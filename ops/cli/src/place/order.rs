//! An order on its way in: read, checked against the contract and wrapped, before anything is sent.

use std::path::Path;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use clap::Args;
use quadrille::broker::Stored;
use quadrille::event::{Kind, Mistake, Of, no_json};
use quadrille::ids::Reference;
use quadrille::log::open::{Opening, Sender};
use quadrille::{BadData, Currency, Event, Money, Reason, SagaId};
use quadrille_tool::output::{self, Advise};
use quadrille_tool::values::whole;
use schemas::Sku;
use schemas::order_fulfilment::FLOW;
use schemas::order_fulfilment::events::{
    Destination, MAX_PLACED_BYTES, OrderLine, OrderPlaced, full_sample,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// The parts of a sample order that can be chosen.
#[derive(Debug, Clone, Args)]
pub(crate) struct Sample {
    /// What is ordered
    #[arg(long, default_value = "ROSE-RED")]
    pub(crate) sku: String,
    /// Pieces of it
    #[arg(long, value_name = "N", default_value = "12", allow_negative_numbers = true)]
    #[arg(value_parser = whole(0..=u32::MAX, "a number of pieces such as 12"))]
    pub(crate) quantity: u32,
    /// Price of one piece, in minor units (cents)
    #[arg(long, value_name = "MINOR", default_value = "250", allow_negative_numbers = true)]
    #[arg(value_parser = whole(i64::MIN..=i64::MAX, "minor units (cents) such as 250"))]
    pub(crate) price: i64,
    /// Currency of the price: ISO 4217
    #[arg(long, default_value = "EUR")]
    pub(crate) currency: String,
    /// Reference of the customer
    #[arg(long, default_value = "cus_1001")]
    pub(crate) customer: String,
    /// The gateway's name of the card; the sandbox declines pm_card_chargeDeclined and others
    #[arg(long, value_name = "NAME", default_value = "pm_card_visa")]
    pub(crate) payment_method: String,
    /// Country of the address: ISO 3166-1 alpha-2
    #[arg(long, default_value = "DE")]
    pub(crate) country: String,
    /// Postcode of the address; the sandbox's carrier refuses 00000
    #[arg(long, default_value = "10115")]
    pub(crate) postcode: String,
}

/// What `place` would use without a file and without options.
impl Default for Sample {
    fn default() -> Self {
        Self {
            sku: "ROSE-RED".into(),
            quantity: 12,
            price: 250,
            currency: "EUR".into(),
            customer: "cus_1001".into(),
            payment_method: "pm_card_visa".into(),
            country: "DE".into(),
            postcode: "10115".into(),
        }
    }
}

/// An order that passed every check, and what is sent for it.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) opening: Opening,
    placed: OrderPlaced,
}

/// What the orders are made from.
#[derive(Debug)]
pub(crate) enum Template {
    /// The JSON of `data`.
    Bare(Box<RawValue>),
    /// A CloudEvent, sent as it is.
    Structured { text: String, subject: Option<String> },
}

/// Enough of a document to tell an envelope from a bare order.
#[derive(Deserialize)]
struct Probe {
    specversion: Option<serde::de::IgnoredAny>,
    subject: Option<String>,
}

/// The order in `file`, otherwise the sample; checked as far as possible without an id.
pub(crate) fn template(file: Option<&Path>, sample: &Sample) -> anyhow::Result<Template> {
    let Some(file) = file else { return Ok(Template::Bare(sample.placed()?.to_data())) };
    let bytes = read_input(file)?;
    let name = file.display().to_string();
    let text = quadrille::event::text::of(&bytes).map_err(|what| anyhow!("{name} is {what}"))?;
    parse(text).map_err(|bad| invalid(&name, text, &bad))
}

pub(super) fn parse(text: &str) -> Result<Template, BadData> {
    // `parse` bounds the nesting and says where a document is not JSON.
    if let Ok(Probe { specversion: Some(_), subject }) = serde_json::from_str(text) {
        return Ok(Template::Structured { text: text.trim().to_owned(), subject });
    }
    let placed = OrderPlaced::from_data(FLOW.opens.event, text)?;
    placed.must_be_of_today()?;
    if text.len() > MAX_PLACED_BYTES {
        // What nobody reads has no room in the log where it makes an order large.
        return Ok(Template::Bare(placed.to_data()));
    }
    serde_json::from_str(text).map(Template::Bare).map_err(|error| no_json(&error))
}

/// Cells in a line of a report, because it may be read where nothing breaks its lines.
const LINE: usize = 80;

/// Every mistake of a bare order, each with what would do in its place below it.
fn mistakes(text: &str, bad: &BadData) -> Vec<String> {
    let sample = full_sample();
    let mut found = Kind::of::<OrderPlaced>().mistakes(text, &sample);
    if found.is_empty() {
        found = vec![Mistake { bad: bad.clone(), of: Of::Value }];
    }
    let line = |Mistake { bad, .. }: Mistake| {
        let place = if bad.pointer.is_empty() { "the document" } else { &bad.pointer };
        let is_index = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let parts = bad.pointer.split('/').map(|part| if is_index(part) { "0" } else { part });
        let shape = parts.collect::<Vec<_>>().join("/");
        let told = format!("  {place}: {} ({})", bad.message, bad.reason.code());
        // The sample's currency may be the wrong one here: the message names the right one.
        let is_named = bad.reason == Reason::Rule("mixed-currencies");
        let example = sample.pointer(&shape).filter(|_| !shape.is_empty() && !is_named);
        // Of a list one element is enough.
        let one = |it: &Value| match it.as_array().and_then(|list| list.first()) {
            Some(first) => json!([first]),
            None => it.clone(),
        };
        let example = example.map(|it| format!("\n    such as {}", output::spaced(&one(it))));
        output::wrapped(&format!("{told}{}", example.unwrap_or_default()), LINE)
    };
    found.into_iter().map(line).collect()
}

fn invalid(what: &str, text: &str, bad: &BadData) -> anyhow::Error {
    anyhow!("{what} is not an order:\n{}", mistakes(text, bad).join("\n"))
        .advise("nothing was sent; `quadrille place --print-sample` shows an order that is one")
}

fn invalid_envelope(what: &str, bad: &BadData) -> anyhow::Error {
    let BadData { reason, pointer, message } = bad;
    let place = if pointer.is_empty() { "the whole document" } else { pointer };
    anyhow!("{what} is not an order: {message} (at {place}, {})", reason.code())
        .advise("nothing was sent; `quadrille place --print-sample` shows an order that is one")
}

impl Template {
    /// The order under `id`, under the id that the document names, or under a new one.
    pub(crate) fn order(&self, id: Option<&str>) -> anyhow::Result<Order> {
        let saga = match (id, self.named()) {
            (Some(id), _) => SagaId::parse(id).with_context(|| format!("--id {id:?}"))?,
            (None, Some(id)) => {
                SagaId::parse(&id).with_context(|| format!("the order's {id:?}"))?
            }
            (None, None) => SagaId::parse(&format!("order-{}", random_text(12)))?,
        };
        Order::new(self, &saga).map_err(|bad| invalid_envelope(&format!("order {saga}"), &bad))
    }

    /// The id within the document.
    pub(crate) fn named(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Named {
            order_id: Option<String>,
        }
        #[derive(Deserialize)]
        struct Enclosed {
            data: Named,
        }
        match self {
            Self::Bare(data) => serde_json::from_str::<Named>(data.get()).ok()?.order_id,
            Self::Structured { text, subject } => subject
                .clone()
                .or_else(|| serde_json::from_str::<Enclosed>(text).ok()?.data.order_id),
        }
    }
}

impl Order {
    pub(crate) fn new(template: &Template, saga: &SagaId) -> Result<Self, BadData> {
        let opening = match template {
            Template::Structured { text, .. } => Opening {
                slot: FLOW.slot(FLOW.opens.slot, saga),
                payload: Bytes::from(text.clone()),
                sender: Sender::PerhapsAnother,
            },
            // The envelope holds the time of this call.
            Template::Bare(data) => Opening::wrap(&FLOW, saga, data, None),
        };
        let placed = opening.event(&FLOW).map(OrderPlaced::without_id)?;
        Ok(Self { opening, placed })
    }

    /// Whether the slot holds this very order, whichever call wrote it and in whatever form.
    pub(crate) fn is_what_is_stored(&self, stored: &Stored) -> bool {
        let there = self.opening.event_of(&FLOW, stored).map(OrderPlaced::without_id);
        there.is_ok_and(|there| there == self.placed)
    }
}

impl Sample {
    /// The order these options describe.
    pub(crate) fn placed(&self) -> anyhow::Result<OrderPlaced> {
        let currency = Currency::parse(&self.currency).context("--currency")?;
        let placed = OrderPlaced {
            order_id: None,
            customer: Reference::parse(&self.customer).context("--customer")?,
            payment_method: Reference::parse(&self.payment_method).context("--payment-method")?,
            ship_to: Destination {
                country: self.country.clone(),
                postcode: Some(self.postcode.clone()),
            },
            lines: vec![OrderLine {
                sku: Sku::parse(&self.sku).context("--sku")?,
                quantity: self.quantity,
                unit_price: Money::new(self.price, currency),
            }],
            charges: Vec::new(),
            total: None,
        };
        if let Err(bad) = OrderPlaced::from_data(FLOW.opens.event, placed.to_data().get()) {
            bail!("these options make no order: {} (at {})", bad.message, bad.pointer);
        }
        Ok(placed)
    }
}

/// `length` of lower-case letters and digits, without those that look alike.
pub(crate) fn random_text(length: usize) -> String {
    const LETTERS: &[u8] = b"23456789abcdefghjkmnpqrstuvwxyz";
    (0..length).map(|_| char::from(LETTERS[fastrand::usize(..LETTERS.len())])).collect()
}

/// The whole content of a file, or of stdin for `-`.
fn read_input(file: &Path) -> anyhow::Result<Vec<u8>> {
    Ok(if file.as_os_str() == "-" {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut bytes)?;
        bytes
    } else {
        std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?
    })
}

#[cfg(test)]
mod tests {
    use quadrille::Slot;

    use super::*;

    fn unsent(slot: &Slot, payload: Bytes) -> Stored {
        Stored {
            subject: slot.subject().to_owned(),
            sequence: 0,
            stored_at: jiff::Timestamp::UNIX_EPOCH,
            headers: Vec::new(),
            payload,
        }
    }

    fn bare() -> String {
        Sample::default().placed().unwrap().to_data().get().to_owned()
    }

    fn order(text: &str, id: Option<&str>) -> Result<Order, String> {
        let parsed = parse(text).map_err(|bad| invalid("x.json", text, &bad));
        parsed.and_then(|template| template.order(id)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_bare_order_is_wrapped_and_a_structured_one_is_sent_as_it_is() {
        let wrapped = order(&bare(), Some("A1")).unwrap();
        assert_eq!(wrapped.opening.slot.subject(), "orders.placed.A1");
        let text = String::from_utf8(wrapped.opening.payload.to_vec()).unwrap();
        let again = order(&text, None).unwrap();
        assert_eq!(
            again.opening.slot.saga().as_str(),
            "A1",
            "the id is taken from the event's subject"
        );
        assert_eq!(again.opening.payload, wrapped.opening.payload);
    }

    #[test]
    fn the_same_order_is_recognised_in_whatever_form_it_was_stored() {
        let mine = order(&bare(), Some("A1")).unwrap();
        let named = bare().replacen('{', r#"{"order_id":"A1","note":"ignored","#, 1);
        let stored = unsent(&mine.opening.slot, Bytes::from(named));
        assert!(mine.is_what_is_stored(&stored));
        let other = bare().replace(r#""quantity":12"#, r#""quantity":13"#);
        assert!(!mine.is_what_is_stored(&unsent(&mine.opening.slot, Bytes::from(other))));
    }

    #[test]
    fn a_mistake_is_named_by_its_json_pointer() {
        let negative = bare().replace(r#""quantity":12"#, r#""quantity":-1"#);
        let error = order(&negative, Some("A1")).unwrap_err();
        assert!(error.contains("/lines/0/quantity"), "{error}");
        let wrapped = order(&bare(), Some("A1")).unwrap().opening.payload;
        let wrapped = String::from_utf8(wrapped.to_vec()).unwrap();
        let wrapped = wrapped.replace(r#""currency":"EUR""#, r#""currency":"EUX""#);
        let error = order(&wrapped, None).unwrap_err();
        assert!(error.contains("/data/lines/0/unit_price/currency"), "{error}");
        assert!(order("{", None).unwrap_err().contains("not-json"));
    }

    #[test]
    fn all_mistakes_of_an_order_are_told_at_once_each_with_an_example() {
        let wrong = bare().replace(r#""amount":250"#, r#""amount":2.5"#).replace("cus_1001", "a b");
        let error = order(&wrong, Some("A1")).unwrap_err();
        assert!(error.contains("/lines/0/unit_price/amount: must be whole minor units"), "{error}");
        assert!(error.contains(r#"/customer: "#) && error.contains(r#"such as "cus_"#), "{error}");
        let error = order(r#"{"lines":[]}"#, Some("A1")).unwrap_err();
        assert!(error.contains(r#"such as [{"sku": "ROSE-RED", "quantity": 12,"#), "{error}");
        let wide: Vec<_> = error.lines().filter(|line| line.chars().count() > 80).collect();
        assert_eq!(wide, Vec::<&str>::new());
    }

    #[test]
    fn a_second_currency_is_named_with_that_of_the_first_line() {
        let mut two: Value = serde_json::from_str(&bare()).unwrap();
        let line = two["lines"][0].clone();
        two["lines"] = json!([line.clone(), line]);
        two["lines"][0]["unit_price"]["currency"] = "USD".into();
        let error = order(&two.to_string(), Some("A1")).unwrap_err();
        let error = error.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(error.contains("all have the currency of the first line, USD"), "{error}");
        assert!(!error.contains(r#"such as "EUR""#), "{error}");
    }

    #[test]
    fn white_space_and_what_nobody_reads_do_not_make_an_order_too_large() {
        let padded = bare().replacen('{', &format!("{{{}", " ".repeat(40_000)), 1);
        let noted = bare().replacen('{', &format!(r#"{{"note":"{}","#, "x".repeat(40_000)), 1);
        for text in [padded, noted] {
            let order = order(&text, Some("A1")).unwrap();
            assert!(order.opening.payload.len() < 2_000);
        }
    }

    #[test]
    fn an_id_that_disagrees_with_the_order_is_refused() {
        let named = bare().replacen('{', r#"{"order_id":"B2","#, 1);
        assert_eq!(order(&named, None).unwrap().opening.slot.saga().as_str(), "B2");
        assert!(order(&named, Some("A1")).unwrap_err().contains("id-mismatch"));
        assert!(order(&bare(), Some("a b")).unwrap_err().contains("--id"));
    }

    #[test]
    fn options_that_make_no_order_are_refused() {
        let zero = Sample { quantity: 0, ..Sample::default() };
        assert!(zero.placed().unwrap_err().to_string().contains("/lines/0/quantity"));
    }
}
