//! A file of JSON lines, one for each message: what `quadrille export` writes. It says all that the
//! log has of a message, and a person can read it and cut it with stock tools.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek};
use std::path::Path;

use anyhow::{Context, anyhow};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use quadrille::broker::Stored;
use quadrille_tool::output::Advise;
use serde::{Deserialize, Serialize};

use super::{PAGE, Read, Unreadable};

/// Longest line: a message of 64 KB in base64, its headers, and room.
const MOST_BYTES: u64 = 512 * 1024;

/// What is one.
const WRITES: &str = "`quadrille export` writes one; a backup is named by its folder";

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) stream: String,
    pub(crate) sequence: u64,
    pub(crate) subject: String,
    pub(crate) stored_at: Timestamp,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    /// In place of `payload`, where that is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

impl Line {
    pub(crate) fn of(stream: &str, stored: Stored) -> Self {
        let text = std::str::from_utf8(&stored.payload).ok().map(str::to_owned);
        let base64 = text.is_none().then(|| STANDARD.encode(&stored.payload));
        Self {
            stream: stream.to_owned(),
            sequence: stored.sequence,
            subject: stored.subject,
            stored_at: stored.stored_at,
            headers: stored.headers,
            payload: text,
            payload_base64: base64,
        }
    }

    /// The message that it was made of.
    fn stored(self) -> Result<Stored, String> {
        let payload = match (self.payload, self.payload_base64) {
            (Some(text), None) => text.into_bytes(),
            (None, Some(base64)) => STANDARD.decode(base64).map_err(|error| error.to_string())?,
            (None, None) => Vec::new(),
            (Some(_), Some(_)) => return Err("both payload and payload_base64".to_owned()),
        };
        let (subject, sequence, stored_at) = (self.subject, self.sequence, self.stored_at);
        Ok(Stored { subject, sequence, stored_at, headers: self.headers, payload: payload.into() })
    }
}

/// The lines of a file.
#[derive(Debug)]
pub(super) struct Lines {
    input: BufReader<File>,
    line: u64,
    /// Messages read that were not given out yet, because a line behind them is bad.
    held: Option<Unreadable>,
}

impl Lines {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let name = path.display();
        let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
        let mut input = BufReader::with_capacity(1 << 16, file);
        let first = input.fill_buf()?;
        if first.starts_with(b"\x1f\x8b") {
            return Err(anyhow!("{name} is compressed with gzip")
                .advise(format!("`gunzip -k {name}` makes a file that can be read")));
        }
        if !first.trim_ascii_start().starts_with(b"{") {
            return Err(
                anyhow!("{name} is no recorded log: it has no lines of JSON").advise(WRITES)
            );
        }
        let first = first.split(|byte| *byte == b'\n').next().unwrap_or_default();
        // A line that is torn says nothing about the others.
        let value = serde_json::from_slice::<serde_json::Value>(first).ok();
        if value.is_some_and(|line| line.get("stream").is_none() && line.get("sequence").is_none())
        {
            return Err(anyhow!("{name} is no recorded log: its lines are no messages of one")
                .advise(format!("{WRITES}; `quadrille place --lines {name}` places orders")));
        }
        Ok(Self { input, line: 0, held: None })
    }

    pub(super) fn next(&mut self) -> anyhow::Result<Read> {
        if let Some(held) = self.held.take() {
            return Ok(Read::Unreadable(held));
        }
        let mut messages = Vec::new();
        let mut bytes = Vec::new();
        while messages.len() < PAGE {
            bytes.clear();
            let mut piece = std::io::Read::take(&mut self.input, MOST_BYTES);
            if piece.read_until(b'\n', &mut bytes)? == 0 {
                break;
            }
            self.line += 1;
            let whole = bytes.ends_with(b"\n") || (bytes.len() as u64) < MOST_BYTES;
            if !whole {
                self.input.skip_until(b'\n')?;
            }
            let text = bytes.trim_ascii();
            if text.is_empty() {
                continue;
            }
            let read = match whole {
                true => serde_json::from_slice::<Line>(text).map_err(|error| error.to_string()),
                false => Err("longer than any message".to_owned()),
            };
            match read.and_then(Line::stored) {
                Ok(stored) => messages.push(stored),
                Err(why) => {
                    self.held = Some(Unreadable { place: format!("line {}", self.line), why });
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

    pub(super) fn rewind(&mut self) -> anyhow::Result<()> {
        self.input.rewind()?;
        (self.line, self.held) = (0, None);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn stored(sequence: u64, payload: &[u8]) -> Stored {
        Stored {
            subject: format!("orders.placed.A{sequence}"),
            sequence,
            stored_at: Timestamp::UNIX_EPOCH,
            headers: vec![("content-type".into(), "text/plain".into())],
            payload: payload.to_vec().into(),
        }
    }

    #[test]
    fn a_message_comes_back_as_it_was_and_a_bad_line_stops_no_other() {
        let (first, last) = (stored(1, b"{}"), stored(2, b"\xff\x00"));
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let line =
            |stored: &Stored| serde_json::to_string(&Line::of("ORDERS", stored.clone())).unwrap();
        write!(file, "{}\n{{\"sequence\":\n\n{}", line(&first), line(&last)).unwrap();
        let mut lines = Lines::open(file.path()).unwrap();
        for _ in 0..2 {
            let Read::Messages(messages) = lines.next().unwrap() else { panic!("the first") };
            assert_eq!(messages, std::slice::from_ref(&first));
            let Read::Unreadable(bad) = lines.next().unwrap() else { panic!("the second") };
            assert_eq!(bad.place, "line 2");
            let Read::Messages(messages) = lines.next().unwrap() else { panic!("the third") };
            assert_eq!(messages, std::slice::from_ref(&last));
            assert!(matches!(lines.next().unwrap(), Read::End));
            lines.rewind().unwrap();
        }
    }

    #[test]
    fn what_is_no_export_is_named() {
        for (bytes, name) in [
            (&b"\x1f\x8b\x08"[..], "gzip"),
            (b"PK\x03\x04", "no lines of JSON"),
            (b"{\"customer\":\"c\"}\n{\"customer\":\"d\"}\n", "no messages"),
        ] {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(bytes).unwrap();
            let error = Lines::open(file.path()).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
