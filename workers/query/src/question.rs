//! What a caller asks, from a query string or from a JSON object: the same names in both, and a
//! name that does not exist is an error that lists those that do.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use quadrille::service::problem::{Mistake, Problem};
use serde_json::Value;

/// A parameter that an operation takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) example: &'static str,
}

/// The parameters of one request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Question(BTreeMap<String, String>);

/// Most characters of a value: no name or reference is longer.
const MOST: usize = 256;

impl Question {
    /// From the query of a URL.
    pub(crate) fn from_query(query: &str, known: &[Parameter]) -> Result<Self, Problem> {
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(
            &format!("/?{query}").parse().map_err(|_| unreadable("the query of the URL"))?,
        );
        let pairs = pairs.map_err(|_| unreadable("the query of the URL"))?;
        Self::of(pairs.0, known)
    }

    /// From the payload of a NATS request: an object of texts and numbers, or nothing.
    pub(crate) fn from_json(payload: &[u8], known: &[Parameter]) -> Result<Self, Problem> {
        if payload.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        let read: Result<BTreeMap<String, Value>, _> = serde_json::from_slice(payload);
        let read = read.map_err(|_| unreadable("the payload, which must be a JSON object,"))?;
        let mut pairs = Vec::new();
        for (name, value) in read {
            match value {
                Value::String(text) => pairs.push((name, text)),
                Value::Number(number) => pairs.push((name, number.to_string())),
                Value::Bool(is) => pairs.push((name, is.to_string())),
                Value::Null => {}
                Value::Array(_) | Value::Object(_) => {
                    return Err(bad(&name, "must be a text or a number", None));
                }
            }
        }
        Self::of(pairs, known)
    }

    fn of(pairs: Vec<(String, String)>, known: &[Parameter]) -> Result<Self, Problem> {
        let mut question = BTreeMap::new();
        for (name, value) in pairs {
            let Some(parameter) = known.iter().find(|parameter| parameter.name == name) else {
                return Err(unknown(&name, known));
            };
            if value.chars().count() > MOST || value.contains('\0') {
                let example = Some(parameter.example);
                return Err(bad(
                    &name,
                    "must be at most 256 characters, none of them NUL",
                    example,
                ));
            }
            if question.insert(name.clone(), value).is_some() {
                return Err(bad(&name, "must be given once", Some(parameter.example)));
            }
        }
        Ok(Self(question))
    }

    /// `None` if it was not given, or is empty.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), value.to_owned());
    }

    /// A whole number within a range.
    pub(crate) fn number(
        &self,
        name: &str,
        default: u64,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<u64, Problem> {
        let Some(text) = self.text(name) else { return Ok(default) };
        let number = text.parse().ok().filter(|number| range.contains(number));
        let what = format!("must be a whole number, {} to {}", range.start(), range.end());
        number.ok_or_else(|| bad(name, &what, Some(&default.to_string())))
    }

    /// A time such as `2026-11-25T12:00:00Z`.
    pub(crate) fn time(&self, name: &str) -> Result<Option<Timestamp>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let what = "must be a time with a zone (RFC 3339)";
        let read = text.parse().map_err(|_| bad(name, what, Some("2026-11-25T12:00:00Z")));
        read.map(Some)
    }

    /// A length of time such as `90s`, `10m`, `24h`, `1d`.
    pub(crate) fn duration(&self, name: &str) -> Result<Option<Duration>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let read = read_duration(text);
        let what = "must be a length of time, such as 500ms, 90s, 10m, 24h or 7d";
        read.map(Some).ok_or_else(|| bad(name, what, Some("10m")))
    }
}

/// Up to a century.
fn read_duration(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().ok()?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let all = number.checked_mul(milliseconds)?;
    (all <= 36_525 * 86_400_000).then(|| Duration::from_millis(all))
}

/// A place in a list, as the caller gives it back: `next` of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The first letter of the order that it belongs to.
    pub(crate) order: char,
    pub(crate) at: i64,
    pub(crate) opened: i64,
}

