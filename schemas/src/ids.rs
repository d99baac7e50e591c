//! Identifiers, parsed at the edge: whoever holds one holds a valid one.
//!
//! Event ids and idempotency keys are derived (UUIDv5), never drawn: every attempt, replica and
//! redelivery gets the same one, and an auditor can work them out from the log alone.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Namespace of event ids; drawn once, never to be changed.
const EVENTS: Uuid = Uuid::from_u128(0x6f2b_5c1e_3f5d_4c59_9a3e_0d9a_7d55_8f01);
/// Namespace of idempotency keys; drawn once, never to be changed.
const KEYS: Uuid = Uuid::from_u128(0x6f2b_5c1e_3f5d_4c59_9a3e_0d9a_7d55_8f02);

/// A text that is not the id it was taken for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {form}")]
pub struct InvalidId {
    what: &'static str,
    form: &'static str,
}

/// Identifies one saga, and is the last token of all its subjects: `[A-Za-z0-9_-]{1,64}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Cow<'_, str>", into = "String")]
pub struct SagaId(Box<str>);

impl SagaId {
    /// Takes the text as it is: nothing is trimmed, and upper and lower case differ.
    ///
    /// # Errors
    /// When `text` is not `[A-Za-z0-9_-]{1,64}`.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let fits = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if fits {
            Ok(Self(text.into()))
        } else {
            Err(InvalidId { what: "a saga id", form: "1 to 64 of A-Z a-z 0-9 _ -" })
        }
    }

    /// The text it was parsed from.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

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
        let mut token = String::with_capacity(self.0.len());
        for byte in self.0.bytes() {
            if byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-' {
                token.push(char::from(byte));
            } else {
                token.push_str(&format!("={byte:02X}"));
            }
        }
        token
    }
}

/// A reference into somebody else's system (customer, payment method): 1 to 128 printable ASCII
/// characters without spaces. Never a name, a card number or an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Cow<'_, str>", into = "String")]
pub struct Reference(Box<str>);

impl Reference {
    /// # Errors
    /// When `text` is not 1 to 128 printable ASCII characters without spaces.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        if (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(Self(text.into()))
        } else {
            let form = "1 to 128 printable ASCII characters without spaces";
            Err(InvalidId { what: "a reference", form })
        }
    }

    /// The text it was parsed from.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Control characters and the marks that reorder or hide text are not printable.
pub(crate) fn is_printable(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{AD}' | '\u{61C}' | '\u{180E}' | '\u{200B}'..='\u{200F}'
            | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}'
            | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E0FFF}')
}

/// The key one outside request carries: the same on every attempt, replica and redelivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(Uuid);

/// Which half of a step a key belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Does it.
    Run,
    /// Takes it back.
    Undo,
}

impl Direction {
    /// `run` or `undo`, as in keys, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Undo => "undo",
        }
    }
}

impl IdempotencyKey {
    /// UUIDv5 of saga type (`order`), saga id, step (the worker's name), direction and the
    /// request's name within the step, joined by line feeds.
    pub fn derive(
        saga: &str,
        id: &SagaId,
        step: &str,
        direction: Direction,
        request: &str,
    ) -> Self {
        let name = [saga, id.as_str(), step, direction.as_str(), request].join("\n");
        Self(Uuid::new_v5(&KEYS, name.as_bytes()))
    }
}

/// The id of the event of this type that `source` writes into a slot of one saga: two replicas that
/// decide the same write the same id. UUIDv5 of `order`, `A123`, `payment`, `payment.charged.v1`
/// and `charge-customer`, joined by line feeds.
pub fn event_id(saga: &str, id: &SagaId, slot: &str, event_type: &str, source: &str) -> Uuid {
    let name = [saga, id.as_str(), slot, event_type, source].join("\n");
    Uuid::new_v5(&EVENTS, name.as_bytes())
}

macro_rules! text {
    ($($id:ident),*) => {$(
        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl From<$id> for String {
            fn from(id: $id) -> String {
                id.0.into()
            }
        }
        impl TryFrom<Cow<'_, str>> for $id {
            type Error = InvalidId;
            fn try_from(text: Cow<'_, str>) -> Result<Self, InvalidId> {
                Self::parse(&text)
            }
        }
        impl std::str::FromStr for $id {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::parse(text)
            }
        }
    )*};
}
text!(SagaId, Sku, Reference);

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! json_schema {
    ($($id:ident: $pattern:expr),*) => {$(
        impl schemars::JsonSchema for $id {
            fn schema_name() -> Cow<'static, str> {
                stringify!($id).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
    )*};
}
json_schema!(
    SagaId: "^[A-Za-z0-9_-]{1,64}$",
    // The 64 are bytes, which a schema cannot count; tags (U+E0000) need more than this pattern.
    Sku: concat!(
        r"^[^\u0000-\u001F\u007F-\u009F\u00AD\u061C\u180E\u200B-\u200F\u2028-\u202E",
        r"\u2060-\u206F\uFEFF\uFFF9-\uFFFB]{1,64}$"
    ),
    Reference: "^[!-~]{1,128}$"
);
