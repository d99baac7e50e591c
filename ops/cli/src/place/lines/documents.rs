//! Splits a file of many orders into documents: one a line, or one for each element of a JSON
//! array. It reads a piece at a time, so a file may be larger than memory; a document that no order
//! can be as long as is counted, not kept.

mod other;

use std::collections::VecDeque;
use std::io::{self, BufRead};

use anyhow::{anyhow, bail};

/// Longest document that is kept: eight times what an event of the log may have, so that what is
/// too large can still be set aside as it is.
const MOST_BYTES: usize = 512 * 1024;

/// One document of the file, perhaps no order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Document {
    /// Where it begins; the first line is 1.
    pub(super) line: u64,
    /// Its place in the array, from 0 on; `None` where each line is one.
    pub(super) item: Option<u64>,
    /// Its first bytes, without white space around them.
    pub(super) text: Vec<u8>,
    /// All its bytes.
    pub(super) bytes: u64,
    pub(super) fault: Option<Fault>,
    /// Bytes of the file up to its end.
    pub(super) read: u64,
}

/// Why a document cannot be read as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    TooLong,
    /// The file ends within the array.
    CutOff,
    /// Something follows the end of the array.
    BehindTheEnd,
}

impl Fault {
    pub(super) const fn says(self) -> &'static str {
        match self {
            Self::TooLong => "longer than any order can be",
            Self::CutOff => "the file ends here, within the array: is it whole?",
            Self::BehindTheEnd => "this stands behind the end of the array",
        }
    }
}

/// Bytes in which an order over several lines is looked for.
const MOST_PRETTY: usize = 64 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The documents of a file, one after the other.
#[derive(Debug)]
pub(super) struct Documents<R> {
    input: R,
    read: u64,
    line: u64,
    form: Form,
    /// Read already, to see whether they are one order.
    ahead: VecDeque<Document>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Lines,
    /// The next element has this place.
    Array(u64),
    /// Behind the `]`.
    Closed,
}

impl<R: BufRead> Documents<R> {
    /// Looks at how the file begins. `name` is what the user calls it, `given` the flags of the
    /// call, each after a space.
    ///
    /// # Errors
    /// When it is compressed, in UTF-16, CSV, an order over several lines, or cannot be read; names
    /// what it is.
    pub(super) fn open(mut input: R, name: &str, given: &str) -> anyhow::Result<Self> {
        let first = input.fill_buf()?;
        if let Some(other) = other::packed(first, name, given) {
            return Err(other);
        }
        let (form, ahead) = (Form::Lines, VecDeque::new());
        let mut documents = Self { input, read: 0, line: 1, form, ahead };
        if documents.input.fill_buf()?.starts_with(BYTE_ORDER_MARK) {
            documents.skip(BYTE_ORDER_MARK.len());
        }
        match documents.skip_space()? {
            Some(b'[') => {
                documents.take()?;
                documents.form = Form::Array(0);
            }
            Some(b'{') if documents.begins_over_several_lines()? => {
                let more = documents.skip_space()?.is_some();
                return Err(other::over_several_lines(name, more, given));
            }
            Some(byte) if byte != b'{' => {
                let first = documents.next_line()?;
                let second = documents.next_line()?;
                // The rest of a line that was cut, or a heading, stops none of the others.
                let others = second.as_ref().is_some_and(|line| line.text.starts_with(b"{"));
                let delimiter = first.as_ref().and_then(|line| other::delimiter(&line.text));
                if let Some(delimiter) = delimiter.filter(|_| !others) {
                    return Err(other::csv(name, delimiter, given));
                }
                documents.ahead.extend(first.into_iter().chain(second));
            }
            _ => {}
        }
        Ok(documents)
    }

    /// Whether the first document of the file is one over several lines, as `jq` prints it. Its
    /// lines are kept if not, because each of them is then a line alone.
    fn begins_over_several_lines(&mut self) -> io::Result<bool> {
        let mut text = Vec::new();
        while text.len() < MOST_PRETTY {
            let Some(line) = self.next_line()? else { break };
            text.extend_from_slice(&line.text);
            text.push(b'\n');
            // The second line says whether the first one is torn.
            let may_end = self.ahead.len() < 2 || line.text.ends_with(b"}");
            self.ahead.push_back(line);
            match may_end.then(|| serde_json::from_slice::<serde::de::IgnoredAny>(&text)) {
                Some(Ok(_)) => return Ok(self.ahead.len() > 1),
                Some(Err(error)) if !error.is_eof() => break,
                Some(Err(_)) | None => {}
            }
        }
        Ok(false)
    }

