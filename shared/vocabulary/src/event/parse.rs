//! The strict way in from JSON: a mistake is named by its place, never by the sender's words.

use serde::de::{DeserializeOwned, IgnoredAny};

use super::no_json::no_json;
use super::objects::Objects;
use super::{BadData, Reason};

/// How deep arrays and objects may nest, unknown fields included. Our events are four deep; other
/// readers of the log give up between 100 (JSON of many languages) and 1,000.
pub const MAX_DEPTH: usize = 64;

/// How a message about half a surrogate pair, or a number beyond all limits, begins.
pub(super) const UNREADABLE: &str = "not readable";

/// Reads `data` as `T`, whose structs are JSON objects (never arrays of their fields). Only after a
/// mistake is `data` read a second time, to find its place, so that the good case pays nothing for
/// it.
///
/// # Errors
/// [`Reason::NotJson`] with the empty pointer when it is no JSON document, has bytes after its end,
/// or nests over [`MAX_DEPTH`] deep; otherwise [`Reason::InvalidField`] and the field's pointer.
/// For a missing or repeated field this is the pointer of the object around it. The message quotes
/// nothing of `data`, as long as the error messages of `T`'s own types do not.
pub fn parse<T: DeserializeOwned>(data: &str) -> Result<T, BadData> {
    if is_too_deep(data) {
        return Err(BadData::new(Reason::NotJson, "", "nests over 64 deep"));
    }
    read(data).map_err(|error| mistake::<T>(data, &error))
}

fn read<T: DeserializeOwned>(data: &str) -> serde_json::Result<T> {
    let mut reader = serde_json::Deserializer::from_str(data);
    let value = T::deserialize(Objects(&mut reader))?;
    reader.end()?;
    Ok(value)
}

fn mistake<T: DeserializeOwned>(data: &str, error: &serde_json::Error) -> BadData {
    if let Err(error) = serde_json::from_str::<IgnoredAny>(data) {
        return no_json(&error);
    }
    let mut reader = serde_json::Deserializer::from_str(data);
    let place = match serde_path_to_error::deserialize::<_, T>(Objects(&mut reader)) {
        Err(at) => pointer(at.path()),
        Ok(_) => String::new(),
    };
    // The document is JSON, and one of its texts or numbers is none that any type could hold.
    let message =
        if error.is_data() { plain(error) } else { format!("{UNREADABLE}: {}", plain(error)) };
    BadData::new(Reason::InvalidField, place, message)
}

/// Counts brackets outside strings, because serde would follow an ignored field to any depth.
fn is_too_deep(data: &str) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in data.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return true;
        }
    }
    false
}

/// Keeps only what serde expected, which is our own text and comes last, because serde also quotes
/// what it found.
fn plain(error: &serde_json::Error) -> String {
    const QUOTING: [&str; 5] =
        ["invalid type", "invalid value", "invalid length", "unknown variant", "unknown field"];
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    match QUOTING.iter().find(|kind| text.starts_with(**kind)) {
        Some(kind) => match text.rsplit_once(", expected ") {
            Some((_, expected)) => format!("{kind}, expected {expected}"),
            None => (*kind).to_owned(),
        },
        None => text.to_owned(),
    }
}

/// RFC 6901. A key that does not look like one of our fields is the sender's text, and becomes `-`.
fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let ours = |key: &str| {
        key.len() <= 64 && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    };
    path.iter()
        .map(|segment| match segment {
            Segment::Seq { index } => format!("/{index}"),
            Segment::Map { key: name } | Segment::Enum { variant: name } if ours(name) => {
                format!("/{name}")
            }
            Segment::Map { .. } | Segment::Enum { .. } => "/-".to_owned(),
            Segment::Unknown => String::new(),
        })
        .collect()
}
