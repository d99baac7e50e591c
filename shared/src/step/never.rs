//! The refusal of a step that has none.

use crate::{Event, Refusal};

/// The refusal of a step that cannot refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Never {}

impl Event for Never {
    const TYPES: &'static [&'static str] = &[];
    fn event_type(&self) -> &'static str {
        match *self {}
    }
    fn from_data(_: &str, _: &str) -> Result<Self, crate::BadData> {
        let what = "this step never refuses";
        Err(crate::BadData::new(crate::Reason::UnknownType, "/type", what))
    }
    fn to_data(&self) -> Box<serde_json::value::RawValue> {
        match *self {}
    }
}

impl Refusal for Never {
    fn reason(&self) -> &str {
        match *self {}
    }
}
