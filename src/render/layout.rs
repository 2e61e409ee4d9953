//! Columns fitted to a width, and lines drawn in them: the one layout of all tables for people.
//!
//! In: how wide each column would be and how narrow it may get, then cells. Out: widths, and lines. Widths are
//! those that a terminal shows. What a cell says, and what of it is cut, is decided by whoever draws a table.

use std::io::{self, IsTerminal as _};

use unicode_width::UnicodeWidthStr as _;

/// Columns where nobody says how wide the terminal is.
const DEFAULT_WIDTH: u16 = 80;
/// Blanks between two columns.
pub(super) const GAP: usize = 2;

/// What a table is drawn on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Screen {
    pub width: u16,
    /// Whether more than ASCII may be drawn around the text.
    pub is_terminal: bool,
}

impl Screen {
    /// A file or a pipe.
    pub(crate) const PLAIN: Self = Self { width: DEFAULT_WIDTH, is_terminal: false };

    /// Standard output: the terminal's width, or 80 columns of ASCII in a pipe.
    pub(crate) fn of_stdout() -> Self {
        let size = terminal_size::terminal_size_of(io::stdout()).filter(|(width, _)| width.0 > 0);
        Self {
            width: size.map_or(DEFAULT_WIDTH, |(width, _)| width.0),
            is_terminal: io::stdout().is_terminal(),
        }
    }

    /// What stands below a table's header.
    pub(super) fn rule(self, width: usize) -> String {
        if self.is_terminal { "─" } else { "-" }.repeat(width)
    }
}

/// How wide a column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// Where there is room for all of it.
    pub(super) natural: usize,
    pub(super) least: usize,
    /// Whether it may have any width between the two.
    pub(super) gives_way: bool,
}

/// The width of each column: all they want if the room is enough. Otherwise each begins with its least width, and
/// what is left goes to the narrowest of those that give way, so that no long column takes the room of others.
/// The widths are more than the room where not even the least ones fit.
pub(super) fn fit(extents: &[Extent], width: usize) -> Vec<usize> {
    let room = width.saturating_sub(gaps(extents.len()));
    let natural: Vec<usize> = extents.iter().map(|extent| extent.natural).collect();
    if natural.iter().sum::<usize>() <= room {
        return natural;
    }

    let mut widths: Vec<usize> = extents.iter().map(|extent| extent.least).collect();
    for _ in widths.iter().sum::<usize>()..room {
        let wants_more = |&at: &usize| extents[at].gives_way && widths[at] < extents[at].natural;
        let Some(at) = (0..widths.len()).filter(wants_more).min_by_key(|&at| widths[at]) else { break };
        widths[at] += 1;
    }
    widths
}

/// The blanks between so many columns.
pub(super) fn gaps(columns: usize) -> usize {
    GAP * columns.saturating_sub(1)
}

/// Where a cell stands in its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Start,
    End,
}

/// The lines of a row, as many as its highest cell has. No blanks at their ends.
pub(super) fn draw_row(cells: &[Vec<String>], columns: &[(usize, Side)]) -> Vec<String> {
    let height = cells.iter().map(Vec::len).max().unwrap_or(0).max(1);
    let draw_line = |number: usize| {
        let mut line = String::new();
        for (at, (cell, (room, side))) in cells.iter().zip(columns).enumerate() {
            if at > 0 {
                line.push_str(&" ".repeat(GAP));
            }
            let text = cell.get(number).map_or("", String::as_str);
            let rest = " ".repeat(room.saturating_sub(width(text)));
            match side {
                Side::Start => line.extend([text, &rest]),
                Side::End => line.extend([&rest, text]),
            }
        }
        line.trim_end().to_owned()
    };
    (0..height).map(draw_line).collect()
}

