//! A message that was set aside (a *dead letter*), and what may become of it: the documents of the
//! stream of parked messages, one type for those who write them and for every reader.

use jiff::Timestamp;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::contract::File;

/// Why a message was set aside, and where it is in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Parked {
    /// By the worker's estimate of the broker's clock.
    #[schemars(with = "String")]
    pub parked_at: Timestamp,
    /// The durable whose delivery it was; a message that was tried again keeps the first one's.
    pub durable: String,
    /// A code, lower case with dashes: `invalid-field`.
    pub reason: String,
    /// RFC 6901, within the payload; empty for the whole message.
    pub pointer: String,
    /// For a human; quotes nothing of the payload.
    pub message: String,
    /// How often it was delivered, this time included.
    pub deliveries: u64,
    /// Of the message itself.
    pub subject: String,
    /// Of the message itself, in the log.
    pub sequence: u64,
    /// The release by which it was tried, if it was parked before: its sequence on this stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<u64>,
}

/// What is stored: the same, with everything needed to see and to try the message again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    #[serde(flatten)]
    pub parked: Parked,
    /// When the broker stored the message itself.
    #[schemars(with = "String")]
    pub stored_at: Timestamp,
    /// As pairs in the body, because foreign text in real headers can crash a reader.
    pub headers: Vec<(String, String)>,
    /// All header bytes of a message that no client can read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_headers_base64: Option<String>,
    /// The payload's bytes, whatever they are.
    pub payload_base64: String,
}

/// Brings a parked message back. Only its subject and its verdict count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Release {
    pub verdict: Verdict,
    /// Who says so, by reference.
    pub by: String,
    /// Why, in a few words.
    pub reason: String,
    /// The entry that is released: its sequence on this stream.
    pub parked: u64,
    /// Names the releases of one command; empty for a single one.
    pub batch: String,
}

/// What is to become of a released message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The step runs on it again, under the same keys and into the same slot.
    #[default]
    Retry,
    /// A step after the pivot refuses, unless its outside service has acted already.
    Refuse,
}

/// What an operator did about parked messages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Audit {
    /// `retry` or `discard`.
    pub verb: String,
    /// Who did it, by reference.
    pub by: String,
    /// Why, in a few words.
    pub reason: String,
    /// The durable whose message it was; empty for a batch.
    pub durable: String,
    /// The entry, by its sequence on this stream; of a batch the last one that it may take.
    pub parked: u64,
    /// What was selected, as the command was given it; empty for a single message.
    pub selected: String,
    /// How many messages the command was about.
    pub count: u64,
}

impl Parked {
    /// Names the failure: equal for messages that the same durable set aside for the same reason at
    /// the same place. Eight hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        // Neither what is counted in a message nor an id in it tells two failures apart.
        let words = self.message.split_whitespace();
        let has_digit = |word: &str| word.contains(|c: char| c.is_ascii_digit());
        let message: Vec<_> = words.map(|word| if has_digit(word) { "#" } else { word }).collect();
        let message = message.join(" ");
        let pointer: Vec<_> = self
            .pointer
            .split('/')
            .map(|token| if token.parse::<u32>().is_ok() { "*" } else { token })
            .collect();
        let place = pointer.join("/");
        let name = [&*self.durable, &*self.reason, &*place, &*message].join("\n");
        let id = Uuid::new_v5(&FINGERPRINTS, name.as_bytes());
        id.simple().to_string()[..8].to_owned()
    }
}

/// Namespace of fingerprints; chosen at random once.
const FINGERPRINTS: Uuid = Uuid::from_u128(0x6f2b_5c1e_3f5d_4c59_9a3e_0d9a_7d55_8f03);

/// One JSON Schema for each document.
pub fn schemas() -> Vec<File> {
    fn file<T: JsonSchema>(name: &str) -> File {
        let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>();
        let content = serde_json::to_string_pretty(&schema).expect("a schema is JSON") + "\n";
        File { path: format!("json/parked/{name}.json"), content }
    }
    vec![file::<Entry>("parked"), file::<Release>("released"), file::<Audit>("audit")]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parked(pointer: &str, message: &str) -> Parked {
        Parked {
            parked_at: Timestamp::UNIX_EPOCH,
            durable: "book-hotel".into(),
            reason: "invalid-field".into(),
            pointer: pointer.into(),
            message: message.into(),
            deliveries: 1,
            subject: "trips.requested.T1".into(),
            sequence: 1,
            released: None,
        }
    }

    #[test]
    fn one_failure_has_one_fingerprint_whichever_line_it_is_in() {
        let first = parked("/lines/0/price", "expected 3 digits").fingerprint();
        assert_eq!(first.len(), 8);
        assert_eq!(parked("/lines/7/price", "expected 4 digits").fingerprint(), first);
        let of =
            |payment| parked("", &format!("no answer about {payment}: timed out")).fingerprint();
        assert_eq!(of("pi_3MtwBw"), of("pi_9f21"));
        assert_ne!(parked("/lines/0/count", "expected 3 digits").fingerprint(), first);
        assert_ne!(parked("/lines/0/price", "missing").fingerprint(), first);
    }
}
