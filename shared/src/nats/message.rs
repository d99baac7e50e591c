//! Reads a delivery from its acknowledgement subject and its headers, and settles it.
//!
//! The acknowledgement subject has two forms, and the newer one will soon be the default:
//! `$JS.ACK.<stream>.<durable>.<n>…` and `$JS.ACK.<domain>.<account>.<stream>.<durable>.<n>…`.

use std::borrow::Cow;
use std::str::FromStr;
use std::time::Duration;

use async_nats::{Client, HeaderMap, HeaderName, HeaderValue, Message, StatusCode};
use bytes::Bytes;
use jiff::Timestamp;

use super::Names;
use super::api::ANSWER_TIME;
use crate::broker::{Delivered, Headers, Receipt, Settle, Stored};

/// `None` for what JetStream did not deliver: a status, or another client's message to our inbox.
///
/// The acknowledgement subject decides, not the status line, because a publisher may forge that.
pub(super) fn delivered(names: &Names, message: Message) -> Option<Delivered> {
    let reply = message.reply?;
    let position = position(&reply)?;
    Some(Delivered {
        message: Stored {
            subject: names.usual(message.subject.to_string()),
            sequence: position.sequence,
            stored_at: position.stored_at,
            headers: message.headers.as_ref().map(useful).unwrap_or_default(),
            payload: message.payload,
        },
        deliveries: position.deliveries,
        pending: position.pending,
        receipt: Receipt(reply.to_string()),
        unreadable: None,
    })
}

/// What an acknowledgement subject says of a delivery.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) deliveries: u64,
    /// In the stream.
    pub(super) sequence: u64,
    /// Among all deliveries of its consumer, from 1.
    pub(super) delivery: u64,
    pub(super) stored_at: Timestamp,
    /// Messages that the consumer has yet to deliver.
    pub(super) pending: u64,
}

pub(super) fn position(reply: &str) -> Option<Position> {
    let rest = reply.strip_prefix("$JS.ACK.")?;
    let skipped = match rest.split('.').count() {
        7 => 2,
        9.. => 4,
        _ => return None,
    };
    let mut tokens = rest.split('.').skip(skipped);
    let mut number = || tokens.next()?.parse::<u64>().ok();
    let (deliveries, sequence, delivery) = (number()?, number()?, number()?);
    let stored_at = Timestamp::from_nanosecond(number()?.into()).ok()?;
    Some(Position { deliveries, sequence, delivery, stored_at, pending: number()? })
}

/// Whether the envelope can use a header of this name, given in lower case.
fn is_useful(name: &str) -> bool {
    matches!(name, "content-type" | "traceparent") || name.starts_with("ce-")
}

pub(super) fn useful(headers: &HeaderMap) -> Headers {
    let mut useful = Headers::new();
    for (name, values) in headers.iter() {
        let name: &str = name.as_ref();
        // Most headers are the broker's own, and this is the hot path.
        if name.starts_with("Nats-") {
            continue;
        }
        for value in values {
            keep(&mut useful, name, value.as_str());
        }
    }
    settled(useful)
}

/// Reads raw header bytes as they are stored, and leaves out malformed ones.
pub(super) fn parse_headers(raw: &[u8]) -> Headers {
    let mut useful = Headers::new();
    for (name, value) in lines(raw).into_iter().flatten() {
        if HeaderName::from_str(name).is_ok() {
            keep(&mut useful, name, &value);
        }
    }
    settled(useful)
}

/// Why the client cannot read these header bytes and ends the connection, by its own rules; `None`
/// if it can.
pub(super) fn unreadable(raw: &[u8]) -> Option<&'static str> {
    if raw.is_empty() {
        return None;
    }
    let Ok(text) = std::str::from_utf8(raw) else { return Some("its headers are not UTF-8") };
    let Some(status) = text.lines().next().and_then(|line| line.strip_prefix("NATS/1.0")) else {
        return Some("its headers do not begin with NATS/1.0");
    };
    let status = status.trim();
    let status = status.split_once(' ').map_or(status, |(status, _)| status.trim());
    if !status.is_empty() && status.parse::<StatusCode>().is_err() {
        return Some("its headers begin with a status that is no number from 100 to 999");
    }
    lines(raw).into_iter().find_map(|line| match line {
        None => Some("a line of its headers has no colon"),
        Some((name, _)) if HeaderName::from_str(name).is_err() => {
            Some("a header's name has a blank, a control character, or none at all")
        }
        Some((_, value)) if HeaderValue::from_str(value.trim()).is_err() => {
            Some("a header's value has a line break within")
        }
        Some(_) => None,
    })
}

