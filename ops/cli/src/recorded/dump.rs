//! A folder of one file for each message: what `nats sub --dump` writes. Sequence and time are in
//! the subject on which the message would have been acknowledged.

use std::path::{Path, PathBuf};

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use quadrille::broker::Stored;
use quadrille::nats::Names;
use serde::Deserialize;

use super::{PAGE, Read, Unreadable};

/// One message, as the stock tool writes it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Dumped {
    subject: String,
    #[serde(default)]
    reply: String,
    #[serde(default)]
    header: std::collections::BTreeMap<String, Vec<String>>,
    /// Base64; null for an empty one.
    data: Option<String>,
}

/// The files of a folder, in the order of their numbers.
#[derive(Debug)]
pub(super) struct Files {
    files: Vec<PathBuf>,
    next: usize,
    held: Option<Unreadable>,
    /// What the broker called its subjects.
    names: Names,
}

impl Files {
    pub(super) fn open(folder: &Path, names: Names) -> anyhow::Result<Self> {
        let name = folder.display();
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {name}"))? {
            let path = entry?.path();
            let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
            if path.extension().is_some_and(|end| end == "json")
                && let Some(number) = number
            {
                files.push((number, path));
            }
        }
        files.sort();
        let files = files.into_iter().map(|(_, path)| path).collect();
        Ok(Self { files, next: 0, held: None, names })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    pub(super) fn len(&self) -> u64 {
        self.files.len() as u64
    }

    pub(super) fn next(&mut self) -> anyhow::Result<Read> {
        if let Some(held) = self.held.take() {
            return Ok(Read::Unreadable(held));
        }
        let mut messages = Vec::new();
        while let (Some(path), true) = (self.files.get(self.next), messages.len() < PAGE) {
            self.next += 1;
            let text = std::fs::read(path).map_err(|error| error.to_string());
            match text.and_then(|text| stored(&text)) {
                Ok(stored) => messages.push(self.names.stored(stored)),
                Err(why) => {
                    self.held = Some(Unreadable { place: path.display().to_string(), why });
                    break;
                }
            }
        }
        match (messages.is_empty(), self.held.take()) {
            (true, Some(bad)) => Ok(Read::Unreadable(bad)),
            (true, None) => Ok(Read::End),
            (false, held) => {
                self.held = held;
                Ok(Read::Messages(messages))
            }
        }
    }

    pub(super) fn rewind(&mut self) {
        (self.next, self.held) = (0, None);
    }
}

fn stored(text: &[u8]) -> Result<Stored, String> {
    let dumped: Dumped = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let (sequence, stored_at) = place(&dumped.reply)
        .ok_or("its `Reply` names no sequence: was it received from a stream?")?;
    let data = dumped.data.unwrap_or_default();
    let payload = STANDARD.decode(data).map_err(|error| error.to_string())?;
    let headers = dumped.header.into_iter().flat_map(|(name, values)| {
        values.into_iter().map(move |value| (name.to_lowercase(), value))
    });
    Ok(Stored {
        subject: dumped.subject,
        sequence,
        stored_at,
        headers: headers.filter(|(name, _)| is_useful(name)).collect(),
        payload: payload.into(),
    })
}

/// What the envelope can use.
fn is_useful(name: &str) -> bool {
    name == "content-type" || name == "traceparent" || name.starts_with("ce-")
}

/// Sequence and time from an acknowledgement's subject, of either form: after the durable's name
/// come deliveries, sequence, the durable's own count, nanoseconds since the epoch, and what is
/// left.
fn place(reply: &str) -> Option<(u64, Timestamp)> {
    let parts: Vec<_> = reply.split('.').collect();
    let of_stream = match parts.len() {
        9 => &parts[4..],
        11.. => &parts[6..],
        _ => return None,
    };
    let sequence = of_stream.get(1)?.parse().ok()?;
    let nanoseconds = of_stream.get(3)?.parse().ok()?;
    Some((sequence, Timestamp::from_nanosecond(nanoseconds).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_and_time_are_read_from_either_form_of_the_reply() {
        let time = Timestamp::from_nanosecond(1_795_655_900_533_464_011).unwrap();
        let old = "ack.ACK.ORDERS.l6lk9OdR.1.17.1.1795655900533464011.1";
        let new = "ack.ACK.hub.Ab12.ORDERS.l6lk9OdR.1.17.1.1795655900533464011.1";
        assert_eq!((place(old), place(new)), (Some((17, time)), Some((17, time))));
        assert_eq!(place("_INBOX.x"), None);
    }

    #[test]
    fn a_message_is_read_as_the_stock_tool_wrote_it() {
        let text = br#"{"Subject":"orders.placed.A1",
            "Reply":"ack.ACK.ORDERS.l6.1.2.1.1795655900533464011.0",
            "Header":{"Content-Type":["a/b"],"Nats-Expected-Last-Subject-Sequence":["0"]},
            "Data":"e30=","Sub":null}"#;
        let stored = stored(text).unwrap();
        assert_eq!((stored.sequence, &stored.payload[..]), (2, &b"{}"[..]));
        assert_eq!(stored.headers, [("content-type".to_owned(), "a/b".to_owned())]);
    }
}
