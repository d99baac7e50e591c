//! An event type as data, for tools that know types by name: the schema files, a validator, a
//! listing.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{BadData, Event, RawValue, data, parse};

/// One event type of a flow.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    event_type: &'static str,
    schema: fn() -> schemars::Schema,
    read: fn(&str) -> Result<Box<RawValue>, BadData>,
}

impl Kind {
    /// The kind of an event of one type ([`event!`](crate::event!)), not of a
    /// [`one_of!`](crate::one_of!).
    pub const fn of<E: Event + JsonSchema>() -> Self {
        assert!(E::TYPES.len() == 1, "one kind for each type");
        Self {
            event_type: E::TYPES[0],
            schema: || SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<E>(),
            read: |data| E::from_data(E::TYPES[0], data).map(|event| event.to_data()),
        }
    }

    /// The kind of an event that the runtime writes ([`runtime`](super::runtime)), under the type
    /// that a table gives it.
    pub(crate) fn of_runtime<T: Serialize + DeserializeOwned + JsonSchema>(
        event_type: &'static str,
    ) -> Self {
        Self {
            event_type,
            schema: || SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>(),
            read: |text| parse::<T>(text).map(|event| data(&event)),
        }
    }

    /// The CloudEvents type: `payment.charged.v1`.
    pub fn event_type(&self) -> &'static str {
        self.event_type
    }

    /// JSON Schema 2020-12 of CloudEvents `data`. It cannot express every check, such as sums, or
    /// that all lines have one currency.
    pub fn schema(&self) -> schemars::Schema {
        let mut schema = (self.schema)();
        schema.insert("title".to_owned(), self.event_type.into());
        schema
    }

    /// Reads `data`, checks it, and writes it again: known fields only, in the order of the type.
    ///
    /// # Errors
    /// As [`Event::from_data`].
    pub fn read(&self, data: &str) -> Result<Box<RawValue>, BadData> {
        (self.read)(data)
    }
}
