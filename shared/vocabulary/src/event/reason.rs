//! What can be wrong with a message.

use serde::Serialize;

/// What is wrong with a message, as a code that machines may count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No JSON document, bytes after its end, or nested too deep.
    NotJson,
    /// JSON, but more bytes than this event may have.
    TooLarge,
    /// A field is missing, repeated, of the wrong type or out of its range.
    InvalidField,
    InvalidId,
    /// An event's own rule is broken: its code, lower case with dashes.
    Rule(&'static str),
    /// The event names a saga other than its subject's.
    IdMismatch,
    /// Headers that no client can read, because the broker stores any bytes.
    MalformedHeader,
    /// A type that this slot cannot hold.
    UnknownType,
    /// A version of a known type that this build cannot read.
    UnknownVersion,
    /// Written by a source that may not write this slot.
    WrongSource,
    /// The event that must have come before is not in the log.
    NoCause,
    /// The step says that trying again cannot help.
    BadMessage,
    /// The service gave no answer again and again, while it answered for other messages.
    AttemptsUsedUp,
    /// The worker's process ended each time it ran this message.
    CrashLoop,
    /// An effect outside the log that no slot records.
    OrphanEffect,
    /// The effect was taken back, but not by us.
    FencedOff,
}

impl Reason {
    /// All but the rules of events.
    pub const KNOWN: [Self; 15] = [
        Self::NotJson,
        Self::TooLarge,
        Self::InvalidField,
        Self::InvalidId,
        Self::IdMismatch,
        Self::MalformedHeader,
        Self::UnknownType,
        Self::UnknownVersion,
        Self::WrongSource,
        Self::NoCause,
        Self::BadMessage,
        Self::AttemptsUsedUp,
        Self::CrashLoop,
        Self::OrphanEffect,
        Self::FencedOff,
    ];

    /// Whether it is about the payload's own bytes, which nobody can change. The others may pass: a
    /// worker, a service or an operator may mend what they are about.
    pub fn is_of_its_bytes(self) -> bool {
        match self {
            Self::NotJson
            | Self::TooLarge
            | Self::InvalidField
            | Self::InvalidId
            | Self::IdMismatch
            | Self::Rule(_) => true,
            Self::MalformedHeader
            | Self::UnknownType
            | Self::UnknownVersion
            | Self::WrongSource
            | Self::NoCause
            | Self::BadMessage
            | Self::AttemptsUsedUp
            | Self::CrashLoop
            | Self::OrphanEffect
            | Self::FencedOff => false,
        }
    }

    /// The code in headers, metrics and listings: lower case with dashes, `not-json`.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotJson => "not-json",
            Self::TooLarge => "too-large",
            Self::InvalidField => "invalid-field",
            Self::InvalidId => "invalid-id",
            Self::Rule(code) => code,
            Self::IdMismatch => "id-mismatch",
            Self::MalformedHeader => "malformed-header",
            Self::UnknownType => "unknown-type",
            Self::UnknownVersion => "unknown-version",
            Self::WrongSource => "wrong-source",
            Self::NoCause => "no-cause",
            Self::BadMessage => "bad-message",
            Self::AttemptsUsedUp => "attempts-used-up",
            Self::CrashLoop => "crash-loop",
            Self::OrphanEffect => "orphan-effect",
            Self::FencedOff => "fenced-off",
        }
    }
}

impl Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The variants without fields; a new one does not compile until it is named here.
    macro_rules! all {
        ($($variant:ident)*) => {{
            let _ = |reason| match reason {
                $(Reason::$variant => (),)*
                Reason::Rule(_) => (),
            };
            [$(Reason::$variant),*]
        }};
    }

    #[test]
    fn every_reason_but_the_rules_is_known() {
        let all = all!(
            NotJson TooLarge InvalidField InvalidId IdMismatch MalformedHeader UnknownType
            UnknownVersion WrongSource NoCause BadMessage AttemptsUsedUp CrashLoop OrphanEffect
            FencedOff
        );
        assert_eq!(Reason::KNOWN[..], all[..]);
    }
}