    /// The next document; `None` at the end.
    ///
    /// # Errors
    /// When the file cannot be read on.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Document>> {
        if let Some(document) = self.ahead.pop_front() {
            return Ok(Some(document));
        }
        let document = match self.form {
            Form::Lines => self.next_line(),
            Form::Array(item) => self.next_item(item),
            Form::Closed => self.rest(),
        };
        document.map_err(|error| {
            anyhow!(error).context(format!("the file cannot be read behind line {}", self.line))
        })
    }

    fn next_line(&mut self) -> io::Result<Option<Document>> {
        if self.skip_space()?.is_none() {
            return Ok(None);
        }
        let mut kept = Kept::at(self.line, None);
        while let Some(byte) = self.take()? {
            if byte == b'\n' {
                break;
            }
            kept.add(byte);
        }
        Ok(Some(kept.end(self.read, None)))
    }

    /// Up to the comma or bracket that ends it, whatever is in between.
    fn next_item(&mut self, item: u64) -> io::Result<Option<Document>> {
        let mut kept = Kept::at(self.line, Some(item));
        match self.skip_space()? {
            Some(b']') if item == 0 => {
                self.take()?;
                self.form = Form::Closed;
                return self.rest();
            }
            _ => kept.line = self.line,
        }
        let (mut depth, mut in_text, mut escaped) = (0_u32, false, false);
        while let Some(byte) = self.take()? {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_text => escaped = true,
                b'"' => in_text = !in_text,
                _ if in_text => {}
                b',' | b']' if depth == 0 => {
                    self.form = if byte == b',' { Form::Array(item + 1) } else { Form::Closed };
                    return Ok(Some(kept.end(self.read, None)));
                }
                b'[' | b'{' => depth += 1,
                b']' | b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            kept.add(byte);
        }
        self.form = Form::Closed;
        Ok(Some(kept.end(self.read, Some(Fault::CutOff))))
    }

    /// What stands behind the array, which should be nothing.
    fn rest(&mut self) -> io::Result<Option<Document>> {
        if self.skip_space()?.is_none() {
            return Ok(None);
        }
        let mut kept = Kept::at(self.line, None);
        while let Some(byte) = self.take()? {
            kept.add(byte);
        }
        Ok(Some(kept.end(self.read, Some(Fault::BehindTheEnd))))
    }

    /// The first byte that is no white space; it is not taken.
    fn skip_space(&mut self) -> io::Result<Option<u8>> {
        loop {
            match self.input.fill_buf()?.first() {
                Some(byte) if byte.is_ascii_whitespace() => self.take()?,
                other => return Ok(other.copied()),
            };
        }
    }

    fn take(&mut self) -> io::Result<Option<u8>> {
        let Some(byte) = self.input.fill_buf()?.first().copied() else { return Ok(None) };
        self.skip(1);
        self.line += u64::from(byte == b'\n');
        Ok(Some(byte))
    }

    fn skip(&mut self, bytes: usize) {
        self.input.consume(bytes);
        self.read += bytes as u64;
    }
}

/// A document that is being read.
struct Kept {
    line: u64,
    item: Option<u64>,
    text: Vec<u8>,
    bytes: u64,
}

impl Kept {
    fn at(line: u64, item: Option<u64>) -> Self {
        Self { line, item, text: Vec::new(), bytes: 0 }
    }

    fn add(&mut self, byte: u8) {
        self.bytes += 1;
        if self.text.len() < MOST_BYTES {
            self.text.push(byte);
        }
    }

    fn end(self, read: u64, fault: Option<Fault>) -> Document {
        let Self { line, item, mut text, bytes } = self;
        let too_long = (bytes > text.len() as u64).then_some(Fault::TooLong);
        text.truncate(text.trim_ascii_end().len());
        Document { line, item, text, bytes, fault: fault.or(too_long), read }
    }
}

