//! Durations as people write them: `500ms`, `2s`, `1m 30s`, `24h`.

use std::borrow::Cow;
use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

/// For `#[serde(with = "quadrille::config::duration")]`.
///
/// # Errors
/// When the text is no duration, or a negative one.
pub fn deserialize<'de, D: Deserializer<'de>>(reader: D) -> Result<Duration, D::Error> {
    let text = Cow::<'de, str>::deserialize(reader)?;
    let wrong = || D::Error::custom("must be a duration such as 500ms, 2s, 1m 30s or 24h");
    let parsed: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
    Duration::try_from(parsed).map_err(|_| wrong())
}

/// In the form that [`deserialize`] reads.
///
/// # Errors
/// When the writer takes no text.
pub fn serialize<S: Serializer>(time: &Duration, writer: S) -> Result<S::Ok, S::Error> {
    let time = jiff::SignedDuration::try_from(*time).unwrap_or(jiff::SignedDuration::MAX);
    writer.collect_str(&format_args!("{time:#}"))
}
