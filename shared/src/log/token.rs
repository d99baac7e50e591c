//! A place in the log, as a client carries it from a write to a read: `18a3f2c4d5e6f708-4711`.
//!
//! A sequence alone is not enough, because a stream that was restored or made anew counts again: a
//! reader would take the old number for a place that it has passed. So a token also says which
//! incarnation of the stream it counts in. It is opaque to clients, and only ever compared.

use std::fmt;

use jiff::Timestamp;

/// The place of one message in one incarnation of a stream.
///
/// As text: the stream's time of creation, in nanoseconds since 1970, as lower-case hexadecimal
/// without leading zeros; a dash; the sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token {
    /// When the stream was created, by the broker's clock: what tells its incarnations apart.
    pub created: Timestamp,
    /// Of the message, in that stream; at least 1, or 0 for the place before the first message.
    pub sequence: u64,
}

/// A text that is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a token is INCARNATION-SEQUENCE, as a write answers it, or a bare stream sequence")]
pub struct InvalidToken;

impl Token {
    /// Reads a token. A bare sequence, as `nats pub -J` prints it, counts in the incarnation that
    /// was `created` then, which the caller takes for the present one.
    ///
    /// # Errors
    /// When the text has another form; nothing is trimmed, and no other spelling of a number is
    /// read.
    pub fn parse(text: &str, created: Timestamp) -> Result<Self, InvalidToken> {
        let Some((incarnation, sequence)) = text.split_once('-') else {
            return Ok(Self { created, sequence: number(text)? });
        };
        let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if incarnation.starts_with('0') || !incarnation.bytes().all(digit) {
            return Err(InvalidToken);
        }
        let nanoseconds = u64::from_str_radix(incarnation, 16).map_err(|_| InvalidToken)?;
        let created = Timestamp::from_nanosecond(nanoseconds.into()).map_err(|_| InvalidToken)?;
        Ok(Self { created, sequence: number(sequence)? })
    }
}

fn number(text: &str) -> Result<u64, InvalidToken> {
    let plain = text == "0" || !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
    if plain { text.parse().map_err(|_| InvalidToken) } else { Err(InvalidToken) }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No stream is older than 1970, and 64 bits last until the year 2554.
        let nanoseconds = u64::try_from(self.created.as_nanosecond()).unwrap_or_default();
        write!(f, "{nanoseconds:x}-{}", self.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn created() -> Timestamp {
        "2026-11-25T20:15:00.123456789Z".parse().unwrap()
    }

    #[test]
    fn a_token_is_read_as_it_was_written() {
        let later = created() + std::time::Duration::from_nanos(1);
        for sequence in [0, 1, 4711, u64::MAX] {
            let token = Token { created: created(), sequence };
            assert_eq!(Token::parse(&token.to_string(), later), Ok(token), "{token}");
        }
        let text = Token { created: created(), sequence: 4711 }.to_string();
        assert_eq!(text, "18eb62f97d287515-4711");
    }

    #[test]
    fn incarnations_that_differ_by_a_nanosecond_have_different_tokens() {
        let later = created() + std::time::Duration::from_nanos(1);
        let [a, b] = [created(), later].map(|created| Token { created, sequence: 7 });
        assert_ne!(a.to_string(), b.to_string());
        assert_ne!(Token::parse(&a.to_string(), later), Ok(b));
    }

    #[test]
    fn a_bare_sequence_means_the_present_incarnation() {
        let wanted = Token { created: created(), sequence: 4711 };
        assert_eq!(Token::parse("4711", created()), Ok(wanted));
    }

    #[test]
    fn nothing_else_is_a_token() {
        for text in [
            "",
            "-",
            "-1",
            "1-",
            "18b-",
            "18B-1",
            "018b-1",
            "18b-01",
            "18b-1-1",
            "18b--1",
            "+1",
            "18b-+1",
            " 1",
            "1 ",
            "18b-1\n",
            "x-1",
            "1ffffffffffffffff-1",
            "18446744073709551616",
            "ä-1",
        ] {
            assert_eq!(Token::parse(text, created()), Err(InvalidToken), "{text:?}");
        }
    }
}
