//! What became of one line that is no order in the log: where it stands, and every mistake in it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use quadrille::event::Kind;
use quadrille::log::open;
use quadrille::log::story::Occupied;
use quadrille::{BadData, Reason};
use schemas::order_fulfilment::FLOW;
use schemas::order_fulfilment::events::{OrderPlaced, full_sample};
use serde::Serialize;

use super::documents::Document;

/// A line that was not placed: one line of the file of rejects.
#[derive(Debug, Serialize)]
pub(super) struct Reject {
    /// The first line is 1.
    pub(super) line: u64,
    /// Its place in an array, from 0 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<u64>,
    id: Option<String>,
    /// At least one.
    mistakes: Vec<Mistake>,
    /// The line as it is; cut where it is longer than any order.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// The same, where it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    /// Of the whole line.
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct Mistake {
    /// Within the line; empty for the whole of it.
    pointer: String,
    code: String,
    message: String,
}

impl Reject {
    fn new(document: &Document, mistakes: Vec<Mistake>) -> Self {
        let text = std::str::from_utf8(&document.text).ok().map(str::to_owned);
        let base64 = text.is_none().then(|| STANDARD.encode(&document.text));
        let (line, item, bytes) = (document.line, document.item, document.bytes);
        Self { line, item, id: None, mistakes, text, base64, bytes }
    }

    /// A line that is no valid order.
    pub(super) fn invalid(document: &Document, bad: BadData) -> Self {
        let bare = std::str::from_utf8(&document.text).map_or_else(
            |_| Vec::new(),
            |text| Kind::of::<OrderPlaced>().mistakes(text, &full_sample()),
        );
        // The one that was found may not be in the data, but in the envelope around them.
        let found: Vec<BadData> = match bare.iter().any(|mistake| mistake.bad.reason == bad.reason)
        {
            true => bare.into_iter().map(|mistake| mistake.bad).collect(),
            false => vec![bad],
        };
        let mistakes = found.into_iter().map(Mistake::of).map(|mistake| match document.item {
            // Its line is named already.
            None => {
                Mistake { message: mistake.message.replace("line 1, column", "column"), ..mistake }
            }
            Some(_) => mistake,
        });
        Self::new(document, mistakes.collect())
    }

    /// A line that cannot be read as a document.
    pub(super) fn unreadable(document: &Document, why: &str) -> Self {
        Self::new(document, vec![Mistake::told("", Reason::NotJson.code(), why)])
    }

    /// A line without an id.
    pub(super) fn nameless(document: &Document) -> Self {
        let message = "the order names no id: put one in, or give --prefix TEXT, which makes \
                       TEXT-LINE of it";
        Self::new(document, vec![Mistake::told("/order_id", "no-id", message)])
    }

    /// A valid order that the log does not take.
    pub(super) fn refused(document: &Document, id: &str, error: &open::Error) -> Self {
        let (code, message) = match error {
            open::Error::Taken { sequence } => (
                "already-placed",
                format!(
                    "the order is already placed, with other data (sequence {sequence}); that one \
                     is kept"
                ),
            ),
            open::Error::TooLarge => ("too-large", "the event is over 64 KB".to_owned()),
            open::Error::Full => ("log-full", format!("the log {} is full", FLOW.stream)),
            open::Error::NoAnswer(why) => {
                ("no-answer", format!("no answer says whether it was stored: {why}"))
            }
            open::Error::Rejected { code, description } => {
                ("rejected", format!("the broker refuses it ({code}): {description}"))
            }
        };
        let reject = Self::new(document, vec![Mistake::told("", code, message)]);
        Self { id: Some(id.to_owned()), ..reject }
    }

    /// A valid order that could not end.
    pub(super) fn spent(document: &Document, id: &str, spent: &Occupied) -> Self {
        let reject = Self::new(document, vec![Mistake::told("", "id-spent", spent.what())]);
        Self { id: Some(id.to_owned()), ..reject }
    }

    /// In one line, for people.
    pub(super) fn sentence(&self) -> String {
        let mistakes = self.mistakes.iter().map(|mistake| {
            let Mistake { pointer, code, message } = mistake;
            let place = if pointer.is_empty() { "" } else { " at " };
            format!("{message} ({code}{place}{pointer})")
        });
        let item = self.item.map(|item| format!(" (element {item})")).unwrap_or_default();
        let id = self.id.as_ref().map(|id| format!("{id}: ")).unwrap_or_default();
        let mistakes = mistakes.collect::<Vec<_>>().join("; ");
        format!("line {}{item}: {id}{mistakes}", self.line)
    }
}

impl Mistake {
    fn of(bad: BadData) -> Self {
        Self::told(&bad.pointer, bad.reason.code(), bad.message)
    }

    fn told(pointer: &str, code: &str, message: impl Into<String>) -> Self {
        Self { pointer: pointer.to_owned(), code: code.to_owned(), message: message.into() }
    }
}
