//! `parked show`: one message, why it failed, and each time that it was tried.

use std::process::ExitCode;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use quadrille::SagaId;
use quadrille::event::text;
use quadrille::log::parked::{Audit, Release, Verdict};
use serde::Serialize;
use serde_json::Value;

use super::ShowArgs;
use super::cases::{self, Case, Noted, Parking, Standing};
use super::list::nothing_of;
use crate::output::{self, BAD, STRONG, WAITS};
use crate::tool::Tool;
use crate::trace::read;

pub(super) async fn show(args: &ShowArgs, tool: &Tool) -> anyhow::Result<ExitCode> {
    let connection = tool.connect().await?;
    let is_it = |name: &str, id: &str| {
        name.rsplit('.').next() == Some(id) || id == "-" && name.contains('.')
    };
    let keeps = |id: &str| args.names.iter().any(|name| is_it(name, id));
    let cases = cases::read(&connection.broker, tool.flow, keeps, tool.ui).await?;
    let mut code = ExitCode::SUCCESS;
    for name in &args.names {
        let found: Vec<_> = cases.all.iter().filter(|case| case.is_called(name)).collect();
        if found.is_empty() {
            code = ExitCode::FAILURE;
            tool.ui.error(&nothing_of(name, tool));
        }
        for case in found.iter().rev() {
            match args.json {
                true => output::json(&Shown::of(case))?,
                false => output::data(&text(case, tool))?,
            }
        }
        let Some(saga) = found.first().and_then(|case| case.saga.as_ref()) else { continue };
        if let Some(occupied) = read(&connection.broker, tool.flow, saga).await?.occupied(tool.flow)
        {
            tool.ui.note(format!("{} {saga}: {}", tool.flow.saga, occupied.sentence()));
        }
    }
    Ok(code)
}

/// An id, or a subject, which has points.
///
/// # Errors
/// When it is neither.
pub(super) fn name(text: &str) -> Result<String, String> {
    match text.contains('.') {
        true => Ok(text.to_owned()),
        false => SagaId::parse(text).map(|id| id.to_string()).map_err(|error| {
            format!("{error}; a message without an id is named by its whole subject")
        }),
    }
}

/// One message, with all that is known of it.
#[derive(Serialize)]
struct Shown<'c> {
    saga: &'c str,
    durable: &'c str,
    standing: Standing,
    fingerprint: String,
    subject: &'c str,
    sequence: u64,
    stored_at: Timestamp,
    headers: &'c [(String, String)],
    /// Of a message that no client can read: all header bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_headers_base64: Option<&'c str>,
    /// As JSON if it is JSON, otherwise as text.
    payload: Value,
    payload_base64: &'c str,
    /// What is at the pointer of the newest parking, if anything is.
    at_pointer: Option<Value>,
    /// Newest first.
    attempts: Vec<Attempt<'c>>,
    releases: &'c [Noted<Release>],
    discarded: Option<&'c Noted<Audit>>,
}

#[derive(Serialize)]
struct Attempt<'c> {
    parked: u64,
    parked_at: Timestamp,
    reason: &'c str,
    pointer: &'c str,
    message: &'c str,
    deliveries: u64,
    released: Option<u64>,
}

impl<'c> Shown<'c> {
    fn of(case: &'c Case) -> Self {
        let entry = &case.newest().entry;
        let payload = payload(case.newest());
        let at_pointer = payload.pointer(&entry.parked.pointer).cloned();
        Self {
            saga: case.id(),
            durable: &case.durable,
            standing: case.standing,
            fingerprint: entry.parked.fingerprint(),
            subject: &entry.parked.subject,
            sequence: entry.parked.sequence,
            stored_at: entry.stored_at,
            headers: &entry.headers,
            raw_headers_base64: entry.raw_headers_base64.as_deref(),
            at_pointer: at_pointer.filter(|_| !entry.parked.pointer.is_empty()),
            payload,
            payload_base64: &entry.payload_base64,
            attempts: case.parkings.iter().map(attempt).collect(),
            releases: &case.releases,
            discarded: case.discarded.as_ref(),
        }
    }
}

fn attempt(parking: &Parking) -> Attempt<'_> {
    let parked = &parking.entry.parked;
    Attempt {
        parked: parking.sequence,
        parked_at: parked.parked_at,
        reason: &parked.reason,
        pointer: &parked.pointer,
        message: &parked.message,
        deliveries: parked.deliveries,
        released: parked.released,
    }
}

