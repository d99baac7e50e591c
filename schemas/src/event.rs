//! What makes a Rust type an event of the log: its wire type, and a strict way in from JSON.
//!
//! A reader ignores unknown fields and refuses everything else with a reason code and the JSON
//! pointer of the place, which travel with a parked message.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::SagaId;

/// A fact of the log.
///
/// Most events are one struct of one wire type ([`event!`](crate::event)); where a slot can hold
/// either of two, the type is an enum of them ([`one_of!`](crate::one_of)).
pub trait Event: Sized + Send + Sync + 'static {
    /// The CloudEvents types this can be, version suffix included: `payment.charged.v1`.
    const TYPES: &'static [&'static str];

    /// The one of [`Self::TYPES`] that this is.
    fn event_type(&self) -> &'static str;

    /// # Errors
    /// When `data` is not what `event_type` promises.
    fn from_data(event_type: &str, data: &str) -> Result<Self, BadData>;

    /// The JSON of CloudEvents `data`.
    fn to_data(&self) -> Box<RawValue>;

    /// The saga the data itself names, if it does: it must agree with the subject.
    fn named_saga(&self) -> Option<&SagaId> {
        None
    }
}

/// An event by which a step says no.
pub trait Refusal: Event {
    /// A short code, lower case with dashes: `out-of-stock`.
    fn reason(&self) -> &str;
}

/// What is wrong with a message, as a code that machines may count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    NotJson,
    TooLarge,
    InvalidField,
    TooManyLines,
    MixedCurrencies,
    TotalOverflows,
    IdMismatch,
    UnknownType,
    UnknownVersion,
    WrongSource,
    NoCause,
    BadMessage,
    OrphanEffect,
}

impl Reason {
    pub fn code(self) -> &'static str {
        match self {
            Self::NotJson => "not-json",
            Self::TooLarge => "too-large",
            Self::InvalidField => "invalid-field",
            Self::TooManyLines => "too-many-lines",
            Self::MixedCurrencies => "mixed-currencies",
            Self::TotalOverflows => "total-overflows",
            Self::IdMismatch => "id-mismatch",
            Self::UnknownType => "unknown-type",
            Self::UnknownVersion => "unknown-version",
            Self::WrongSource => "wrong-source",
            Self::NoCause => "no-cause",
            Self::BadMessage => "bad-message",
            Self::OrphanEffect => "orphan-effect",
        }
    }
}

/// Why a message cannot be read: a code, the place (RFC 6901, empty for the whole document) and a
/// sentence without any of the sender's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} at {pointer:?} ({})", reason.code())]
pub struct BadData {
    pub reason: Reason,
    pub pointer: String,
    pub message: String,
}

impl BadData {
    pub fn new(reason: Reason, pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { reason, pointer: pointer.into(), message: message.into() }
    }
}

/// Reads `data` as `T`; a mistake is found again with its path, so that the good case pays nothing.
///
/// # Errors
/// [`Reason::NotJson`] when it is no JSON (or nests over 128 deep), [`Reason::InvalidField`] else.
pub fn parse<T: DeserializeOwned>(data: &str) -> Result<T, BadData> {
    serde_json::from_str(data).or_else(|_| {
        let mut reader = serde_json::Deserializer::from_str(data);
        let value = serde_path_to_error::deserialize(&mut reader).map_err(|at| {
            let pointer = pointer(at.path());
            let error = at.into_inner();
            let reason = if error.is_data() { Reason::InvalidField } else { Reason::NotJson };
            BadData::new(reason, pointer, plain(&error))
        })?;
        reader.end().map_err(|error| BadData::new(Reason::NotJson, "", plain(&error)))?;
        Ok(value)
    })
}

/// serde quotes the offending value; a log must not carry a stranger's text.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.split_once(": ") {
        Some((kind, rest)) if kind.starts_with("invalid") => {
            match rest.rsplit_once(", expected ") {
                Some((_, expected)) => format!("{kind}, expected {expected}"),
                None => kind.to_owned(),
            }
        }
        _ => text,
    }
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter()
        .map(|segment| match segment {
            Segment::Seq { index } => format!("/{index}"),
            Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
            Segment::Enum { variant } => format!("/{variant}"),
            Segment::Unknown => String::new(),
        })
        .collect()
}

/// Makes a serde struct the one event of a wire type; `check` names a method that finds what the
/// types alone cannot.
#[macro_export]
macro_rules! event {
    ($name:ident = $type:literal $(, check = $check:ident)? $(, names = $field:ident)?) => {
        impl $crate::Event for $name {
            const TYPES: &'static [&'static str] = &[$type];
            fn event_type(&self) -> &'static str {
                $type
            }
            fn from_data(_: &str, data: &str) -> Result<Self, $crate::BadData> {
                let event: Self = $crate::event::parse(data)?;
                $(event.$check()?;)?
                Ok(event)
            }
            fn to_data(&self) -> Box<serde_json::value::RawValue> {
                serde_json::value::to_raw_value(self).expect("plain structs always serialise")
            }
            $(fn named_saga(&self) -> Option<&$crate::SagaId> {
                self.$field.as_ref()
            })?
        }
    };
}

/// Makes an enum of events an event: a slot that may hold any of them.
#[macro_export]
macro_rules! one_of {
    ($name:ident { $($variant:ident($event:ident)),+ }) => {
        impl $crate::Event for $name {
            const TYPES: &'static [&'static str] = &[$(<$event as $crate::Event>::TYPES[0]),+];
            fn event_type(&self) -> &'static str {
                match self {
                    $(Self::$variant(event) => event.event_type()),+
                }
            }
            fn from_data(event_type: &str, data: &str) -> Result<Self, $crate::BadData> {
                $(if <$event as $crate::Event>::TYPES[0] == event_type {
                    return <$event as $crate::Event>::from_data(event_type, data).map(Self::$variant);
                })+
                Err($crate::BadData::new($crate::Reason::UnknownType, "/type", "not one of this slot's types"))
            }
            fn to_data(&self) -> Box<serde_json::value::RawValue> {
                match self {
                    $(Self::$variant(event) => event.to_data()),+
                }
            }
        }
    };
}
