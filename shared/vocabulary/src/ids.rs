//! Identifiers, parsed at the edge: a value of one of these types is always valid.
//!
//! Event ids and idempotency keys are derived (UUIDv5), never random: every attempt, replica and
//! redelivery gets the same one, and an auditor can compute them from the log alone.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Namespace of event ids; chosen at random once, and never to be changed.
const EVENTS: Uuid = Uuid::from_u128(0x6f2b_5c1e_3f5d_4c59_9a3e_0d9a_7d55_8f01);

/// A text that is not the id it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {form}")]
pub struct InvalidId {
    /// With its article: `a saga id`.
    pub what: &'static str,
    /// What it must be: `1 to 64 of A-Z a-z 0-9 _ -`.
    pub form: &'static str,
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

/// A reference into another system (customer, payment method): 1 to 128 printable ASCII characters
/// without spaces. Never a name, a card number or an address.
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

/// Whether a character is visible: no control character, and no mark that reorders or hides text.
pub fn is_printable(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{AD}' | '\u{61C}' | '\u{180E}' | '\u{200B}'..='\u{200F}'
            | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}'
            | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E0FFF}')
}

/// Text of others as it may be shown and kept: its first `longest` characters that are printable,
/// each other one as a space.
pub fn shown(text: &str, longest: usize) -> String {
    let plain = |c: char| if is_printable(c) { c } else { ' ' };
    let text: String = text.chars().map(plain).take(longest).collect();
    text.trim().to_owned()
}

/// What the idempotency keys of one log have in common, and no other log's have: two logs that use
/// one account of a service may both have an order 1001. Drawn when the log is made, and kept with
/// it; a UUID in its usual form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyNamespace(Uuid);

impl KeyNamespace {
    /// That of all logs which were made before each had its own.
    pub const FIRST: Self = Self(Uuid::from_u128(0x6f2b_5c1e_3f5d_4c59_9a3e_0d9a_7d55_8f02));

    /// A new one.
    pub fn draw() -> Self {
        Self(Uuid::new_v4())
    }

    /// # Errors
    /// When `text` is no UUID.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let form = "a UUID such as 6f2b5c1e-3f5d-4c59-9a3e-0d9a7d558f02";
        let wrong = |_| InvalidId { what: "a namespace of idempotency keys", form };
        text.parse().map(Self).map_err(wrong)
    }

    /// What a worker writes into an event, so that whoever acts on it knows that its cause was
    /// delivered from this log: UUIDv5, in the log's namespace, of `seal`, the time of its creation
    /// in nanoseconds since 1970, the event's subject and the cause's sequence, joined by line
    /// feeds.
    pub fn seal(self, made: i128, subject: &str, cause: u64) -> Uuid {
        Uuid::new_v5(&self.0, format!("seal\n{made}\n{subject}\n{cause}").as_bytes())
    }
}

/// The idempotency key that one outside request carries: the same on every attempt, replica and
/// redelivery.
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
    /// UUIDv5, in the log's namespace, of saga type (`order`), saga id, step (the worker's name),
    /// direction and the request's name within the step, joined by line feeds.
    pub fn derive(
        log: KeyNamespace,
        saga: &str,
        id: &SagaId,
        step: &str,
        direction: Direction,
        request: &str,
    ) -> Self {
        let name = [saga, id.as_str(), step, direction.as_str(), request].join("\n");
        Self(Uuid::new_v5(&log.0, name.as_bytes()))
    }
}

/// The id of the event of this type that `source` writes into a slot of one saga: two replicas that
/// decide the same write the same id. UUIDv5 of `trip`, `T1`, `hotel`, `hotel.booked.v1` and
/// `book-hotel`, joined by line feeds.
pub fn event_id(saga: &str, id: &SagaId, slot: &str, event_type: &str, source: &str) -> Uuid {
    let name = [saga, id.as_str(), slot, event_type, source].join("\n");
    Uuid::new_v5(&EVENTS, name.as_bytes())
}

/// Gives newtypes over `Box<str>` that have a `parse` all that an id needs: text that is checked
/// everywhere it is read. The pattern is that of their JSON Schema.
#[macro_export]
macro_rules! id {
    ($($id:ident: $pattern:expr),+ $(,)?) => {$(
        impl std::fmt::Display for $id {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl From<$id> for String {
            fn from(id: $id) -> String {
                id.0.into()
            }
        }
        impl TryFrom<std::borrow::Cow<'_, str>> for $id {
            type Error = $crate::ids::InvalidId;
            fn try_from(text: std::borrow::Cow<'_, str>) -> Result<Self, Self::Error> {
                Self::parse(&text)
            }
        }
        impl std::str::FromStr for $id {
            type Err = $crate::ids::InvalidId;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::parse(text)
            }
        }
        impl $crate::schemars::JsonSchema for $id {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($id).into()
            }
            fn json_schema(
                _: &mut $crate::schemars::SchemaGenerator,
            ) -> $crate::schemars::Schema {
                $crate::schemars::json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
    )+};
}
crate::id!(SagaId: "^[A-Za-z0-9_-]{1,64}$", Reference: "^[!-~]{1,128}$");

impl fmt::Display for KeyNamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for KeyNamespace {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Self::parse(text)
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
