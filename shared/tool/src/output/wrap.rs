//! Lines of text within a terminal: broken at spaces, and what is to be pasted stays whole.

use super::table::cells;

/// Each line of `text` in lines of at most `width` cells. What follows the first one is indented
/// as far as the description in it, or by `hang` more than it. A command between backticks is not
/// broken if it fits into a line.
pub(crate) fn wrap(text: &str, width: usize, hang: usize) -> String {
    let mut wrapped = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (line, end) = match line.strip_suffix('\n') {
            Some(line) => (line, "\n"),
            None => (line, ""),
        };
        if seen(line) <= width {
            wrapped.push_str(line);
        } else {
            put(&mut wrapped, line, width, hang);
        }
        wrapped.push_str(end);
    }
    wrapped
}

/// Lines of prose, which begin without a space, as one line each paragraph.
pub(crate) fn paragraphs(text: &str) -> String {
    let mut joined = String::with_capacity(text.len());
    let mut before = "";
    for line in text.lines() {
        let is_prose = |line: &str| line.starts_with(|first: char| first != ' ');
        if !joined.is_empty() {
            joined.push(if is_prose(before) && is_prose(line) { ' ' } else { '\n' });
        }
        joined.push_str(line);
        before = line;
    }
    joined.push('\n');
    joined
}

/// Puts one line that is too long.
fn put(wrapped: &mut String, line: &str, width: usize, hang: usize) {
    if let Some((text, description)) = apart(line, width) {
        wrapped.push_str(text);
        wrapped.push('\n');
        let further = text.len() - text.trim_start().len() + FURTHER;
        return put(wrapped, &format!("{}{description}", " ".repeat(further)), width, 0);
    }
    let indent = " ".repeat(indent(line, width, hang));
    let mut used = 0;
    for (space, word) in words(line, width.saturating_sub(indent.len())) {
        let (gap, long) = (space.len(), seen(word));
        if used > 0 && used + gap + long > width {
            wrapped.push('\n');
            wrapped.push_str(&indent);
            used = indent.len();
        } else {
            wrapped.push_str(space);
            used += gap;
        }
        wrapped.push_str(word);
        used += long;
    }
}

/// How much further in than its text a description begins that has a line of its own.
const FURTHER: usize = 4;

/// A text and its description, if the description begins so far to the right that little room is
/// left below it.
fn apart(line: &str, width: usize) -> Option<(&str, &str)> {
    let text = line.trim_start_matches(' ');
    let start = line.len() - text.len();
    let gap = start + text.find("  ")?;
    let description = line[gap..].trim_start_matches(' ');
    let behind = seen(&line[..line.len() - description.len()]);
    (behind > width / 2 && seen(&line[..gap]) <= width).then_some((&line[..gap], description))
}

/// Where the line goes on: below the text behind its first gap, unless little room is left there.
fn indent(line: &str, width: usize, hang: usize) -> usize {
    let text = line.trim_start_matches(' ');
    let start = line.len() - text.len();
    let behind = text.find("  ").map(|gap| {
        let rest = text[gap..].trim_start_matches(' ');
        start + seen(&text[..text.len() - rest.len()])
    });
    behind.filter(|behind| *behind <= width / 2).unwrap_or((start + hang).min(width / 2))
}

/// The words of a line, each with the spaces before it; a command of at most `room` cells is one.
fn words(line: &str, room: usize) -> Vec<(&str, &str)> {
    let mut words = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let word = rest.trim_start_matches(' ');
        let (space, end) = (&rest[..rest.len() - word.len()], word_end(word));
        let command = command_end(word, end).filter(|end| seen(&word[..*end]) <= room);
        let end = command.unwrap_or(end);
        words.push((space, &word[..end]));
        rest = &word[end..];
    }
    words
}

fn word_end(text: &str) -> usize {
    text.find(' ').unwrap_or(text.len())
}

/// The end of the word in which a command ends that begins in the first one, which ends at `first`.
fn command_end(text: &str, first: usize) -> Option<usize> {
    let begins = text[..first].matches('`').count() % 2 == 1;
    let close = first + text[first..].find('`').filter(|_| begins)? + 1;
    Some(close + word_end(&text[close..]))
}

/// How many cells a text takes; what only colours it takes none.
fn seen(text: &str) -> usize {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().map_or(0, cells);
    first + parts.map(|part| part.split_once('m').map_or(0, |(_, text)| cells(text))).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_broken_at_spaces_and_a_command_is_not() {
        let text = "order A1 waits for a human; `quadrille parked show A1` shows it, and more\n";
        let lines = [
            "order A1 waits for a human;",
            "  `quadrille parked show A1`",
            "  shows it, and more\n",
        ];
        assert_eq!(wrap(text, 30, 2), lines.join("\n"));
        assert_eq!(wrap(text, 200, 2), text, "what fits stays as it is");
        let narrow = wrap(text, 12, 2);
        assert!(narrow.contains("`quadrille\n"), "a command that fits nowhere: {narrow}");
    }

    #[test]
    fn a_described_word_goes_on_below_its_description() {
        let text = "  key       paused since noon, by charge-1\n  replica   flowing\n";
        let lines = ["  key       paused since", "            noon, by", "            charge-1"];
        assert_eq!(wrap(text, 26, 2), lines.join("\n") + "\n  replica   flowing\n");
    }

    #[test]
    fn a_description_far_to_the_right_has_a_line_of_its_own() {
        let text = "  tool audit --ledger FILE    and what the sandbox did\n";
        let lines = ["  tool audit --ledger FILE", "      and what the sandbox did\n"];
        assert_eq!(wrap(text, 40, 0), lines.join("\n"));
        let narrow = "      and what the sandbox\n      did\n";
        assert!(wrap(text, 27, 0).ends_with(narrow), "{}", wrap(text, 27, 0));
        assert_eq!(wrap(text, 60, 0), text);
    }

    #[test]
    fn prose_that_was_broken_elsewhere_is_one_paragraph() {
        let text = "Examples:\n  tool ls\n  tool find\n\nIt reads\nthe log.\n";
        assert_eq!(paragraphs(text), "Examples:\n  tool ls\n  tool find\n\nIt reads the log.\n");
    }

    #[test]
    fn colours_take_no_room_and_wide_letters_take_two() {
        let red = "\u{1b}[31mone two\u{1b}[0m";
        assert_eq!(wrap(red, 7, 2), red);
        assert_eq!(wrap("薔薇 薔薇", 8, 2), "薔薇\n  薔薇");
        assert_eq!(
            wrap("\u{1b}[2mone two three\u{1b}[0m", 9, 2),
            "\u{1b}[2mone two\n  three\u{1b}[0m"
        );
    }
}
