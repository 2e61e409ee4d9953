//! The report for a terminal, a mail or a log: sections in plain text that fit the screen.
//!
//! In: the finished figures, and what is drawn on. Out: lines no wider than the screen. With more room there
//! are more columns and longer names; in a pipe all but the data's own text is ASCII. No colours.

use unicode_width::UnicodeWidthStr as _;

use super::{Align, Block, Cell, Column, Grid, Phrase, Place, Section, Span};
use crate::render::Screen;
use crate::render::pages::report::sections;
use crate::render::wording::NO_BREAK;
use crate::report::figures::Report;

/// Blanks between two columns.
const GAP: usize = 2;
/// What columns that give way keep where others are let in: less for those of the first ranks.
const COMFORTABLE: Room = Room { text: 32, bar: 16 };
const TIGHT: Room = Room { text: 20, bar: 6 };
/// What they keep in any case, if the screen has it.
const NARROW: Room = Room { text: 10, bar: 6 };
/// The longest bar.
const LONG_BAR: usize = 24;
/// Lines of a text below a row.
const LINES_BELOW: usize = 2;

/// The widths of columns that give way.
struct Room {
    text: usize,
    bar: usize,
}

/// The report as text.
pub fn render(report: &Report, screen: Screen) -> String {
    let paper = Paper { width: usize::from(screen.width).max(1), is_plain: !screen.is_terminal };
    let mut text = String::new();
    for section in sections(report) {
        paper.section(&section, &mut text);
    }
    text
}

/// What is written on.
#[derive(Clone, Copy)]
struct Paper {
    width: usize,
    is_plain: bool,
}

impl Paper {
    fn section(&self, section: &Section, text: &mut String) {
        if let Some(title) = section.title {
            text.push('\n');
            self.wrap(&title.to_uppercase(), "", "", usize::MAX, text);
        }
        let mut is_first = true;
        for block in &section.blocks {
            match block {
                Block::Heading(heading) => {
                    if !is_first {
                        text.push('\n');
                    }
                    self.wrap(heading, "", "", usize::MAX, text);
                }
                Block::Paragraph(phrase) => self.wrap(&self.show(phrase), "", "", usize::MAX, text),
                Block::Item(phrase) => {
                    self.wrap(&self.show(phrase), "- ", "  ", usize::MAX, text);
                }
                Block::Grid(grid) => self.grid(grid, section, text),
            }
            is_first = false;
        }
    }

    fn show(&self, phrase: &Phrase) -> String {
        phrase
            .0
            .iter()
            .map(|span| match span {
                Span::Words(words) | Span::Strong(words) => self.own(words),
                Span::Data(text) | Span::Code(text) | Span::Link(text) => text.clone(),
            })
            .collect()
    }

    /// The program's own words, in ASCII if need be.
    fn own(&self, words: &str) -> String {
        match self.is_plain {
            true => words.replace('–', "-").replace('…', "..."),
            false => words.to_owned(),
        }
    }

