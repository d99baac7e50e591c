//! Every mistake in what a client sent, not only the first.
//!
//! The parser that all readers of the log use stops at the first mistake. So this module notes it,
//! puts a sample's value in its place, and asks the same parser again, until the parser is content.
//! No second set of rules says what is valid, so none can drift.

mod node;

use std::collections::HashSet;

use serde_json::Value;

use super::{BadData, Kind, Reason};
use node::Node;

/// Most mistakes that are told at once, because each costs another reading.
pub const MOST_MISTAKES: usize = 50;

/// Most of them in one sentence.
const MOST_TOLD: usize = 10;

/// One mistake, and which of two sorts it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Its pointer names the field itself, even one that is missing or repeated.
    pub bad: BadData,
    pub of: Of,
}

/// What is wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// It cannot be read at all: no JSON, missing, repeated, or of the wrong type.
    Form,
    /// It can be read, and its value is not allowed.
    Value,
}

impl Kind {
    /// Every mistake in `data`, in the order in which the parser meets them; empty exactly if
    /// [`Kind::read`] accepts it. At most [`MOST_MISTAKES`].
    ///
    /// `sample` is a valid document with every field that a client may send, whose lists are not
    /// empty.
    pub fn mistakes(&self, data: &str, sample: &Value) -> Vec<Mistake> {
        let mut found: Vec<Mistake> = Vec::new();
        let mut pointers = HashSet::new();
        let mut node = None;
        let mut text = data.to_owned();
        // A repair may break a rule between two fields, so there may be more rounds than mistakes.
        for _ in 0..2 * MOST_MISTAKES {
            let Err(bad) = self.read(&text) else { break };
            let mistake = Mistake::of(bad);
            let Mistake { bad: BadData { reason, pointer, .. }, .. } = &mistake;
            let (reason, pointer) = (*reason, pointer.clone());
            let whole = matches!(reason, Reason::NotJson | Reason::TooLarge);
            let ours = |found: &&Mistake| !matches!(found.bad.reason, Reason::Rule(_));
            // Where our own value stands in, a rule between this field and others says nothing.
            // So does a rule about a sum, where one of its parts may have been mended.
            let is_sum = matches!(reason, Reason::Rule(rule) if rule.starts_with("total-"));
            let is_rule = matches!(reason, Reason::Rule(_));
            let by_repair = is_rule
                && found.iter().any(|m| match is_sum {
                    true => is_counted(sample, &m.bad.pointer),
                    false => ours(&m) && shape(&m.bad.pointer) == shape(&pointer),
                });
            if pointers.insert(pointer.clone()) && !by_repair {
                found.push(mistake);
            }
            // Sums come last, and no value in one place mends them.
            if whole || is_sum || found.len() == MOST_MISTAKES {
                break;
            }
            let tree = node.get_or_insert_with(|| Node::read(&text));
            let own = tree.get(&shape(&pointer)).filter(|_| shape(&pointer) != pointer);
            let value = own.map(Node::text);
            let Some(value) = value.or_else(|| Some(sample.pointer(&shape(&pointer))?.to_string()))
            else {
                break;
            };
            if !tree.put(&pointer, &value) {
                break;
            }
            text = tree.text();
        }
        for mistake in &mut found {
            self.say(mistake);
        }
        found
    }

    /// Puts what the field must be, in the words of its type, in place of the parser's.
    fn say(&self, mistake: &mut Mistake) {
        let BadData { pointer, message, .. } = &mut mistake.bad;
        if message.starts_with("duplicate field") {
            "is there twice".clone_into(message);
        } else if is_parsers(message) {
            let missing = message.starts_with("missing field");
            if let Some(words) = words(&self.schema().to_value(), pointer) {
                *message = if missing {
                    format!("is missing: {words}")
                } else {
                    format!("must be {words}")
                };
            }
        }
    }
}