/// The lines after the first as pairs of name and value, as the client divides them: one that
/// begins with white space of any kind goes on with the value before. `None` for one that is no
/// pair.
fn lines(raw: &[u8]) -> Vec<Option<(&str, Cow<'_, str>)>> {
    let mut lines: Vec<Option<(&str, Cow<'_, str>)>> = Vec::new();
    let mut follows = false;
    for line in raw.split_inclusive(|&byte| byte == b'\n').skip(1) {
        let line = match line.strip_suffix(b"\n") {
            Some(whole) => whole.strip_suffix(b"\r").unwrap_or(whole),
            None => line,
        };
        if line.is_empty() {
            follows = false;
            continue;
        }
        let text = std::str::from_utf8(line).unwrap_or_default();
        match lines.last_mut() {
            Some(Some((_, value))) if follows && text.starts_with(char::is_whitespace) => {
                value.to_mut().push_str(text);
            }
            _ => {
                lines.push(text.split_once(':').map(|(name, value)| (name, Cow::from(value))));
                follows = true;
            }
        }
    }
    lines
}

fn keep(useful: &mut Headers, name: &str, value: &str) {
    let (name, value) = (name.to_ascii_lowercase(), value.trim());
    if is_useful(&name) && !value.contains(char::is_control) {
        useful.push((name, value.to_owned()));
    }
}

/// Keeps one value per name, in any case of letters, and the same one for every reader, because a
/// run and its undo must not see different messages. The client keeps no order, so the smallest
/// value is kept.
fn settled(mut useful: Headers) -> Headers {
    useful.sort();
    useful.dedup_by(|(name, _), (earlier, _)| name == earlier);
    useful
}

/// A plain publish: if it is lost, the broker delivers the message again, and the slot makes that
/// harmless.
pub(super) async fn settle(client: &Client, receipt: &Receipt, settle: Settle) {
    if *receipt == Receipt::none() {
        return;
    }
    let body = match settle {
        Settle::Ack => Bytes::from_static(b"+ACK"),
        Settle::Progress => Bytes::from_static(b"+WPI"),
        Settle::Retry(Duration::ZERO) => Bytes::from_static(b"-NAK"),
        Settle::Retry(delay) => format!("-NAK {{\"delay\": {}}}", delay.as_nanos()).into(),
        Settle::Term(reason) => format!("+TERM {reason}").into(),
    };
    let sent = client.publish(receipt.0.clone(), body);
    match tokio::time::timeout(ANSWER_TIME, sent).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "a settlement was not sent"),
        Err(_) => tracing::warn!("a settlement was not sent: the connection takes no messages"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_the_acknowledgement_subject_say_the_same() {
        let short = "$JS.ACK.ORDERS.charge-customer.2.17.9.1700000000000000001.4";
        let long = "$JS.ACK._.h4sh.ORDERS.charge-customer.2.17.9.1700000000000000001.4.rnd";
        let nanosecond = Timestamp::from_nanosecond(1_700_000_000_000_000_001).unwrap();
        let expected = Position {
            deliveries: 2,
            sequence: 17,
            delivery: 9,
            stored_at: nanosecond,
            pending: 4,
        };
        assert_eq!(position(short), Some(expected));
        assert_eq!(position(long), position(short));
        assert_eq!(position("$JS.ACK.ORDERS.charge-customer"), None);
        assert_eq!(position("_INBOX.x.1"), None);
    }

    #[test]
    fn malformed_headers_are_left_out() {
        let raw =
            b"NATS/1.0\r\nTraceParent: 00-a\r\nno colon\r\nce-id: 7\r\nX: y\r\nce-a: b\rc\r\n\
                    \xff: \xfe\r\nContent-Type:text/plain\r\n\r\n";
        let expected = [("ce-id", "7"), ("content-type", "text/plain"), ("traceparent", "00-a")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(parse_headers(raw), expected);
        assert_eq!(parse_headers(b""), Headers::new());
    }

    #[test]
    fn every_reader_sees_the_same_of_repeated_headers() {
        let pairs = [("ce-subject", "B"), ("CE-Subject", "A"), ("Ce-Subject", "C")];
        let mut headers = HeaderMap::new();
        let mut raw = String::from("NATS/1.0\r\n");
        for (name, value) in pairs {
            headers.append(name, value);
            raw.push_str(&format!("{name}: {value}\r\n"));
        }
        let expected = vec![("ce-subject".to_owned(), "A".to_owned())];
        assert_eq!(useful(&headers), expected);
        assert_eq!(parse_headers(raw.as_bytes()), expected);
        for blank in [" ", "\t", "\u{a0}", "\u{b}", "\u{c}", "\u{2003}", "\u{85}"] {
            let folded = format!("NATS/1.0\r\nce-subject:\r\n{blank}A\r\nX: y\r\n\r\n");
            assert_eq!(parse_headers(folded.as_bytes()), expected, "{blank:?}");
        }
    }

    #[test]
    fn what_ends_the_connection_of_a_client_is_unreadable() {
        let bad: [&[u8]; 12] = [
            b"NATS/1.0\r\nA: b\rc\r\n\r\n",
            b"NATS/1.0\r\nno colon\r\n\r\n",
            b"NATS/1.0\r\nA b: c\r\n\r\n",
            b"NATS/1.0\r\nA\tb: c\r\n\r\n",
            b"NATS/1.0\r\n\0: c\r\n\r\n",
            b"NATS/1.0\r\n\xff: c\r\n\r\n",
            b"NATS/1.0\r\nA: \xff\r\n\r\n",
            b"NATS/1.0\r\n leading: x\r\n\r\n",
            b"NATS/2.0\r\nA: b\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"\0\x01\x02\r\n\r\n",
            b"NATS/1.0 no-status\r\n\r\n",
        ];
        for raw in bad {
            assert!(unreadable(raw).is_some(), "{:?}", raw.escape_ascii().to_string());
        }
        let good: [&[u8]; 8] = [
            b"NATS/1.0\r\nA: b\r\r\n\r\n",
            b"",
            b"NATS/1.0",
            b"NATS/1.0\r\n\r\n",
            b"NATS/1.0 503\r\n\r\n",
            b"NATS/1.0\r\nA: b\r\n c\r\n\r\n",
            b"NATS/1.0\nA: b\nC:\n\n",
            b"NATS/1.0\r\nA: b\0c\r\nD: e",
        ];
        for raw in good {
            assert_eq!(unreadable(raw), None, "{:?}", raw.escape_ascii().to_string());
        }
    }
}
