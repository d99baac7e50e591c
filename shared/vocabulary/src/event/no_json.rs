//! What is wrong with a document that is no JSON, for a person who has never seen a parser.

use super::{BadData, Reason};

/// Each message of the parser, and what a person may make of it.
const WORDS: [(&str, &str); 10] = [
    ("EOF while parsing", "it ends too early: a closing bracket or quote is missing"),
    ("key must be a string", "a name in double quotes is missing"),
    ("expected value", "a value is missing, a comma is one too many, or a text has no quotes"),
    ("expected ident", "expected true, false or null"),
    ("trailing characters", "something follows the end of the document"),
    ("trailing comma", "a comma before a closing bracket"),
    ("expected `,`", "a comma or a closing bracket is missing"),
    ("expected `:`", "a colon is missing"),
    ("control character", "a line break or another control character in a text"),
    ("invalid escape", "a backslash in a text begins nothing that JSON knows"),
];

/// Where `error` found that a document is no JSON, and what is missing there: quotes nothing of it.
pub fn no_json(error: &serde_json::Error) -> BadData {
    let (line, column, text) = (error.line(), error.column(), error.to_string());
    let parsers = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    let words = WORDS.iter().find(|(begins, _)| parsers.starts_with(begins));
    let what = match (words, line, column) {
        (_, 1, 0) => "it is empty",
        (Some((_, words)), ..) => words,
        (None, ..) => parsers,
    };
    let message = format!("cannot be read as JSON: line {line}, column {column}: {what}");
    BadData::new(Reason::NotJson, "", message)
}

#[cfg(test)]
mod tests {
    use serde::de::IgnoredAny;

    use super::*;

    #[test]
    fn a_person_is_told_where_a_document_is_no_json_and_what_is_missing() {
        for (text, told) in [
            ("", "line 1, column 0: it is empty"),
            ("{\"a\": 1", "line 1, column 7: it ends too early"),
            ("{\"a\": 1, x}", "line 1, column 10: a name in double quotes is missing"),
            (
                "{\"a\":\n x}",
                "line 2, column 2: a value is missing, a comma is one too many, or a text",
            ),
            ("[1,]", "column 4: a value is missing, a comma is one too many"),
            ("{} {}", "column 4: something follows the end"),
            ("[1 2]", "column 4: a comma or a closing bracket is missing"),
            ("{\"a\" 1}", "column 6: a colon is missing"),
            ("[\"\n\"]", "a line break or another control character in a text"),
            ("[tru]", "expected true, false or null"),
            ("[\"\\q\"]", "a backslash in a text"),
        ] {
            let error = serde_json::from_str::<IgnoredAny>(text).expect_err(text);
            let bad = no_json(&error);
            assert!(bad.message.contains(told), "{text}: {}", bad.message);
        }
    }
}
