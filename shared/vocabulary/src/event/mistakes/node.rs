//! A document in which one value can be put in the place of another, and nothing else changes.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// A document as it was written: numbers with all their digits, and repeated names.
pub(super) enum Node {
    Object(Vec<(String, Node)>),
    List(Vec<Node>),
    Other(String),
}

impl Node {
    /// `text` is JSON.
    pub(super) fn read(text: &str) -> Self {
        match text.trim_start().bytes().next() {
            Some(b'{') => match serde_json::Deserializer::from_str(text).deserialize_map(Members) {
                Ok(members) => Self::Object(
                    members.iter().map(|(name, raw)| (name.clone(), Self::read(raw))).collect(),
                ),
                Err(_) => Self::Other(text.to_owned()),
            },
            Some(b'[') => match serde_json::from_str::<Vec<&RawValue>>(text) {
                Ok(items) => Self::List(items.iter().map(|raw| Self::read(raw.get())).collect()),
                Err(_) => Self::Other(text.to_owned()),
            },
            _ => Self::Other(text.to_owned()),
        }
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) {
        match self {
            Self::Other(other) => text.push_str(other),
            Self::List(items) => {
                for (at, item) in items.iter().enumerate() {
                    text.push(if at == 0 { '[' } else { ',' });
                    item.write(text);
                }
                text.push_str(if items.is_empty() { "[]" } else { "]" });
            }
            Self::Object(members) => {
                for (at, (name, member)) in members.iter().enumerate() {
                    text.push(if at == 0 { '{' } else { ',' });
                    text.push_str(&Value::from(name.as_str()).to_string());
                    text.push(':');
                    member.write(text);
                }
                text.push_str(if members.is_empty() { "{}" } else { "}" });
            }
        }
    }

    pub(super) fn get(&self, pointer: &str) -> Option<&Self> {
        pointer.split('/').skip(1).try_fold(self, |node, part| match node {
            Self::Object(members) => {
                members.iter().find(|(name, _)| name == part).map(|(_, member)| member)
            }
            Self::List(items) => items.get(part.parse::<usize>().ok()?),
            Self::Other(_) => None,
        })
    }

    /// Puts the JSON `value` in the place of all that `pointer` names, or beside what is there if
    /// it names nothing. False if there is no such place.
    pub(super) fn put(&mut self, pointer: &str, value: &str) -> bool {
        let Some(rest) = pointer.strip_prefix('/') else {
            *self = Self::read(value);
            return true;
        };
        let (part, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        match self {
            Self::Object(members) => {
                let mut seen = false;
                members.retain(|(name, _)| name != part || !std::mem::replace(&mut seen, true));
                if !seen {
                    members.push((part.to_owned(), Self::Other("null".to_owned())));
                }
                let member = members.iter_mut().find(|(name, _)| name == part);
                member.is_some_and(|(_, member)| member.put(rest, value))
            }
            Self::List(items) => {
                let item = part.parse::<usize>().ok().and_then(|at| items.get_mut(at));
                item.is_some_and(|item| item.put(rest, value))
            }
            Self::Other(_) => false,
        }
    }
}

/// The members of an object in order, repeated names included.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, String)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
            members.push((name, value.get().to_owned()));
        }
        Ok(members)
    }
}