impl Cursor {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let mut parts = text.split('.');
        let order = parts.next()?.chars().next()?;
        let (at, opened) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        parts.next().is_none().then_some(Self { order, at, opened })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { order, at, opened } = self;
        f.write_str(&BASE64_URL_SAFE_NO_PAD.encode(format!("{order}.{at}.{opened}")))
    }
}

/// One parameter has a value that it cannot have.
pub(crate) fn bad(name: &str, message: &str, example: Option<&str>) -> Problem {
    let detail = format!("{name} {message}");
    let mut problem = Problem::new(400, "bad-parameter", "a parameter cannot be used", detail);
    problem.errors.push(Mistake {
        pointer: format!("/{}", name.replace('~', "~0").replace('/', "~1")),
        message: message.to_owned(),
        example: example.map(Value::from),
    });
    problem
}

fn unknown(name: &str, known: &[Parameter]) -> Problem {
    let names: Vec<_> = known.iter().map(|parameter| parameter.name).collect();
    let there_are = match names.as_slice() {
        [] => "there are none here".to_owned(),
        names => format!("there are {}", names.join(", ")),
    };
    let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    let detail = format!("there is no parameter {shown:?}; {there_are}");
    Problem::new(400, "unknown-parameter", "no such parameter", detail).with("known", names)
}

fn unreadable(what: &str) -> Problem {
    let detail = format!("{what} cannot be read");
    Problem::new(400, "unreadable", "the request cannot be read", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[Parameter] = &[
        Parameter { name: "state", about: "", example: "open" },
        Parameter { name: "limit", about: "", example: "50" },
    ];

    #[test]
    fn the_same_names_are_read_from_a_url_and_from_json() {
        let of_url = Question::from_query("state=open&limit=7", KNOWN).unwrap();
        let of_json = Question::from_json(br#"{"state":"open","limit":7}"#, KNOWN).unwrap();
        assert_eq!(of_url.0, of_json.0);
        assert_eq!(of_url.number("limit", 50, 1..=200).unwrap(), 7);
        assert!(Question::from_json(b" ", KNOWN).unwrap().0.is_empty());
    }

    #[test]
    fn a_name_that_does_not_exist_is_answered_with_those_that_do() {
        let problem = Question::from_query("stat=open", KNOWN).unwrap_err();
        assert_eq!(problem.status, 400);
        assert!(problem.detail.contains("there are state, limit"), "{}", problem.detail);
    }

    #[test]
    fn what_cannot_be_read_is_a_problem_and_never_a_panic() {
        for query in ["state=a&state=b", "limit=1%00", "=", "other"] {
            assert!(Question::from_query(query, KNOWN).is_err(), "{query}");
        }
        for query in ["%", "state=%ff", "%00", "\u{7f}", "&&", "state"] {
            let _ = Question::from_query(query, KNOWN);
        }
        for payload in ["[]", "1", "{\"state\":[]}", "{\"state\":1e999}", "\u{1}"] {
            assert!(Question::from_json(payload.as_bytes(), KNOWN).is_err(), "{payload}");
        }
        for limit in ["0", "201", "-1", "1.5", "x", "99999999999999999999"] {
            let question = Question::from_query(&format!("limit={limit}"), KNOWN).unwrap();
            assert!(question.number("limit", 50, 1..=200).is_err(), "{limit}");
        }
    }

    #[test]
    fn a_length_of_time_has_a_unit_and_an_end() {
        let seconds = |text| read_duration(text).map(|time| time.as_secs());
        assert_eq!(seconds("90s"), Some(90));
        assert_eq!(seconds("2d"), Some(172_800));
        for wrong in ["", "90", "s", "-1s", "1y", "99999999999999999999s", "40000d"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_cursor_comes_back_as_it_went() {
        let cursor = Cursor { order: 'n', at: 1_764_000_000_000_000, opened: 17 };
        assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
        for wrong in ["", "x", "bi4xLjIuMw", "ä"] {
            assert_eq!(Cursor::parse(wrong), None, "{wrong}");
        }
    }
}