    fn mark(&self) -> &'static str {
        if self.is_plain { "..." } else { "…" }
    }

    /// Words in lines, the first behind `start` and the others behind `indent`; what is beyond `most` lines is
    /// cut off.
    fn wrap(&self, words: &str, start: &str, indent: &str, most: usize, text: &mut String) {
        let (start, indent) = if indent.len() * 2 < self.width { (start, indent) } else { ("", "") };
        let mut lines = Vec::new();
        let mut line = start.to_owned();
        let mut is_empty = true;
        for word in words.split(' ').filter(|word| !word.is_empty()) {
            let mut rest = word;
            if !is_empty && width(&line) + 1 + width(rest) > self.width {
                lines.push(std::mem::replace(&mut line, indent.to_owned()));
                is_empty = true;
            }
            // A word wider than a line is broken; at least one character goes on each.
            while is_empty && width(&line) + width(rest) > self.width {
                let room = self.width.saturating_sub(width(&line));
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
        if lines.len() > most {
            lines.truncate(most);
            if let Some(line) = lines.last_mut() {
                let mark = self.mark();
                let end = prefix(line, self.width.saturating_sub(width(mark)));
                line.truncate(end);
                line.push_str(mark);
            }
        }
        for line in lines {
            self.line(&line, text);
        }
    }

    fn line(&self, line: &str, text: &mut String) {
        text.push_str(&line.trim_end().replace(NO_BREAK, " "));
        text.push('\n');
    }

    /// The text, or as much of it as fits with a mark that there is more.
    fn fit(&self, text: &str, room: usize) -> String {
        if width(text) <= room {
            return text.to_owned();
        }
        let mark = self.mark();
        match room.checked_sub(width(mark)) {
            Some(rest) if rest > 0 => format!("{}{mark}", text[..prefix(text, rest)].trim_end()),
            _ => text[..prefix(text, room)].to_owned(),
        }
    }

    fn grid(&self, grid: &Grid, section: &Section, text: &mut String) {
        let shown = self.shown(grid);
        // Tables of the same columns stand in the same columns.
        let alike = section.blocks.iter().filter_map(|block| match block {
            Block::Grid(other) if other.columns == grid.columns => Some(self.shown(other)),
            _ => None,
        });
        let natural = alike.fold(vec![0; grid.columns.len()], |widest: Vec<usize>, other| {
            (0..widest.len()).map(|at| widest[at].max(other.natural(at))).collect()
        });
        let widths = self.lay_out(shown.columns, &natural);
        let drawn: Vec<usize> = (0..widths.len()).filter(|&at| widths[at].is_some()).collect();
        let line = |cells: &[String]| {
            let mut line = String::new();
            for &at in &drawn {
                let room = widths[at].unwrap_or(0);
                if at != drawn[0] {
                    line.push_str(&" ".repeat(GAP));
                }
                let cell = self.fit(&cells[at], room);
                let rest = " ".repeat(room.saturating_sub(width(&cell)));
                match shown.columns[at].align {
                    Align::Text | Align::Whole | Align::Bar => line.extend([cell, rest]),
                    Align::Number | Align::Share => line.extend([rest, cell]),
                }
            }
            line
        };
        let titles: Vec<String> = shown.columns.iter().map(|column| column.title.to_owned()).collect();
        self.line(&line(&titles), text);
        let across =
            drawn.iter().filter_map(|&at| widths[at]).sum::<usize>() + GAP * drawn.len().saturating_sub(1);
        let rule = if self.is_plain { "-" } else { "─" }.repeat(across.min(self.width));
        self.line(&rule, text);
        for (row, source) in shown.rows.iter().zip(&grid.rows) {
            if source.is_total {
                self.line(&rule, text);
            }
            let bars: Vec<String> = (0..row.len())
                .map(|at| match &source.cells[at] {
                    Cell::Bar(share) => self.bar(*share, widths[at].unwrap_or(0)),
                    _ => row[at].clone(),
                })
                .collect();
            self.line(&line(&bars), text);
            for (at, column) in grid.columns.iter().enumerate() {
                let is_below = matches!(column.place, Place::OrBelow(_)) && widths[at].is_none();
                if is_below && !row[at].is_empty() {
                    self.wrap(&format!("{} {}", column.title, row[at]), "  ", "  ", LINES_BELOW, text);
                }
            }
            for phrase in &source.below {
                self.wrap(&self.show(phrase), "  ", "  ", LINES_BELOW, text);
            }
        }
    }

    /// All cells as text; bars get theirs when their width is known.
    fn shown<'a>(&self, grid: &'a Grid) -> Shown<'a> {
        let cell = |cell: &Cell| match cell {
            Cell::Phrase(phrase) => self.show(phrase),
            Cell::Absent => self.own("–"),
            Cell::Bar(_) => String::new(),
        };
        let mut rows: Vec<Vec<String>> =
            grid.rows.iter().map(|row| row.cells.iter().map(cell).collect()).collect();
        for (at, column) in grid.columns.iter().enumerate() {
            if column.align == Align::Share {
                align_shares(&mut rows, at);
            }
        }
        Shown { columns: &grid.columns, rows }
    }

    /// The width of each column, or nothing for one that is left out.
    fn lay_out(&self, columns: &[Column], natural: &[usize]) -> Vec<Option<usize>> {
        let gives_way = |at: usize| matches!(columns[at].align, Align::Text | Align::Bar);
        let at_least = |at: usize, room: &Room| match columns[at].align {
            Align::Text => natural[at].min(room.text),
            Align::Bar => natural[at].min(room.bar),
            Align::Whole | Align::Number | Align::Share => natural[at],
        };
        let is_blank = |at: usize| natural[at] == 0;
        let mut is_drawn: Vec<bool> =
            (0..columns.len()).map(|at| columns[at].place == Place::Table && !is_blank(at)).collect();
        let total = |is_drawn: &[bool], room: &Room| {
            let drawn: Vec<usize> = (0..columns.len()).filter(|&at| is_drawn[at]).collect();
            let gaps = GAP * drawn.len().saturating_sub(1);
            drawn.into_iter().map(|at| at_least(at, room)).sum::<usize>() + gaps
        };
        let rank = |column: &Column| match column.place {
            Place::IfRoom(rank) | Place::OrBelow(rank) => Some(rank),
            Place::Table => None,
        };
        let mut ranks: Vec<u8> = columns.iter().filter_map(rank).collect();
        ranks.sort_unstable();
        ranks.dedup();
        for wanted in ranks {
            let mut with: Vec<bool> = is_drawn.clone();
            for (at, drawn) in with.iter_mut().enumerate() {
                *drawn |= rank(&columns[at]) == Some(wanted) && !is_blank(at);
            }
            let room = if wanted <= 1 { &TIGHT } else { &COMFORTABLE };
            if total(&with, room) <= self.width {
                is_drawn = with;
            }
        }
        let mut widths: Vec<Option<usize>> =
            (0..columns.len()).map(|at| is_drawn[at].then(|| at_least(at, &NARROW))).collect();
        let gaps = GAP * is_drawn.iter().filter(|&&drawn| drawn).count().saturating_sub(1);
        let room = self.width.saturating_sub(gaps);
        let sum = |widths: &[Option<usize>]| widths.iter().flatten().sum::<usize>();
        // What is left goes to the narrowest text that wants more; what is missing comes off the widest.
        while sum(&widths) < room {
            let wants = |&at: &usize| gives_way(at) && widths[at].is_some_and(|width| width < natural[at]);
            let Some(at) = (0..widths.len()).filter(wants).min_by_key(|&at| widths[at]) else { break };
            widths[at] = widths[at].map(|width| width + 1);
        }
        while sum(&widths) > room {
            let Some(at) = (0..widths.len()).max_by_key(|&at| widths[at]).filter(|&at| widths[at] > Some(0))
            else {
                break;
            };
            widths[at] = widths[at].map(|width| width - 1);
        }
        widths
    }

    fn bar(&self, share: f64, room: usize) -> String {
        let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
        if self.is_plain {
            return "#".repeat((share * room as f64).round() as usize);
        }
        let eighths = (share * room as f64 * 8.0).round() as usize;
        let part = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
        "█".repeat(eighths / 8) + part
    }
}