/// A file, or stdin for `-`, and its length where it is known.
///
/// # Errors
/// When it cannot be opened.
pub(super) fn open(
    file: &std::path::Path,
) -> anyhow::Result<(Box<dyn BufRead + Send>, Option<u64>)> {
    if file.as_os_str() == "-" {
        return Ok((Box::new(io::BufReader::new(io::stdin())), None));
    }
    let opened = std::fs::File::open(file);
    let opened = opened.map_err(|error| anyhow!("cannot read {}: {error}", file.display()))?;
    let metadata = opened.metadata()?;
    if metadata.is_dir() {
        bail!("{} is a folder, not a file", file.display());
    }
    let length = metadata.is_file().then_some(metadata.len());
    Ok((Box::new(io::BufReader::with_capacity(1 << 16, opened)), length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents(text: &[u8]) -> Vec<Document> {
        let mut documents = Documents::open(text, "x", "").unwrap();
        std::iter::from_fn(|| documents.next().unwrap()).collect()
    }

    /// Line, item and text of each.
    fn split(text: &str) -> Vec<(u64, Option<u64>, String)> {
        let text_of = |document: Document| {
            assert_eq!(document.fault, None);
            (document.line, document.item, String::from_utf8(document.text).unwrap())
        };
        documents(text.as_bytes()).into_iter().map(text_of).collect()
    }

    #[test]
    fn each_line_is_a_document_and_empty_ones_are_none() {
        let seen = split("\u{feff}{\"a\":1}\r\n\n  {\"b\":2} \n[\n");
        let text = |line, text: &str| (line, None, text.to_owned());
        assert_eq!(seen, [text(1, "{\"a\":1}"), text(3, "{\"b\":2}"), text(4, "[")]);
        assert_eq!(split(""), []);
    }

    #[test]
    fn each_element_of_an_array_is_a_document_wherever_its_lines_end() {
        let seen = split("[ {\"a\":\n \"],\\\"\"},\n{\"b\":[1,{}]} , 7]\n");
        let text = |line, item, text: &str| (line, Some(item), text.to_owned());
        let expected =
            [text(1, 0, "{\"a\":\n \"],\\\"\"}"), text(3, 1, "{\"b\":[1,{}]}"), text(3, 2, "7")];
        assert_eq!(seen, expected);
        assert_eq!(split("[]"), []);
    }

    #[test]
    fn an_order_over_several_lines_is_named_and_a_torn_first_line_stops_nothing() {
        let pretty = "{\n  \"a\": {\n    \"b\": \"}\"\n  }\n}\n";
        let said =
            |text: &str| Documents::open(text.as_bytes(), "x.json", "").map(|_| ()).unwrap_err();
        assert_eq!(
            said(pretty).to_string(),
            "x.json is one order over several lines, not one order a line"
        );
        let said = said(&format!("{pretty}\n{pretty}")).to_string();
        assert_eq!(said, "x.json has orders over several lines, not one order a line");
        let torn = split("{\"a\":1,\n{\"b\":2}\n7\n");
        let numbers: Vec<_> = torn.iter().map(|(line, _, text)| (*line, text.as_str())).collect();
        assert_eq!(numbers, [(1, "{\"a\":1,"), (2, "{\"b\":2}"), (3, "7")]);
        let long = format!("{{\n{}", "\"x\":\n1,\n".repeat(20_000));
        assert_eq!(documents(long.as_bytes()).len(), 40_001);
    }

    #[test]
    fn a_cut_array_loses_only_what_was_cut() {
        let seen = documents(b"[{\"a\":1},{\"b\":");
        assert_eq!((seen.len(), seen[0].fault, seen[1].fault), (2, None, Some(Fault::CutOff)));
        let seen = documents(b"[1] 2");
        assert_eq!((seen.len(), seen[1].fault), (2, Some(Fault::BehindTheEnd)));
    }

    #[test]
    fn a_document_without_end_is_counted_and_not_kept() {
        let long = format!("{}\n1\n", "x".repeat(MOST_BYTES + 1));
        let seen = documents(long.as_bytes());
        assert_eq!((seen[0].fault, seen[0].text.len()), (Some(Fault::TooLong), MOST_BYTES));
        assert_eq!((seen[1].line, seen[1].fault, seen[0].bytes), (2, None, 1 + MOST_BYTES as u64));
    }

    #[test]
    fn another_form_is_named() {
        for (bytes, name) in [
            (&b"\x1f\x8b\x08\0"[..], "gzip"),
            (b"\xff\xfe{\0", "UTF-16"),
            (b"{\0\"\0", "UTF-16"),
            (b"PK\x03\x04", "zip"),
            (b"id,sku,quantity\nA1,ROSE,3\n", "CSV"),
            (b"\xef\xbb\xbf\"id\";\"sku\"\r\n", "CSV"),
            (b"id\tsku\n", "CSV"),
        ] {
            let error = Documents::open(bytes, "orders.jsonl", "").unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
        for heading in ["# orders, 26 Nov", "\"DE\",\"postcode\":\"10115\"}}"] {
            assert_eq!(split(&format!("{heading}\n{{\"b\":2}}\n")).len(), 2, "{heading}");
        }
    }
}
