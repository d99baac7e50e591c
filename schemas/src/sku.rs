//! The names of the things that a shop sells.

use std::borrow::Cow;

use quadrille_vocabulary::id;
use quadrille_vocabulary::ids::{InvalidId, is_printable};
use serde::{Deserialize, Serialize};

/// A stock keeping unit: 1 to 64 bytes of printable text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Cow<'_, str>", into = "String")]
pub struct Sku(Box<str>);

impl Sku {
    /// # Errors
    /// When `text` is empty, over 64 bytes, or holds a control or invisible formatting character.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        if (1..=64).contains(&text.len()) && text.chars().all(is_printable) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidId { what: "a SKU", form: "1 to 64 bytes of printable text" })
        }
    }

    /// The text it was parsed from.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The SKU as one subject token: bytes outside `[A-Za-z0-9_-]` are written `=XX`.
    pub fn subject_token(&self) -> String {
        subject_token(&self.0)
    }
}

/// This text as one token of a subject, and no other text's.
pub(crate) fn subject_token(text: &str) -> String {
    let mut token = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-' {
            token.push(char::from(byte));
        } else {
            token.push_str(&format!("={byte:02X}"));
        }
    }
    token
}

// The limit of 64 is in bytes, which a schema cannot count; tags (U+E0000) need more than this
// pattern.
id!(Sku: concat!(
    r"^[^\u0000-\u001F\u007F-\u009F\u00AD\u061C\u180E\u200B-\u200F\u2028-\u202E",
    r"\u2060-\u206F\uFEFF\uFFF9-\uFFFB]{1,64}$"
));
