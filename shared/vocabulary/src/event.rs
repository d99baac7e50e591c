//! What makes a Rust type an event of the log: its wire type, and a strict way in from JSON.
//!
//! A reader ignores unknown fields. It refuses everything else with a reason code and the JSON
//! pointer of the place, and a parked message carries both.

mod kind;
mod mistakes;
mod no_json;
mod objects;
mod parse;
mod reason;
pub mod runtime;
pub mod text;

pub use kind::Kind;
pub use mistakes::{MOST_MISTAKES, Mistake, Of};
pub use no_json::no_json;
pub use parse::{MAX_DEPTH, parse};
pub use reason::Reason;

use serde::{Deserialize, Serialize};
pub use serde_json::value::RawValue;

use crate::SagaId;

/// A fact of the log.
///
/// Most events are one struct of one wire type ([`event!`](crate::event!)); if a slot can hold
/// either of two, the type is an enum of them ([`one_of!`](crate::one_of!)).
pub trait Event: Sized + Send + Sync + 'static {
    /// The CloudEvents types this can be, version suffix included: `payment.charged.v1`.
    const TYPES: &'static [&'static str];

    /// The one of [`Self::TYPES`] that this is.
    fn event_type(&self) -> &'static str;

    /// Reads the JSON of CloudEvents `data`; `event_type` is one of [`Self::TYPES`], and
    /// distinguishes the variants of a [`one_of!`](crate::one_of!) (a single event does not look at
    /// it).
    ///
    /// # Errors
    /// What [`parse`] finds, and what the event's own `check` finds: a reason, and a pointer within
    /// `data`. [`Reason::UnknownType`] when no variant has this type.
    fn from_data(event_type: &str, data: &str) -> Result<Self, BadData>;

    /// The JSON of CloudEvents `data`.
    fn to_data(&self) -> Box<RawValue>;

    /// The saga that the data itself names, if it names one, and in which field: it must agree with
    /// the subject.
    fn named_saga(&self) -> Option<(&'static str, &SagaId)> {
        None
    }

    /// Every mistake in `data`, as [`Kind::mistakes`] finds them; none for an event that only our
    /// own workers write, whose first mistake is enough.
    fn mistakes(_data: &str) -> Vec<Mistake> {
        Vec::new()
    }
}

/// An event by which a step refuses.
///
/// Its `data` has a text field `reason`, which every reader of the log finds by that name, in any
/// saga: [`refusal!`](crate::refusal!) implements this trait for a struct that has the field.
pub trait Refusal: Event {
    /// A short code: ours have dashes (`out-of-stock`), an outside service's is as the service gave
    /// it (`insufficient_funds`).
    fn reason(&self) -> &str;
}

/// The reason in the `data` of any refusal, stop or signal; empty if there is none.
pub fn reason_in(data: &str) -> String {
    #[derive(Deserialize)]
    struct Reasoned {
        #[serde(default)]
        reason: String,
    }
    serde_json::from_str(data).map(|data: Reasoned| data.reason).unwrap_or_default()
}

/// Why a message cannot be read: a code, the place (RFC 6901, empty for the whole document) and a
/// sentence without any of the sender's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} at {pointer:?} ({})", reason.code())]
pub struct BadData {
    pub reason: Reason,
    /// RFC 6901, within the `data` that was read: `/lines/0/unit_price/currency`.
    pub pointer: String,
    /// For a human; lower case, no full stop.
    pub message: String,
}

impl BadData {
    /// `message` must not quote what was sent, because it is logged.
    pub fn new(reason: Reason, pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { reason, pointer: pointer.into(), message: message.into() }
    }
}

/// The JSON of an event's `data`.
///
/// # Panics
/// When `event` is no plain struct: a map whose keys are not text, for example.
#[doc(hidden)] // For `event!` and the runtime; everyone else has `Event::to_data`.
pub fn data(event: &impl Serialize) -> Box<RawValue> {
    serde_json::value::to_raw_value(event).expect("plain structs always serialise")
}

/// # Errors
/// [`Reason::TooLarge`] when the JSON of `event`, which was read from `text`, has more than
/// `max_bytes` bytes without white space and without what is not read.
#[doc(hidden)] // For `event!`, whose `max_bytes` it checks.
pub fn fits(event: &impl Serialize, text: &str, max_bytes: usize) -> Result<(), BadData> {
    if text.len() <= max_bytes || data(event).get().len() <= max_bytes {
        return Ok(());
    }
    Err(BadData::new(Reason::TooLarge, "", format!("over {max_bytes} bytes")))
}

/// Makes a serde struct the one event of a wire type.
///
/// `check` names a method (`fn(&self) -> Result<(), BadData>`) that finds what the types alone
/// cannot, `max_bytes` bounds the JSON of what is read, `names` is the `Option<SagaId>` field that
/// must agree with the subject. `sample` names a function, as [`Kind::mistakes`] wants its sample:
/// with it, every mistake is told and not only the first.
#[macro_export]
macro_rules! event {
    (
        $name:ident = $type:literal
        $(, check = $check:ident)? $(, max_bytes = $max:expr)? $(, names = $field:ident)?
        $(, sample = $sample:path)?
    ) => {
        impl $crate::Event for $name {
            const TYPES: &'static [&'static str] = &[$type];
            fn event_type(&self) -> &'static str {
                $type
            }
            fn from_data(_: &str, data: &str) -> Result<Self, $crate::BadData> {
                let event: Self = $crate::event::parse(data)?;
                $($crate::event::fits(&event, data, $max)?;)?
                $(event.$check()?;)?
                Ok(event)
            }
            fn to_data(&self) -> Box<$crate::event::RawValue> {
                $crate::event::data(self)
            }
            $(fn named_saga(&self) -> Option<(&'static str, &$crate::SagaId)> {
                self.$field.as_ref().map(|saga| (concat!("/", stringify!($field)), saga))
            })?
            $(fn mistakes(data: &str) -> Vec<$crate::event::Mistake> {
                $crate::event::Kind::of::<Self>().mistakes(data, &$sample())
            })?
        }
    };
}

/// Makes events with a field `reason: String` refusals.
#[macro_export]
macro_rules! refusal {
    ($($name:ident),+ $(,)?) => {$(
        impl $crate::Refusal for $name {
            fn reason(&self) -> &str {
                &self.reason
            }
        }
    )+};
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
                    let event = <$event as $crate::Event>::from_data(event_type, data);
                    return event.map(Self::$variant);
                })+
                let what = "not one of this slot's types";
                Err($crate::BadData::new($crate::Reason::UnknownType, "/type", what))
            }
            fn to_data(&self) -> Box<$crate::event::RawValue> {
                match self {
                    $(Self::$variant(event) => event.to_data()),+
                }
            }
        }
    };
}