fn payload(parking: &Parking) -> Value {
    let bytes = BASE64_STANDARD.decode(&parking.entry.payload_base64).unwrap_or_default();
    serde_json::from_slice(&bytes)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Bytes of others, so that they do nothing to a terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// What a terminal can show of bytes that are no text: how many, and the first of them.
fn no_text(bytes: &[u8]) -> String {
    let first: Vec<_> = bytes.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    let rest = if bytes.len() > first.len() { " …" } else { "" };
    format!("{} bytes that are no text: {}{rest}", bytes.len(), first.join(" "))
}

/// Bytes as text: all but printable ASCII is escaped, and a line ends where one ends in them.
fn escaped(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string().replace("\\n", "\\n\n")
}

fn text(case: &Case, tool: &Tool) -> String {
    let paint = tool.ui.on_stdout;
    let shown = Shown::of(case);
    let style = if case.standing == Standing::Parked { BAD } else { WAITS };
    let title = paint.paint(STRONG, format!("{} {}", tool.flow.saga, shown.saga));
    let stands = paint.paint(style, case.standing.word());
    let mut text = format!(
        "{title}  {stands}, group {}\n  {} #{} of {}, parked by {}\n",
        shown.fingerprint,
        plain(shown.subject),
        shown.sequence,
        shown.stored_at.strftime("%Y-%m-%d %H:%M:%S%.3f UTC"),
        shown.durable,
    );
    // Releases and parkings together, the newest first.
    let mut lines: Vec<(u64, String)> = Vec::new();
    for one in &shown.attempts {
        let place =
            if one.pointer.is_empty() { String::new() } else { format!(" at {}", one.pointer) };
        let at = one.parked_at.strftime("%Y-%m-%d %H:%M:%S%.3f");
        let what = format!(
            "  {at}  parked    {}{place}: {} (delivery {})\n",
            one.reason,
            // A line for each further mistake, which begins with its pointer.
            plain(one.message).replace("; /", ";\n    /").replace(" more: /", " more:\n    /"),
            one.deliveries
        );
        lines.push((one.parked, what));
    }
    for Noted { sequence, at, what } in shown.releases {
        let at = at.strftime("%Y-%m-%d %H:%M:%S%.3f");
        let (by, reason) = (plain(&what.by), plain(&what.reason));
        let verdict = match what.verdict {
            Verdict::Retry => "released ",
            Verdict::Refuse => "to refuse",
        };
        lines.push((*sequence, format!("  {at}  {verdict} by {by}: {reason}\n")));
    }
    if let Some(Noted { sequence, at, what }) = shown.discarded {
        let at = at.strftime("%Y-%m-%d %H:%M:%S%.3f");
        let (by, reason) = (plain(&what.by), plain(&what.reason));
        lines.push((*sequence, format!("  {at}  discarded by {by}: {reason}\n")));
    }
    lines.sort_by_key(|(sequence, _)| std::cmp::Reverse(*sequence));
    lines.into_iter().for_each(|(_, line)| text.push_str(&line));
    for (name, value) in shown.headers {
        text.push_str(&format!("  {}: {}\n", plain(name), plain(value)));
    }
    if let Some(raw) = shown.raw_headers_base64 {
        let raw = BASE64_STANDARD.decode(raw).unwrap_or_default();
        text.push_str("  the bytes of its headers, which no client can read:\n");
        escaped(&raw).lines().for_each(|line| text.push_str(&format!("    {line}\n")));
    }
    if let Some(value) = &shown.at_pointer {
        let pointer = &case.parked().pointer;
        text.push_str(&paint.paint(BAD, format!("  {pointer} is {value}")));
        text.push('\n');
    }
    let bytes = BASE64_STANDARD.decode(shown.payload_base64).unwrap_or_default();
    let payload = match (&shown.payload, text::of(&bytes)) {
        (Value::String(_), Err(_)) => no_text(&bytes),
        (Value::String(raw), Ok(_)) => plain(raw),
        (json, _) => serde_json::to_string_pretty(json).unwrap_or_default(),
    };
    payload.lines().for_each(|line| text.push_str(&format!("    {line}\n")));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_one_line_that_fits() {
        let long = no_text(&[0x1f; 200_000]);
        assert!(long.starts_with("200000 bytes that are no text: 1f 1f") && long.len() <= 76);
        assert_eq!(no_text(&[0x1f, 0x8b]), "2 bytes that are no text: 1f 8b");
    }

    #[test]
    fn the_bytes_of_headers_are_shown_and_do_nothing_to_a_terminal() {
        let shown = escaped(b"NATS/1.0\r\nA: \x1b[2J\xff\r\n\r\n");
        assert_eq!(shown, "NATS/1.0\\r\\n\nA: \\x1b[2J\\xff\\r\\n\n\\r\\n\n");
    }
}
