//! What an author of a projection writes: the tables, and what one event does to their rows.

use quadrille::event::{BadData, Event};
use quadrille::log::envelope::{Envelope, trace};
use quadrille::log::story::{Fact, State};
use quadrille::{Flow, SagaId};
use rusqlite::types::Value;

/// A projection's tables, and the rows that events make: plain data and one pure function.
#[derive(Clone, Copy)]
pub struct ReadModel {
    /// Names the file: `orders`.
    pub name: &'static str,
    /// To be raised with every change of the tables, of the indexes or of what [`apply`] writes,
    /// and with one of what this crate itself writes: the projection is then built anew.
    ///
    /// [`apply`]: ReadModel::apply
    pub version: u32,
    /// The oldest version whose tables this build's queries can read. A file of that version or a
    /// newer one serves while the new one is built; an older one does not.
    pub readable_from: u32,
    /// `CREATE TABLE …;` for each table, with the keys that [`apply`] needs.
    ///
    /// [`apply`]: ReadModel::apply
    pub tables: &'static [&'static str],
    /// `CREATE INDEX …;` for all that only queries need: made after a build, which is faster.
    pub indexes: &'static [&'static str],
    /// What an event changes. It must depend on nothing but the event: no clock, no randomness.
    pub apply: fn(&Happened<'_>, &mut Rows),
}

impl std::fmt::Debug for ReadModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} version {}", self.name, self.version)
    }
}

/// An event of a saga, and where it takes the saga.
#[derive(Debug)]
pub struct Happened<'e> {
    pub flow: &'static Flow,
    pub saga: &'e SagaId,
    /// What it is: slot, kind, source, reason, sequence and time.
    pub fact: &'e Fact,
    /// What opened the saga; the event itself, if it does. `None` where it is not in the log so
    /// far, which happens only by hand.
    pub opening: Option<&'e Fact>,
    /// Where the saga stood before; `None` if it was not opened.
    pub before: Option<&'e State>,
    /// Where it stands now; `None` if it is not opened.
    pub after: Option<&'e State>,
    /// The message, or why it cannot be read.
    pub envelope: Result<&'e Envelope<'e>, &'e BadData>,
}

impl Happened<'_> {
    /// Reads the event's data.
    ///
    /// # Errors
    /// What is wrong with the message, or with its data.
    pub fn read<E: Event>(&self) -> Result<E, BadData> {
        match self.envelope {
            Ok(envelope) => envelope.event(self.saga),
            Err(bad) => Err(bad.clone()),
        }
    }

    /// Of the event; `None` if it cannot be read.
    pub fn event_type(&self) -> Option<&str> {
        self.envelope.ok().map(|envelope| &*envelope.event_type)
    }

    /// The trace that the event belongs to (W3C trace context), in 32 hexadecimal digits.
    pub fn trace(&self) -> String {
        let given = self.envelope.ok().and_then(|envelope| envelope.traceparent.as_deref());
        trace(given, self.flow, self.saga)
    }
}

/// The changes that one event makes, in order.
#[derive(Debug, Default)]
pub struct Rows {
    pub(crate) writes: Vec<Write>,
    pub(crate) skipped: Option<BadData>,
}

/// One statement and its values.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// One `INSERT`, `UPDATE` or `DELETE`, with `?1` and so on.
    pub sql: &'static str,
    pub values: Vec<Value>,
}

impl Rows {
    /// Adds a change: one statement, always the same text, with its values.
    pub fn write<const N: usize>(&mut self, sql: &'static str, values: [Value; N]) {
        self.writes.push(Write { sql, values: values.into() });
    }

    /// Records that the event, or a part of it, cannot be applied. The changes that were added
    /// stay.
    pub fn skip(&mut self, bad: BadData) {
        self.skipped = Some(bad);
    }
}

/// A text as a value of a row.
pub fn text(text: impl AsRef<str>) -> Value {
    Value::Text(text.as_ref().to_owned())
}

/// A text that may be absent: an empty one counts as absent.
pub fn text_or_null(text: Option<impl AsRef<str>>) -> Value {
    match text {
        Some(text) if !text.as_ref().is_empty() => Value::Text(text.as_ref().to_owned()),
        Some(_) | None => Value::Null,
    }
}

/// A count, or a sequence of the log. The broker counts no stream beyond 63 bits.
pub fn number(number: u64) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

/// A time of the broker, in microseconds since 1970.
pub fn time(time: jiff::Timestamp) -> Value {
    Value::Integer(time.as_microsecond())
}
