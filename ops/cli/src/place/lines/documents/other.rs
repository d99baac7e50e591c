//! What a file is that is no lines of JSON, and what makes such lines of it. `name` is what the
//! user calls it, `given` the flags of the call, each after a space.

use anyhow::anyhow;
use quadrille_tool::output::Advise;
use serde::de::IgnoredAny;

/// What a file begins with if it is something else than JSON in UTF-8.
const OTHERS: [(&[u8], &str, &str); 9] = [
    (b"\x1f\x8b", "compressed with gzip", "gunzip -c"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "zstd -dc"),
    (b"BZh", "compressed with bzip2", "bunzip2 -c"),
    (b"\xfd7zXZ", "compressed with xz", "xz -dc"),
    (b"PK\x03\x04", "a zip archive", "unzip -p"),
    (b"\xff\xfe", "UTF-16", "iconv -f UTF-16 -t UTF-8"),
    (b"\xfe\xff", "UTF-16", "iconv -f UTF-16 -t UTF-8"),
    (b"{\0", "UTF-16", "iconv -f UTF-16LE -t UTF-8"),
    (b"\0{", "UTF-16", "iconv -f UTF-16BE -t UTF-8"),
];

/// What is said of a file that begins as a packed one, or one in another encoding.
pub(super) fn packed(first: &[u8], name: &str, given: &str) -> Option<anyhow::Error> {
    let (_, what, command) = OTHERS.iter().find(|other| first.starts_with(other.0))?;
    let name = if name == "-" { "FILE" } else { name };
    let advice = format!(
        "nothing was sent: `{command} {name} | quadrille place --lines -{given}` sends its \
                 orders"
    );
    Some(anyhow!("{name} is {what}, not lines of JSON in UTF-8").advise(advice))
}

/// What divides the columns of a first line, if it has such, as a spreadsheet exports them.
pub(super) fn delimiter(line: &[u8]) -> Option<char> {
    let is_other = line.contains(&b'{') || serde_json::from_slice::<IgnoredAny>(line).is_ok();
    let count = |delimiter: &char| line.iter().filter(|byte| **byte == *delimiter as u8).count();
    let most = [',', ';', '\t'].into_iter().max_by_key(count)?;
    (!is_other && count(&most) > 0).then_some(most)
}

pub(super) fn csv(name: &str, delimiter: char, given: &str) -> anyhow::Error {
    let file = if name == "-" { "FILE" } else { name };
    let columns = match delimiter {
        ',' => String::new(),
        other => format!(",delimiter={:?}", other.to_string()),
    };
    // A spreadsheet begins with a byte order mark, which would be part of the first name.
    let rows = format!(
        "import csv,json; [print(json.dumps(row)) for row in \
         csv.DictReader(open(0,encoding=\"utf-8-sig\"){columns})]"
    );
    anyhow!("{name} is CSV, not lines of JSON in UTF-8").advise(format!(
        "nothing was sent: `python3 -c '{rows}' <{file}` makes a JSON line of each row. Make \
         orders of these, with jq for example (see ops/examples/import), and pass them to \
         `quadrille place --lines -{given}`; `quadrille place --print-sample` prints an order"
    ))
}

/// What is said of a file that begins with an order over several lines, and perhaps goes on.
pub(super) fn over_several_lines(name: &str, more: bool, given: &str) -> anyhow::Error {
    let file = if name == "-" { "FILE" } else { name };
    let (what, way) = match more {
        false => ("is one order", format!("`quadrille place {file}` places it")),
        true => (
            "has orders",
            format!("`jq -c . {file} | quadrille place --lines -{given}` places them"),
        ),
    };
    anyhow!("{name} {what} over several lines, not one order a line")
        .advise(format!("nothing was sent: {way}"))
}