/// The text in lines of whole words, the first behind `start` and the others behind `indent`. Only a word wider
/// than a line is broken; at least one character goes on each.
pub(super) fn wrap(text: &str, most: usize, start: &str, indent: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = start.to_owned();
    let mut is_empty = true;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let mut rest = word;
        if !is_empty && width(&line) + 1 + width(rest) > most {
            lines.push(std::mem::replace(&mut line, indent.to_owned()));
            is_empty = true;
        }

        while is_empty && width(&line) + width(rest) > most {
            let room = most.saturating_sub(width(&line));
            // In a column that is narrower than one wide character, taking none would never end.
            let first = rest.chars().next().map_or(0, char::len_utf8);
            let (head, tail) = rest.split_at(prefix(rest, room).max(first));
            line.push_str(head);
            lines.push(std::mem::replace(&mut line, indent.to_owned()));
            rest = tail;
        }

        if rest.is_empty() {
            continue;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(rest);
        is_empty = false;
    }
    if !is_empty {
        lines.push(line);
    }
    lines
}

/// A cell's text in lines no wider than its column; what fits stays as it is.
pub(super) fn break_cell(text: &str, room: usize) -> Vec<String> {
    if width(text) <= room { vec![text.to_owned()] } else { wrap(text, room, "", "") }
}

/// As wide as a terminal shows it.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// Where the longest start of a text ends that is not wider than this.
pub(super) fn prefix(text: &str, room: usize) -> usize {
    // Marks that take no room of their own may be many; a text of nothing else has an end, too.
    let most = room.saturating_mul(4).saturating_add(8);
    let ends = text.char_indices().map(|(at, c)| at + c.len_utf8()).take(most);
    ends.filter(|&end| width(&text[..end]) <= room).last().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(natural: usize, least: usize) -> Extent {
        Extent { natural, least, gives_way: true }
    }

    fn number(natural: usize) -> Extent {
        Extent { natural, least: natural, gives_way: false }
    }

    #[test]
    fn what_is_left_goes_to_the_narrowest_and_numbers_keep_their_width() {
        assert_eq!(fit(&[text(5, 5), number(9), text(9, 8)], 80), [5, 9, 9]);
        assert_eq!(fit(&[text(60, 8), number(9), text(60, 8)], 40), [14, 9, 13]);
        assert_eq!(fit(&[text(60, 8), number(9), text(10, 8)], 40), [17, 9, 10]);
        assert_eq!(fit(&[text(60, 8), number(9)], 12), [8, 9]);
        assert_eq!(fit(&[], 12), [0; 0]);
    }

    #[test]
    fn a_row_is_as_high_as_its_highest_cell() {
        let cells = [vec!["a".to_owned()], break_cell("one two three", 8), vec![], vec!["12".to_owned()]];
        let columns = [(2, Side::Start), (8, Side::Start), (1, Side::Start), (4, Side::End)];
        assert_eq!(draw_row(&cells, &columns), ["a   one two        12", "    three"]);
        assert_eq!(draw_row(&[vec![]], &columns), [""]);
    }

    #[test]
    fn words_stay_whole_where_a_line_can_hold_them() {
        assert_eq!(wrap("one two", 5, "- ", "  "), ["- one", "  two"]);
        assert_eq!(wrap("a longword b", 5, "", ""), ["a", "longw", "ord b"]);
        assert_eq!(wrap("日本語", 1, "", ""), ["日", "本", "語"]);
        assert!(wrap(" ", 5, "", "").is_empty());
    }

    proptest! {
        #[test]
        fn lines_fit_and_hold_every_word(text in "[ -~é日\u{301}]{0,60}", most in 2_usize..40) {
            let lines = wrap(&text, most, "", "");
            prop_assert!(lines.iter().all(|line| width(line) <= most), "{:?}", lines);
            let letters = |text: &str| text.replace(' ', "");
            prop_assert_eq!(letters(&lines.concat()), letters(&text));
        }

        #[test]
        fn columns_fill_the_room_and_no_more_unless_they_cannot(
            wanted in prop::collection::vec((0_usize..60, any::<bool>()), 0..8),
            most in 0_usize..200,
        ) {
            let extents: Vec<Extent> = wanted
                .iter()
                .map(|&(natural, gives_way)| if gives_way { text(natural, natural.min(8)) } else { number(natural) })
                .collect();
            let widths = fit(&extents, most);
            let room = most.saturating_sub(gaps(extents.len()));
            let sum = |of: fn(&Extent) -> usize| extents.iter().map(of).sum::<usize>();
            let expected = sum(|extent| extent.natural).min(room).max(sum(|extent| extent.least));
            prop_assert_eq!(widths.iter().sum::<usize>(), expected);
        }
    }
}