impl BadData {
    /// The first of `mistakes`, in their words, with all that follow; this one if there are none.
    /// For a reader to whom one sentence must say everything.
    #[must_use]
    pub fn told_with(self, mistakes: &[Mistake]) -> Self {
        let Some((first, others)) = mistakes.split_first() else { return self };
        let mut all = first.bad.clone();
        if !others.is_empty() {
            let say = |one: &Mistake| format!("{} {}", one.bad.pointer, one.bad.message);
            let told = others.iter().take(MOST_TOLD).map(say).collect::<Vec<_>>().join("; ");
            let rest = if others.len() > MOST_TOLD { "; …" } else { "" };
            all.message = format!("{}; and {} more: {told}{rest}", all.message, others.len());
        }
        all
    }
}

/// Beginnings of the parser's own messages about a field; all others come from the field's type.
const PARSERS: [&str; 4] = ["missing field", "invalid type", "invalid value", "invalid length"];

fn is_parsers(message: &str) -> bool {
    PARSERS.iter().any(|start| message.starts_with(start))
}

impl Mistake {
    fn of(mut bad: BadData) -> Self {
        let forms = ["missing field", "duplicate field", "invalid type", super::parse::UNREADABLE];
        let form = bad.reason == Reason::NotJson
            || bad.reason == Reason::InvalidField
                && forms.iter().any(|start| bad.message.starts_with(start));
        // The parser points to the object around these two.
        for start in ["missing field `", "duplicate field `"] {
            if let Some(name) = bad.message.strip_prefix(start) {
                bad.pointer = format!("{}/{}", bad.pointer, name.trim_end_matches('`'));
            }
        }
        Self { bad, of: if form { Of::Form } else { Of::Value } }
    }
}

/// A pointer with 0 for every index: where a list's first element has the same field.
fn shape(pointer: &str) -> String {
    let is_index = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let parts = pointer.split('/').map(|part| if is_index(&part) { "0" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

/// Whether a field, or one beside it in the same list, is a number, as the parts of a sum are.
fn is_counted(sample: &Value, pointer: &str) -> bool {
    fn has_number(value: &Value) -> bool {
        match value {
            Value::Number(_) => true,
            Value::Array(items) => items.iter().any(has_number),
            Value::Object(fields) => fields.values().any(has_number),
            Value::Null | Value::Bool(_) | Value::String(_) => false,
        }
    }
    pointer.split('/').nth(1).and_then(|name| sample.get(name)).is_none_or(has_number)
}

/// What the field at `pointer` must be: the first sentence of its description.
fn words(root: &Value, pointer: &str) -> Option<String> {
    if pointer.is_empty() {
        return Some("a JSON object".to_owned());
    }
    let resolve = |schema: &'_ Value| -> Option<Value> {
        let schema = match schema.get("anyOf") {
            Some(either) => either.get(0)?,
            None => schema,
        };
        match schema.get("$ref").and_then(Value::as_str) {
            Some(name) => root.pointer(name.trim_start_matches('#')).cloned(),
            None => Some(schema.clone()),
        }
    };
    let mut schema = root.clone();
    let mut field = root.clone();
    for part in pointer.split('/').skip(1) {
        field = match schema.get("properties") {
            Some(properties) => properties.get(part)?.clone(),
            None => schema.get("items")?.clone(),
        };
        schema = resolve(&field)?;
    }
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        let names: Vec<_> = properties.keys().map(String::as_str).collect();
        return Some(format!("an object with {}", names.join(", ")));
    }
    let described = |schema: &Value| Some(schema.get("description")?.as_str()?.to_owned());
    let text = described(&field).or_else(|| described(&schema))?;
    let sentence = text.split(". ").next()?.trim_end_matches('.').replace('\n', " ");
    let is_list = schema.get("type").and_then(Value::as_str) == Some("array");
    let mut letters = sentence.chars();
    let first = letters.next()?.to_lowercase();
    Some(format!("{}{first}{}", if is_list { "a list: " } else { "" }, letters.as_str()))
}
