//! Tables for people: columns in line whatever the letters, and no wider than the terminal.

use std::fmt::Write as _;

/// Lines up columns; a column whose heading starts with a space is aligned to the right.
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let columns: Vec<_> = (0..headings.len()).collect();
    lay_out(headings, rows, &columns)
}

/// The same within `width` cells, if it is known: columns are left out, in the order of
/// `expendable`, for as long as a line is wider.
pub fn table_within(
    width: Option<usize>,
    headings: &[&str],
    rows: &[Vec<String>],
    expendable: &[&str],
) -> String {
    let mut columns: Vec<_> = (0..headings.len()).collect();
    let mut expendable = expendable.iter();
    loop {
        let text = lay_out(headings, rows, &columns);
        let is_narrow = width.is_none_or(|most| text.lines().all(|line| cells(line) <= most));
        let Some(heading) = expendable.next().filter(|_| !is_narrow) else { return text };
        columns.retain(|at| headings[*at].trim() != *heading);
    }
}

fn lay_out(headings: &[&str], rows: &[Vec<String>], columns: &[usize]) -> String {
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
    let mut text = line(&|at| headings[at].trim().to_owned());
    for row in rows {
        text.push_str(&line(&|at| row.get(at).cloned().unwrap_or_default()));
    }
    text
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
        assert_eq!(within(Some(1)), "id\nA1\n", "what is not expendable stays");
    }
}
