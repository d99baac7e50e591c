//! Tables for people: columns in line whatever the letters, and no wider than the terminal.

use std::fmt::Write as _;

/// Lines up columns; a column whose heading starts with a space is aligned to the right.
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    table_within(None, headings, rows, &[])
}

/// The same within `width` cells, if it is known: for as long as a line is wider, columns are left
/// out in the order of `expendable`, and then the last one goes below its row.
pub fn table_within(
    width: Option<usize>,
    headings: &[&str],
    rows: &[Vec<String>],
    expendable: &[&str],
) -> String {
    rows_within(width, headings, rows, expendable).concat()
}

/// The same, the headings and each row alone.
pub(crate) fn rows_within(
    width: Option<usize>,
    headings: &[&str],
    rows: &[Vec<String>],
    expendable: &[&str],
) -> Vec<String> {
    let mut columns: Vec<_> = (0..headings.len()).collect();
    let mut below = Vec::new();
    let mut expendable = expendable.iter();
    loop {
        let mut lines = lay_out(headings, rows, &columns);
        let widest = lines.iter().map(|line| cells(line.trim_end())).max().unwrap_or(0);
        if width.is_none_or(|most| widest <= most) || columns.len() == 1 {
            for (line, row) in lines.iter_mut().skip(1).zip(rows) {
                put_below(line, headings, row, &below);
            }
            return lines;
        }
        match expendable.next() {
            Some(heading) => columns.retain(|at| headings[*at].trim() != *heading),
            None => below.extend(columns.pop()),
        }
    }
}

/// Adds a line with what has no room in that of the row, each with its heading.
fn put_below(line: &mut String, headings: &[&str], row: &[String], below: &[usize]) {
    let told = below.iter().rev().filter_map(|at| {
        let cell = row.get(*at).filter(|cell| !cell.is_empty() && *cell != "-")?;
        match headings[*at].trim() {
            "" => Some(cell.clone()),
            heading => Some(format!("{heading}: {cell}")),
        }
    });
    let told = told.collect::<Vec<_>>().join("; ");
    if !told.is_empty() {
        let _ = writeln!(line, "    {told}");
    }
}

/// A line for the headings, and one for each row.
fn lay_out(headings: &[&str], rows: &[Vec<String>], columns: &[usize]) -> Vec<String> {
    let width = |at: &usize| {
        let of_rows = rows.iter().filter_map(|row| row.get(*at)).map(|cell| cells(cell));
        of_rows.chain([cells(headings[*at].trim())]).max().unwrap_or(0)
    };
    let widths: Vec<_> = columns.iter().map(width).collect();
    let line = |cell: &dyn Fn(usize) -> String| {
        let mut line = String::new();
        for (&at, width) in columns.iter().zip(&widths) {
            let cell = cell(at);
            let gap = if line.is_empty() { "" } else { "  " };
            let room = " ".repeat(width.saturating_sub(cells(&cell)));
            let _ = match headings[at].starts_with(' ') {
                true => write!(line, "{gap}{room}{cell}"),
                false => write!(line, "{gap}{cell}{room}"),
            };
        }
        format!("{}\n", line.trim_end())
    };
    let of_row = |row: &Vec<String>| line(&|at| row.get(at).cloned().unwrap_or_default());
    let first = line(&|at| headings[at].trim().to_owned());
    std::iter::once(first).chain(rows.iter().map(of_row)).collect()
}

/// How many cells of a terminal a text takes: letters of East Asia and emoji take two, marks that
/// go onto the letter before them none.
pub(crate) fn cells(text: &str) -> usize {
    text.chars().map(cells_of).sum()
}

/// The wide blocks of Unicode's East Asian Width, as far as terminals agree on them.
fn cells_of(letter: char) -> usize {
    match u32::from(letter) {
        0x0300..=0x036F | 0x200B..=0x200F | 0x20D0..=0x20FF | 0xFE00..=0xFE0F => 0,
        0x1100..=0x115F
        | 0x2E80..=0x303E
        | 0x3041..=0xA4CF
        | 0xAC00..=0xD7A3
        | 0xF900..=0xFAFF
        | 0xFE30..=0xFE6F
        | 0xFF00..=0xFF60
        | 0xFFE0..=0xFFE6
        | 0x1F300..=0x1F64F
        | 0x1F680..=0x1F6FF
        | 0x1F900..=0x1FAFF
        | 0x20000..=0x3FFFD => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up_on_both_sides_whatever_the_letters() {
        let row = |sku: &str, left: &str| vec![sku.to_owned(), left.to_owned()];
        let rows =
            [row("ROSE", "12"), row("VASE-2", "5"), row("薔薇🌹", "7"), row("e\u{301}", "1")];
        let text = table(&["sku", " left"], &rows);
        let expected =
            "sku     left\nROSE      12\nVASE-2     5\n薔薇🌹     7\ne\u{301}          1\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn columns_are_left_out_until_a_line_fits() {
        let rows = [vec!["A1".to_owned(), "charge".to_owned(), "12 ms".to_owned()]];
        let within = |width| table_within(width, &["id", "by", " work"], &rows, &["work", "by"]);
        assert_eq!(within(None), "id  by       work\nA1  charge  12 ms\n");
        assert_eq!(within(Some(17)), within(None));
        assert_eq!(within(Some(16)), "id  by\nA1  charge\n");
        assert_eq!(within(Some(1)), "id\nA1\n", "the first column stays");
    }

    #[test]
    fn what_is_not_expendable_goes_below_its_row() {
        let row = |id: &str, reason: &str, age: &str| {
            vec![id.to_owned(), "open".to_owned(), reason.to_owned(), age.to_owned()]
        };
        let rows = [row("0199-abc", "out-of-stock", "3 s"), row("0199-def", "-", "4 s")];
        let headings = ["id", "state", "reason", " age"];
        let within = |width| table_within(Some(width), &headings, &rows, &["age"]);
        let below = "id        state\n0199-abc  open\n    reason: out-of-stock\n0199-def  open\n";
        assert_eq!(within(20), below);
        let narrow =
            "id\n0199-abc\n    state: open; reason: out-of-stock\n0199-def\n    state: open\n";
        assert_eq!(within(8), narrow);
    }
}