/// A grid's cells as text.
struct Shown<'a> {
    columns: &'a [Column],
    rows: Vec<Vec<String>>,
}

impl Shown<'_> {
    fn natural(&self, at: usize) -> usize {
        let column = &self.columns[at];
        let cells = self.rows.iter().map(|row| width(&row[at])).max().unwrap_or(0);
        let least = if column.align == Align::Bar { LONG_BAR } else { 0 };
        width(column.title).max(cells).max(least)
    }
}

/// Pads what stands after the `of`, so that it stands below the others.
fn align_shares(rows: &mut [Vec<String>], at: usize) {
    const OF: &str = "\u{a0}of\u{a0}";
    let whole = |row: &Vec<String>| row[at].split_once(OF).map(|(_, whole)| width(whole));
    let widest = rows.iter().filter_map(whole).max().unwrap_or(0);
    for row in rows {
        if let Some((part, whole)) = row[at].split_once(OF) {
            row[at] = format!("{part}{OF}{}{whole}", " ".repeat(widest.saturating_sub(width(whole))));
        }
    }
}

fn width(text: &str) -> usize {
    text.width()
}

/// Where the longest start of a text ends that is not wider than this.
fn prefix(text: &str, room: usize) -> usize {
    // Marks that take no room of their own may be many; a text of nothing else has an end, too.
    let most = room.saturating_mul(4).saturating_add(8);
    let ends = text.char_indices().map(|(at, c)| at + c.len_utf8()).take(most);
    ends.filter(|&end| width(&text[..end]) <= room).last().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::render::sample;

    const PIPE: Screen = Screen { width: 80, is_terminal: false };

    fn widest(text: &str) -> usize {
        text.lines().map(width).max().unwrap_or(0)
    }

    #[test]
    fn a_pipe_of_80_columns() {
        insta::assert_snapshot!(render(&sample::rich(), PIPE));
    }

    #[test]
    fn a_terminal_of_120_columns() {
        insta::assert_snapshot!(render(&sample::rich(), Screen { width: 120, is_terminal: true }));
    }

    #[test]
    fn long_lists_are_cut_and_say_where_the_rest_is() {
        let text = render(&sample::long(), PIPE);
        assert!(text.lines().count() < 300, "{}", text.lines().count());
        for expected in [
            "... and 85 more (archive query failure-rates)",
            "... and 95 more (archive query error-changes)",
            "... and 4,319 more (archive query masked-failures)",
            "... and 85 more (archive query coverage)",
            "... and 95 more (archive query gaps)",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
        assert_eq!(widest(&text), 80);
    }

    #[test]
    fn an_empty_archive_has_no_numbers() {
        insta::assert_snapshot!(render(&sample::empty(), PIPE));
    }

    #[test]
    fn a_period_without_runs() {
        insta::assert_snapshot!(render(&sample::without_runs(), PIPE));
    }

    #[test]
    fn a_connection_with_only_unfinished_runs_has_no_rate() {
        insta::assert_snapshot!(render(&sample::only_unfinished(), PIPE));
    }

    #[test]
    fn a_pipe_gets_ascii_around_the_text_of_the_data() {
        let mut number = 0;
        let report = sample::with_texts(|| {
            number += 1;
            format!("text {number}")
        });
        assert!(render(&report, PIPE).is_ascii());
        assert!(!render(&report, Screen { is_terminal: true, ..PIPE }).is_ascii());
    }

    #[test]
    fn a_megabyte_of_text_is_cut() {
        for text in ["x".repeat(1 << 20), "x y ".repeat(1 << 18), "e\u{301}".repeat(1 << 19)] {
            let report = sample::with_texts(|| text.clone());
            let shown = render(&report, PIPE);
            assert!(shown.len() < 100_000, "{}", shown.len());
            assert!(widest(&shown) <= 80);
        }
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_the_screen(seed: u64, columns in 40_u16..200, is_terminal: bool) {
            let text = render(&sample::any(seed), Screen { width: columns, is_terminal });
            for line in text.lines() {
                prop_assert!(width(line) <= usize::from(columns), "{} in {columns}: {line:?}", width(line));
                prop_assert!(!line.chars().any(char::is_control), "{line:?}");
                prop_assert_eq!(crate::render::clean(line), line);
            }
        }

        #[test]
        fn not_even_a_screen_of_no_width_is_too_narrow(seed: u64, width in 0_u16..40) {
            render(&sample::any(seed), Screen { width, is_terminal: true });
        }
    }
}
